/** Cutting copies along blocks, checked element by element, and the same through the engine. */
import { Stream } from "effect"
import { describe, expect, it } from "vitest"
import { stream } from "../../src/engine/internal/stream.ts"
import type { SourceArray, TargetArray } from "../../src/engine/internal/Target.ts"
import { type BlockLayout, fromBlocks } from "../../src/quantized/blocks.ts"
import { type Copy, identity, readFrom, type Shape, stridesOf, volume } from "../../src/tensor/Copy.ts"
import { valuesOf } from "../../src/tensor/kernels/codes.ts"
import { bf16OfF32Bits, bitsOfF32 } from "../../src/tensor/kernels/float.ts"
import { diskWith } from "../engine/MemoryDisk.ts"
import { type Random, random } from "../tensor/random.ts"
import { coordinatesOf, randomPart, randomShape, related, shuffled, sorted, subdivided } from "../tensor/randomCopies.ts"
import { clip } from "../tensor/clip.ts"

const scaleShape = (layout: BlockLayout<string>): Array<number> => layout.shape.map((n, axis) => Math.ceil(n / layout.scales.blocks[axis]!))

/** A tensor whose axes lie in any order, with blocks of any size; some axes share a scale throughout. */
const randomLayout = (next: Random, shape: Shape, codes: "e4m3" | "e2m1" = "e4m3"): BlockLayout<string> => {
  const order = shuffled(next, shape.map((_, axis) => axis))
  const inner = stridesOf(order.map((axis) => shape[axis]!))
  const blocks = shape.map((n) => (next(3) === 0 ? n : 1 + next(Math.min(n, 6))))
  const scales = stridesOf(shape.map((n, axis) => Math.ceil(n / blocks[axis]!)))
  return {
    shape,
    codes: { tensor: "codes", strides: shape.map((_, axis) => inner[order.indexOf(axis)]!) },
    scales: { tensor: "scales", strides: scales.map((s, axis) => (blocks[axis] === shape[axis] ? 0 : s)), blocks },
    transform: { kind: "dequantize", codes }
  }
}

/** Where the code and the scale of a logical element lie. */
const placesOf = ({ codes, scales, shape }: BlockLayout<string>, element: number): readonly [code: number, scale: number] => {
  const at = coordinatesOf(shape, element)
  return [
    at.reduce((sum, c, axis) => sum + c * codes.strides[axis]!, 0),
    at.reduce((sum, c, axis) => sum + Math.floor(c / scales.blocks[axis]!) * scales.strides[axis]!, 0)
  ]
}

const check = (copy: Copy, layout: BlockLayout<string>) => {
  const expected = related(copy).map(([source, target]) => {
    const [code, scale] = placesOf(layout, source!)
    return [code, target!, scale]
  })
  const found = fromBlocks(copy, layout)
  expect(sorted(found.flatMap(related))).toEqual(sorted(expected))
  return found
}

describe("a copy from blocks reads of each element its code and the scale of its block", () => {
  it("for any strided part of any tensor", () => {
    const next = random(3)
    for (let i = 0; i < 2000; i++) {
      const shape = randomShape(next, 1 + next(3), 13)
      const { axes, offset } = randomPart(next, shape)
      const extents = axes.map((a) => a.count)
      const copy: Copy = {
        shape: extents,
        source: { tensor: "x", offset, strides: axes.map((a) => a.stride) },
        target: { tensor: "y", offset: next(5), strides: stridesOf(extents) }
      }
      check(copy, randomLayout(next, shape))
    }
  })

  it("for tensor-parallel pieces that cut through blocks", () => {
    const layout: BlockLayout<string> = {
      shape: [60, 40],
      codes: { tensor: "codes", strides: [40, 1] },
      scales: { tensor: "scales", strides: [3, 1], blocks: [16, 16] },
      transform: { kind: "dequantize", codes: "e4m3" }
    }
    for (const ranks of [2, 3, 4]) {
      const size = 60 / ranks
      for (let rank = 0; rank < ranks; rank++) {
        for (const copy of clip(identity("x", "y", layout.shape), "target", layout.shape, { offsets: [rank * size, 0], sizes: [size, 40] })) check(copy, layout)
      }
    }
  })

  it("for a copy that repeats elements", () => {
    const layout = randomLayout(random(5), [6, 4])
    check({ shape: [6, 3, 4], source: { tensor: "x", offset: 0, strides: [4, 0, 1] }, target: { tensor: "y", offset: 0, strides: [12, 4, 1] } }, layout)
  })

  it("in four pieces at most where a whole matrix has ragged edges, in one where it has none", () => {
    const blocks = (shape: Shape) => ({
      shape,
      codes: { tensor: "codes", strides: stridesOf(shape) },
      scales: { tensor: "scales", strides: [Math.ceil(shape[1]! / 128), 1], blocks: [128, 128] },
      transform: { kind: "dequantize", codes: "e4m3" } as const
    })
    expect(fromBlocks(identity("x", "y", [7168, 18432]), blocks([7168, 18432]))).toHaveLength(1)
    expect(fromBlocks(identity("x", "y", [7100, 18000]), blocks([7100, 18000]))).toHaveLength(4)
    // Heads of 192 rows: every other one begins inside a block.
    const heads: Copy = { shape: [16, 192, 512], source: { tensor: "x", offset: 0, strides: [192 * 512, 512, 1] }, target: { tensor: "y", offset: 0, strides: [256 * 512, 512, 1] } }
    expect(fromBlocks(heads, blocks([16 * 192, 512]))).toHaveLength(4)
  })
})

