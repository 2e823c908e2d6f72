import { describe, expect, it } from "vitest"
import { bytesOf, type DType } from "../../../src/tensor/DType.ts"
import { dtypeOfCodes, valuesOf } from "../../../src/tensor/kernels/codes.ts"
import { kernelFor } from "../../../src/tensor/kernels/kernelFor.ts"
import type { Kernel } from "../../../src/tensor/kernels/Kernel.ts"
import { memoryWith } from "../../../src/tensor/kernels/Memory.ts"
import { unpack } from "../../../src/tensor/kernels/unpack.ts"
import type { Codes, Dequantize } from "../../../src/tensor/Transform.ts"
import { random } from "../random.ts"
import { addresses, randomPart, randomShape } from "../randomCopies.ts"
import { digestOf } from "./sweeps.ts"

/** Made with torch 2.13 on x86-64: every code times 2048 scales of all magnitudes (or all 256 exponents), `.to(bfloat16)`. */
const TORCH: ReadonlyArray<readonly [codes: Codes, scales: DType, digest: string]> = [
  ["e4m3", "F32", "e0d73f4e7db641a3"],
  ["e4m3", "BF16", "0ef3cdfbcedfd6af"],
  ["e4m3", "F16", "e5f48ce9f2e90cbc"],
  ["e4m3", "F8_E8M0", "3a3a367cac52c3ef"],
  ["e5m2", "F32", "c1622cbbcd0c8d10"],
  ["e5m2", "BF16", "0ed2e061e387099d"],
  ["e5m2", "F16", "ebbfe1ec9df498d3"],
  ["e5m2", "F8_E8M0", "be1a35bad8b87c9c"],
  ["e2m1", "F32", "29e8c57e32b0ff45"],
  ["e2m1", "BF16", "793cbf2fc8b0ccde"],
  ["e2m1", "F16", "011c8834d0ebd524"],
  ["e2m1", "F8_E8M0", "ba12d35cb3909d3b"],
  // `torch.ldexp(value, exponent - 127)`
  ["e2m1", "U8", "50064f774a75c07d"],
  ["int4", "F32", "4d954ee198ca9eeb"],
  ["int4", "BF16", "7cdb96bd9aed6a47"],
  ["int4", "F16", "cf69717de2e57f86"],
  ["int4", "F8_E8M0", "debc4c87c0329139"]
]

/** 2048 bit patterns spread over all finite numbers of a dtype; for exponents all 256. */
const scalesOf = (dtype: DType): Uint8Array => {
  if (bytesOf(dtype) === 1) return Uint8Array.from({ length: 256 }, (_, i) => i)
  const patterns = Uint32Array.from({ length: 2048 }, (_, i) => Math.imul(i, 2654435761))
  if (dtype === "F32") return new Uint8Array(patterns.map((x) => ((x >>> 23) & 255) === 255 ? 0x3f800000 : x).buffer)
  const [infinity, one] = dtype === "BF16" ? [0x7f80, 0x3f80] : [0x7c00, 0x3c00]
  return new Uint8Array(Uint16Array.from(patterns, (x) => ((x >>> 16) & infinity) === infinity ? one : x >>> 16).buffer)
}

/** Every code with every scale: a run of codes per scale, at addresses that are not multiples of 4 if `shift` says so. */
const products = (kernel: Kernel, codes: Codes, scales: Uint8Array, width: number, scaleWidth: number, shift = 0): Uint8Array => {
  const values = valuesOf(codes).length
  const runs = scales.byteLength / scaleWidth
  const count = runs * values
  const m = memoryWith(Math.ceil((128 + scales.byteLength + count * (1 + width + kernel.temporary) + 256) / 8) * 8)
  const source = 64 + shift
  const operand = Math.ceil((source + count) / 8) * 8
  const out = Math.ceil((operand + scales.byteLength) / 8) * 8 + (shift % 2) * width
  const temporary = Math.ceil((out + count * width) / 8) * 8
  for (let i = 0; i < count; i++) m.u8[source + i] = i % values
  m.u8.set(scales, operand)
  expect(kernel.apply(m, { source, operands: [operand], out, count, run: values, temporary })).toBe(0)
  return m.u8.slice(out, out + count * width)
}

