/** The parts of tensors that an engine's ranks hold, for every toy: held against an element-wise reading of copies and splits. */
import { describe, expect, it } from "vitest"
import type { BoundParameter } from "../../src/bridge/Conversion.ts"
import type { Parameter } from "../../src/model/Parameter.ts"
import { StreamRefused } from "../../src/errors.ts"
import { type Slice, shardSlice, sliceShape, VOCABULARY_MULTIPLE } from "../../src/serve/slices.ts"
import { type Shape, stridesOf, volume } from "../../src/tensor/Copy.ts"
import { exportOf, importOf } from "../families/inMemory.ts"
import { toys } from "../families/toys.ts"

/** Which rank of `tp` holds an element of a parameter; undefined: all do. */
const rankOf = ({ parts, shape, splitAxis }: Parameter, element: number, tp: number): number | undefined => {
  if (splitAxis === undefined) return undefined
  const index = shape.map((extent, k) => Math.floor(element / stridesOf(shape)[k]!) % extent)
  const { rows } = parts.find((part) => part.rows === undefined || (index[0]! >= part.rows[0] && index[0]! < part.rows[1]))!
  const [first, end] = splitAxis === 0 && rows ? rows : [0, shape[splitAxis]!]
  return Math.floor((index[splitAxis]! - first) / ((end - first) / tp))
}

/** Elements of the HF tensor, one in `step` of each copy, and the rank that holds each. */
const held = function*(name: string, bounds: ReadonlyArray<BoundParameter>, tp: number, step: number): Generator<readonly [element: number, rank: number | undefined]> {
  for (const { copies, parameter } of bounds) {
    for (const { echo, shape, source, target } of copies) {
      if (echo || source.tensor !== name) continue
      const strides = stridesOf(shape)
      for (let i = 0; i < volume(shape); i += step) {
        const digits = shape.map((extent, k) => Math.floor(i / strides[k]!) % extent)
        const at = (view: { offset: number; strides: ReadonlyArray<number> }) => digits.reduce((sum, digit, k) => sum + digit * view.strides[k]!, view.offset)
        yield [at(source), rankOf(parameter, at(target), tp)]
      }
    }
  }
}

const isIn = (slice: Slice | undefined, shape: Shape, element: number): boolean => {
  if (slice === undefined) return true
  const index = Math.floor(element / stridesOf(shape)[slice.axis]!) % shape[slice.axis]!
  return slice.ranges.some(([start, end]) => index >= start && index < end)
}

const cases = toys.map((toy) => [toy.name, toy] as const)

describe.each(cases)("%s", (_, toy) => {
  it("each rank's part is what the trainer's rank of that size would have", () => {
    let cut = 0
    let isSplit = false
    for (const { from, name, shape } of exportOf(toy, importOf(toy)).tensors.values()) {
      if (from.kind !== "model") continue
      const bounds = from.origin.parameters.map(({ bound }) => bound)
      const tp = 2
      isSplit ||= bounds.some(({ parameter }) => parameter.splitAxis !== undefined)
      let slices: ReadonlyArray<Slice | undefined>
      try {
        slices = Array.from({ length: tp }, (_, rank) => shardSlice(name, shape, bounds, { tp, rank }))
      } catch (error) {
        // Refused by name, where the trainer's ranks do not divide it either, or have no ranges of it.
        expect(error, name).toBeInstanceOf(StreamRefused)
        continue
      }
      if (slices[0] !== undefined) cut++
      const [{ parameter }] = bounds as [BoundParameter]
      if (parameter.ragged || (parameter.attention !== undefined && parameter.attention.groups % tp !== 0)) continue
      for (const [element, rank] of held(name, bounds, tp, 61)) {
        for (const [r, slice] of slices.entries()) {
          if (isIn(slice, shape, element) !== (rank === undefined || slice === undefined || rank === r)) expect.fail(`${name}: element ${element}, rank ${r}: ${JSON.stringify(slice)}, held by ${rank}`)
        }
      }
    }
    // Modules of Hugging Face inside the trainer are on every rank as a whole.
    expect(cut > 0, "something was cut").toBe(isSplit)
  })
})

describe("key and value heads that are fewer than the ranks", () => {
  const [heads, groups, headDim, hidden] = [8, 2, 4, 16]
  const rows = (heads / groups + 2) * headDim
  const parameter = { kind: "parameter", name: "linear_qkv.weight", shape: [groups * rows, hidden], splitAxis: 0, parts: [{ key: "k", shape: [groups * rows, hidden], at: [0, 0] }], stage: "first", attention: { heads, groups, headDim } } as const satisfies Parameter
  const copy = (tensor: string, at: number, count: number) => ({
    shape: [groups, count, hidden], source: { tensor, offset: 0, strides: [count * hidden, hidden, 1] }, target: { tensor: parameter.name, offset: at * hidden, strides: [rows * hidden, hidden, 1] }
  })
  const q = (heads / groups) * headDim
  const bound = { parameter, copies: [copy("q", 0, q), copy("k", q, headDim), copy("v", q + headDim, headDim)] } as unknown as BoundParameter
  it("are repeated, and their query heads dealt out", () => {
    const part = (name: string, size: number, rank: number) => shardSlice(name, [groups * size, hidden], [bound], { tp: 4, rank })?.ranges
    expect([0, 1, 2, 3].map((rank) => part("q", q, rank))).toEqual([[[0, 8]], [[8, 16]], [[16, 24]], [[24, 32]]])
    expect([0, 1, 2, 3].map((rank) => part("k", headDim, rank))).toEqual([[[0, 4]], [[0, 4]], [[4, 8]], [[4, 8]]])
    expect([0, 1, 2, 3].map((rank) => part("v", headDim, rank))).toEqual([[[0, 4]], [[0, 4]], [[4, 8]], [[4, 8]]])
  })
  it("do not go into any number of ranks", () => {
    expect(() => shardSlice("q", [groups * q, hidden], [bound], { tp: 3, rank: 0 })).toThrow(/2 groups of heads and tp=3 do not divide each other/)
  })
})

it("a vocabulary is dealt out as if it were padded to a multiple of 64: the last rank may have fewer rows", () => {
  const parameter = { kind: "parameter", name: "word_embeddings.weight", shape: [250, 8], splitAxis: 0, ragged: true, parts: [{ key: "e", shape: [250, 8], at: [0, 0] }], stage: "first" } as const satisfies Parameter
  const bound = { parameter, copies: [] } as unknown as BoundParameter
  const slices = [0, 1, 2, 3].map((rank) => shardSlice("e", [250, 8], [bound], { tp: 4, rank })!)
  expect([VOCABULARY_MULTIPLE, slices.map(({ ranges }) => ranges[0])]).toEqual([64, [[0, 64], [64, 128], [128, 192], [192, 250]]])
  expect(sliceShape([250, 8], slices[3]!)).toEqual([58, 8])
})