describe("through the engine", () => {
  /** Codes and F32 scales of a layout in a file, and the BF16 values that they mean. */
  const world = (next: Random, layout: BlockLayout<string>) => {
    const count = volume(layout.shape)
    const packed = layout.transform.codes === "e2m1"
    const scaleCount = volume(scaleShape(layout))
    const codes = Uint8Array.from({ length: packed ? Math.ceil(count / 2) : count }, () => next(256))
    const scales = Float32Array.from({ length: scaleCount }, () => (next(2000) - 1000) / 977)
    const gap = next(7)
    const scalesAt = Math.ceil((gap + codes.byteLength) / 4) * 4
    const file = Buffer.alloc(scalesAt + scales.byteLength)
    file.set(codes, gap)
    file.set(new Uint8Array(scales.buffer), scalesAt)
    const sources = new Map<string, SourceArray>([
      ["codes", { path: "/in", offset: gap, dtype: packed ? "F4" : "F8_E4M3", shape: [packed ? codes.byteLength * 2 : count] }],
      ["scales", { path: "/in", offset: scalesAt, dtype: "F32", shape: [scaleCount] }]
    ])
    const values = valuesOf(layout.transform.codes)
    const value = (element: number): number => {
      const [code, scale] = placesOf(layout, element)
      const bits = packed ? (codes[code >> 1]! >> (4 * (code % 2))) & 15 : codes[code]!
      return bf16OfF32Bits(bitsOfF32(values[bits]! * scales[scale]!))
    }
    return { files: new Map([["/in", new Uint8Array(file)]]), sources, value }
  }

  it.each(["e4m3", "e2m1"] as const)("%s codes become values, whatever the layouts and the sizes of the engine's blocks", async (codes) => {
    const next = random(17)
    for (let i = 0; i < 25; i++) {
      const shape = randomShape(next, 1 + next(3), 20)
      const layout = randomLayout(next, shape, codes)
      const { files, sources, value } = world(next, layout)
      // The target has the tensor's axes in another order, cut up.
      const targetOrder = shuffled(next, shape.map((_, axis) => axis))
      const targetStrides = stridesOf(targetOrder.map((axis) => shape[axis]!))
      const axes = shape.flatMap((count, axis) => {
        const step = targetStrides[targetOrder.indexOf(axis)]!
        const own = stridesOf(shape)[axis]!
        return subdivided(next, { count, stride: 1 }).map((a) => ({ count: a.count, source: a.stride * own, target: a.stride * step }))
      })
      const copy: Copy = {
        shape: axes.map((a) => a.count),
        source: { tensor: "x", offset: 0, strides: axes.map((a) => a.source) },
        target: { tensor: "y", offset: 0, strides: axes.map((a) => a.target) }
      }
      const expected = new Uint16Array(volume(shape))
      for (const [source, target] of related(copy)) expected[target!] = value(source!)
      const array: TargetArray = { id: "y", dtype: "BF16", shape: targetOrder.map((axis) => shape[axis]!), copies: () => fromBlocks(copy, layout).map((c) => readFrom(c, (name) => sources.get(name)!)) }
      for (const options of [{}, { sizes: { block: 192, read: 300, work: 8192 }, gap: 20 }, { sizes: { block: 64, read: 64, work: 1024 }, gap: 0 }]) {
        const chunks = await diskWith(files).run(Stream.runCollect(stream([array], options)))
        expect(Buffer.compare(Buffer.concat(chunks.map((c) => c.bytes)), new Uint8Array(expected.buffer))).toBe(0)
      }
    }
  })
})