const kernel = (transform: Omit<Dequantize, "kind">, scales: DType, target: DType = "BF16"): Kernel =>
  kernelFor(dtypeOfCodes(transform.codes), target, { kind: "dequantize", ...transform }, [scales]) as Kernel

describe("dequantising", () => {
  it.each(TORCH)("%s codes with %s scales gives what torch gives", (codes, scales, digest) => {
    expect(digestOf("BF16", products(kernel({ codes }, scales), codes, scalesOf(scales), 2, bytesOf(scales)))).toBe(digest)
  })

  it.each([["e4m3", "f89e1692b38652d1"], ["e5m2", "73a2f9046739dcf7"]] as const)("%s in BF16 arithmetic, scales rounded first", (codes, digest) => {
    expect(digestOf("BF16", products(kernel({ codes, scale: "BF16" }, "F32"), codes, scalesOf("F32"), 2, 4))).toBe(digest)
  })

  it("does not depend on how codes and values are aligned", () => {
    const aligned = products(kernel({ codes: "e4m3" }, "F32"), "e4m3", scalesOf("F32"), 2, 4)
    for (const shift of [1, 2, 3]) {
      expect(Buffer.compare(products(kernel({ codes: "e4m3" }, "F32"), "e4m3", scalesOf("F32"), 2, 4, shift), aligned)).toBe(0)
    }
  })

  it("to F32 the values are those of BF16", () => {
    const narrow = new Uint16Array(products(kernel({ codes: "e4m3" }, "F32"), "e4m3", scalesOf("F32"), 2, 4).buffer)
    const wide = new Uint32Array(products(kernel({ codes: "e4m3" }, "F32", "F32"), "e4m3", scalesOf("F32"), 4, 4).buffer)
    expect(wide.every((x, i) => x === narrow[i]! << 16 >>> 0)).toBe(true)
  })

  it("takes codes as the dtype they have, and floats or exponents as scales; nothing else", () => {
    expect(kernelFor("BF16", "BF16", { kind: "dequantize", codes: "e4m3" }, ["F32"])).toBeUndefined()
    expect(kernelFor("F8_E4M3", "BF16", { kind: "dequantize", codes: "e4m3" }, ["I32"])).toBeUndefined()
    expect(kernelFor("F8_E4M3", "U8", { kind: "dequantize", codes: "e4m3" }, ["F32"])).toBeUndefined()
    expect(kernelFor("F8_E4M3", "BF16", { kind: "dequantize", codes: "e4m3" }, [])).toBeUndefined()
  })
})

describe("four-bit codes", () => {
  it("lie two to a byte, the low half first", () => {
    const m = memoryWith(64)
    m.u8.set([0x21, 0x43, 0x65])
    unpack(m, [6], { at: 0, strides: [1] }, 8)
    unpack(m, [3], { at: 0.5, strides: [1] }, 16)
    unpack(m, [2, 2], { at: 0, strides: [1, 3] }, 24)
    expect([...m.u8.subarray(8, 14)]).toEqual([1, 2, 3, 4, 5, 6])
    expect([...m.u8.subarray(16, 19)]).toEqual([2, 3, 4])
    expect([...m.u8.subarray(24, 28)]).toEqual([1, 4, 2, 5])
  })

  it("of any strided box come out in its order", () => {
    const next = random(11)
    for (let i = 0; i < 300; i++) {
      const shape = randomShape(next, 1 + next(3), 9)
      const { axes, offset } = randomPart(next, shape)
      const m = memoryWith(2048)
      const start = next(16)
      for (let k = 0; k < 512; k++) m.u8[k] = next(256)
      const counts = axes.map((a) => a.count)
      const strides = axes.map((a) => a.stride)
      unpack(m, counts, { at: (start + offset) / 2, strides }, 1024)
      const expected = addresses(counts, { offset: start + offset, strides }).map((e) => (m.u8[e >> 1]! >> (4 * (e % 2))) & 15)
      expect([...m.u8.subarray(1024, 1024 + expected.length)]).toEqual(expected)
    }
  })
})
