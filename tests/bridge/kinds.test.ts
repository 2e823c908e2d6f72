/** The array mathematics of the mapping kinds, on tensors small enough to read. */
import { describe, expect, it } from "vitest"
import { concatenatedQkv, filled, gatedMlp, packedExpert, queriesAlone, qkv, valuesAreKeys } from "../../src/bridge/kinds.ts"
import type { MappingKind } from "../../src/bridge/Mapping.ts"
import type { Parameter } from "../../src/model/Parameter.ts"
import { coverage } from "../../src/tensor/Coverage.ts"
import { stridesOf, volume, type Shape } from "../../src/tensor/Copy.ts"

const parameter = (shape: Shape, extra: Partial<Parameter> = {}): Parameter => ({
  kind: "parameter", name: "p", shape, stage: "first", parts: [{ key: "p", shape, at: shape.map(() => 0) }], ...extra
})

/** Each HF element is named by its tensor and row; the parameter is read back row by row. */
const rowsOf = (kind: MappingKind, p: Parameter, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { copies, tensors } = kind.relate(p, names, [])
  const width = volume(p.shape.slice(1))
  const out = new Array<string>(p.shape[0]!)
  for (const copy of copies) {
    const own = tensors.find((t) => t.name === copy.source.tensor)!
    const rowWidth = volume(own.shape.slice(1))
    const index = copy.shape.map(() => 0)
    for (let i = 0; i < volume(copy.shape); i++) {
      const at = (v: { offset: number; strides: ReadonlyArray<number> }) => index.reduce((sum, n, k) => sum + n * v.strides[k]!, v.offset)
      const [from, to] = [at(copy.source), at(copy.target)]
      if (to % width === 0) out[to / width] = copy.transform?.kind === "fill" ? String(copy.transform.value) : `${copy.source.tensor}${from / rowWidth}`
      for (let k = index.length - 1; k >= 0 && ++index[k]! === copy.shape[k]; k--) index[k] = 0
    }
  }
  expect(coverage(p.shape, copies.map((c) => ({ shape: c.shape, view: c.target, label: "" })))).toEqual({ kind: "exact" })
  for (const t of tensors) {
    const own = copies.filter((c) => c.source.tensor === t.name && !c.echo).map((c) => ({ shape: c.shape, view: c.source, label: "" }))
    expect(coverage(t.shape, own)).toEqual({ kind: "exact" })
  }
  return out
}

describe("qkv", () => {
  it("a group is its query heads, its key, its value", () => {
    const p = parameter([8, 3], { attention: { heads: 4, groups: 2, headDim: 1 } })
    expect(rowsOf(qkv, p, ["q", "k", "v"])).toEqual(["q0", "q1", "k0", "v0", "q2", "q3", "k1", "v1"])
  })

  it("with an output gate, a group's gates follow its queries", () => {
    const p = parameter([12, 2], { attention: { heads: 4, groups: 2, headDim: 1, outputGate: true } })
    // In the HF tensor every query head is followed by its gate.
    expect(rowsOf(qkv, p, ["q", "k", "v"])).toEqual(["q0", "q2", "q1", "q3", "k0", "v0", "q4", "q6", "q5", "q7", "k1", "v1"])
  })

  it("value heads may have a width of their own", () => {
    const p = parameter([7, 1], { attention: { heads: 2, groups: 1, headDim: 2, valueDim: 1 } })
    expect(rowsOf(qkv, p, ["q", "k", "v"])).toEqual(["q0", "q1", "q2", "q3", "k0", "k1", "v0"])
  })

  it("keys may be the values, too", () => {
    const p = parameter([4, 2], { attention: { heads: 2, groups: 1, headDim: 1 } })
    expect(rowsOf(valuesAreKeys, p, ["q", "k"])).toEqual(["q0", "q1", "k0", "k0"])
  })

  it("without keys and values of its own, their rows are 0", () => {
    const p = parameter([8, 3], { attention: { heads: 4, groups: 2, headDim: 1 } })
    expect(rowsOf(queriesAlone, p, ["q"])).toEqual(["q0", "q1", "0", "0", "q2", "q3", "0", "0"])
  })

  it("a bias is interleaved like its weight", () => {
    const p = parameter([4], { attention: { heads: 2, groups: 1, headDim: 1 } })
    expect(rowsOf(qkv, p, ["q", "k", "v"])).toEqual(["q0", "q1", "k0", "v0"])
  })

  it("one tensor of q, k and v is interleaved the same way", () => {
    const p = parameter([6, 2], { attention: { heads: 2, groups: 2, headDim: 1 } })
    expect(rowsOf(concatenatedQkv, p, ["x"])).toEqual(["x0", "x2", "x4", "x1", "x3", "x5"])
  })
})

it("a parameter that no tensor is may be a constant", () => {
  const { copies } = filled(1).relate(parameter([3]), ["x"], [])
  expect(copies).toEqual([{ shape: [3], source: { tensor: "x", offset: 0, strides: [0] }, target: { tensor: "p", offset: 0, strides: [1] }, transform: { kind: "fill", value: 1 }, echo: true }])
})

it("a gated MLP is gate rows over up rows", () => {
  expect(rowsOf(gatedMlp, parameter([4, 2]), ["g", "u"])).toEqual(["g0", "g1", "u0", "u1"])
})

describe("packed experts", () => {
  const p = parameter([2, 3], { expert: { index: 1, of: 4 } })

  it("expert e is slice e", () => {
    const { copies, tensors } = packedExpert({ experts: 4, transposed: false }).relate(p, ["x"], [])
    expect(tensors).toEqual([{ name: "x", shape: [4, 2, 3] }])
    expect(copies[0]!.source).toEqual({ tensor: "x", offset: 6, strides: [3, 1] })
  })

  it("a transposed file is read with its strides swapped", () => {
    const { copies, tensors } = packedExpert({ experts: 4, transposed: true }).relate(p, ["x"], [])
    expect(tensors).toEqual([{ name: "x", shape: [4, 3, 2] }])
    expect(copies[0]!.source).toEqual({ tensor: "x", offset: 6, strides: [1, 2] })
    expect(copies[0]!.target.strides).toEqual(stridesOf(p.shape))
  })
})
