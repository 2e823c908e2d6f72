/** Values to FP8 codes and scales of blocks, and back by the form that reads published checkpoints. */
import { describe, expect, it } from "vitest"
import { BlockQuantizer, blockwise, blockwiseParts } from "../../src/quantized/BlockQuantizer.ts"
import { forms, type Stored } from "../../src/quantized/forms.ts"
import { type Shape, stridesOf, volume } from "../../src/tensor/Copy.ts"
import { valuesOf } from "../../src/tensor/kernels/codes.ts"
import { LARGEST_E4M3, scaledE4m3 } from "../../src/tensor/kernels/float8.ts"
import { bf16OfF32Bits, bitsOfF32, f32OfBits } from "../../src/tensor/kernels/float.ts"
import { coordinatesOf } from "../tensor/randomCopies.ts"
import { random } from "../tensor/random.ts"

const codesOf = (values: ReadonlyArray<number>, scale = 1): ReadonlyArray<number> => {
  const floats = Float32Array.from(values)
  const codes = new Uint8Array(floats.length)
  scaledE4m3(floats, new Uint32Array(floats.buffer), scale, codes, 0, codes.length)
  return [...codes]
}

const quantized = (shape: Shape, blockSize: readonly [number, number], bf16: Uint16Array, piece: number) => {
  const quantizer = new BlockQuantizer({ name: "x.weight", dtype: "BF16", shape, blockSize })
  const bytes = new Uint8Array(bf16.buffer)
  const codes: Array<number> = []
  for (let at = 0; at < bytes.length; at += piece) codes.push(...quantizer.push(bytes.subarray(at, at + piece)))
  return { codes, scales: new Float32Array(quantizer.scales().buffer) }
}

/** What a reader of published checkpoints makes of codes and scales, element by element. */
const dequantized = (shape: Shape, blockSize: readonly [number, number], { codes, scales }: ReturnType<typeof quantized>): ReadonlyArray<number> => {
  const parts = blockwiseParts({ name: "x.weight", dtype: "BF16", shape, blockSize })
  const stored = new Map<string, Stored>([parts.codes, parts.scales].map((part) => [part.name, part]))
  const form = forms.flatMap((of) => of(stored.get("x.weight")!, { get: (name) => stored.get(name), blockSize }) ?? [])[0]!
  expect(form.members).toEqual(["x.weight", "x.weight_scale_inv"])
  const { scales: of } = form.layout
  return codes.map((code, i) => {
    const at = coordinatesOf(shape, i).reduce((sum, c, axis) => sum + Math.floor(c / of.blocks[axis]!) * of.strides[axis]!, 0)
    return Math.fround(valuesOf("e4m3")[code]! * scales[at]!)
  })
}

describe("FP8 codes", () => {
  it("every code is the code of its value", () => {
    const finite = Array.from({ length: 256 }, (_, code) => code).filter((code) => (code & 0x7f) !== 0x7f)
    expect(codesOf(finite.map((code) => valuesOf("e4m3")[code]!))).toEqual(finite)
  })

  it("a value between two goes to the nearer one, the middle to the even one, whatever is too large to the largest", () => {
    const table = valuesOf("e4m3")
    for (let code = 0; code < 0x7e; code++) {
      const [low, high] = [table[code]!, table[code + 1]!]
      const middle = (low + high) / 2
      const apart = (high - low) / 1024
      expect(codesOf([middle - apart, middle, middle + apart, -middle])).toEqual([code, code + (code & 1), code + 1, 0x80 | (code + (code & 1))])
    }
    expect(codesOf([449, 1e9, -1e9])).toEqual([0x7e, 0x7e, 0xfe])
  })
})

describe("FP8 blocks", () => {
  it("has the bits of transformers' Fp8Quantize", () => {
    const values = Uint16Array.of(
      0x3dcd, 0xc020, 0x4053, 0, 0, 0, 0x3a38, 0x3f80, 0xbca4, 0, 0x8000, 0,
      0x40a0, 0xc0c0, 0x40e0, 0x3a83, 0x3b03, 0xbb45, 0x43e0, 0x3f00, 0xbe9a, 0x3f80, 0x3f45, 0x3c76)
    const { codes, scales } = quantized([4, 6], [2, 3], values, 5)
    expect(codes).toEqual([86, 251, 126, 0, 0, 0, 28, 112, 195, 0, 128, 0, 74, 204, 78, 46, 54, 187, 126, 48, 170, 126, 123, 77])
    expect([...new Uint32Array(scales.buffer)]).toEqual([1005659282, 1065353216, 1065353216, 991054117])
  })

  it.each([
    ["whole blocks", [256, 256], [128, 128]],
    ["ragged edges", [70, 45], [32, 16]],
    ["experts", [3, 40, 33], [16, 16]]
  ] as const)("the way back is within half a step of every value, and its codes are the same: %s", (_, shape, blockSize) => {
    const next = random(shape[0])
    const values = Uint16Array.from({ length: volume(shape) }, () => bf16OfF32Bits(bitsOfF32((next(2001) - 1000) * 2 ** -next(12))))
    const stored = quantized(shape, blockSize, values, 1 << 20)
    const back = dequantized(shape, blockSize, stored)
    const columns = shape.at(-1)!
    const blocks = stridesOf([...shape.slice(0, -2), Math.ceil(shape.at(-2)! / blockSize[0]), Math.ceil(columns / blockSize[1])])
    back.forEach((value, i) => {
      const at = coordinatesOf(shape, i)
      const block = at.reduce((sum, c, axis) => sum + Math.floor(c / (axis < shape.length - 2 ? 1 : blockSize[axis - shape.length + 2]!)) * blocks[axis]!, 0)
      const scale = stored.scales[block]!
      const original = f32OfBits(values[i]! << 16)
      // Three bits of fraction: half a step is a 16th of the power of two below; 2⁻¹⁰ of the scale under the smallest normal.
      const half = Math.max(2 ** Math.floor(Math.log2(Math.abs(original / scale))) / 16, 2 ** -10) * scale
      expect(Math.abs(value - original)).toBeLessThanOrEqual(half * (1 + 1e-5))
    })
    // Values of codes need more bits than BF16 has: they go in as F32.
    const again = new BlockQuantizer({ name: "x", dtype: "F32", shape, blockSize })
    expect([...again.push(new Uint8Array(Float32Array.from(back).buffer))]).toEqual(stored.codes)
  })

  it("a block of zeros has the scale 1; the largest value of a block is the largest code", () => {
    const zeros = quantized([2, 2], [2, 2], new Uint16Array(4), 3)
    expect(zeros).toEqual({ codes: [0, 0, 0, 0], scales: Float32Array.of(1) })
    const tiny = quantized([1, 1], [128, 128], Uint16Array.of(1), 2)
    expect(tiny.scales[0]! * LARGEST_E4M3).toBeLessThan(1e-35)
  })

  it("refuses what has no scale: infinities, NaN, vectors, integers", () => {
    for (const bits of [0x7f80, 0xff80, 0x7fc0]) {
      expect(() => quantized([2, 2], [2, 2], Uint16Array.of(0x3f80, bits, 0, 0x4000), 8)).toThrow("not finite")
    }
    expect(blockwise({ dtype: "BF16", shape: [16] })).toBe(false)
    expect(blockwise({ dtype: "I64", shape: [16, 16] })).toBe(false)
    expect(() => new BlockQuantizer({ name: "norm.weight", dtype: "BF16", shape: [16] })).toThrow("no blocks of floats")
    expect(() => new BlockQuantizer({ name: "x", dtype: "BF16", shape: [2, 2] }).scales()).toThrow("not all there")
  })
})
