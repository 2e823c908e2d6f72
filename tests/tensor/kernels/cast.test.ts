import { describe, expect, it } from "vitest"
import { castKernel } from "../../../src/tensor/kernels/cast.ts"
import { bf16OfF32Bits } from "../../../src/tensor/kernels/float.ts"
import { kernelFor } from "../../../src/tensor/kernels/kernelFor.ts"
import { random } from "../random.ts"
import { applied, digestOf, type Float, floats, inputs } from "./sweeps.ts"

/** Made with torch 2.13 on x86-64: `x.to(dtype)` for all 2^16 BF16 and F16, and the sweeps of F32 and F64. */
const TORCH: ReadonlyArray<readonly [from: Float, to: Float, digest: string]> = [
  ["BF16", "F16", "081663db890db93c"],
  ["BF16", "F32", "f12e27efe34841df"],
  ["BF16", "F64", "6a00f29e7303e153"],
  ["F16", "BF16", "37de2c9beecc2633"],
  ["F16", "F32", "385ff5fe69182797"],
  ["F16", "F64", "ecc18b9b372011f0"],
  ["F32", "BF16", "0f1fcf19d465a851"],
  ["F32", "F16", "d1720a559ab0476c"],
  ["F32", "F64", "55aa42e533f25c16"],
  ["F64", "BF16", "b58c4b4dd132f5b0"],
  ["F64", "F16", "bb120d1be50f5603"],
  ["F64", "F32", "e14b374e90e6b616"]
]

const f32 = (...values: Array<number>): Uint8Array => new Uint8Array(Float32Array.from(values).buffer)
const u32 = (...values: Array<number>): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer)
const u16 = (bytes: Uint8Array): Array<number> => [...new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)]

describe("a cast", () => {
  it.each(TORCH)("from %s to %s gives what torch gives", (from, to, digest) => {
    expect(digestOf(to, applied(castKernel(from, to)!, from, to, inputs(from)).out)).toBe(digest)
  })

  it("rounds to nearest, ties to even", () => {
    const { changed, out } = applied(castKernel("F32", "BF16")!, "F32", "BF16", u32(0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001))
    expect(u16(out)).toEqual([0x3f80, 0x3f80, 0x3f82, 0x3f81])
    expect(changed).toBe(3)
  })

  it("rounds finite values eight at a time as one by one, whatever their number", () => {
    const next = random(5)
    for (let count = 0; count < 40; count++) {
      const values = Uint32Array.from({ length: count }, () => (next(2 ** 16) << 16 | next(3) * next(2 ** 16)) & 0xbfffffff)
      const { changed, out } = applied(castKernel("F32", "BF16")!, "F32", "BF16", new Uint8Array(values.buffer))
      expect(u16(out)).toEqual([...values].map((x) => bf16OfF32Bits(x)))
      expect(changed).toBe(values.filter((x) => (x & 0xffff) !== 0).length)
    }
  })

  it("to F16 overflows to infinity from 65520 on and keeps subnormals", () => {
    const { changed, out } = applied(castKernel("F32", "F16")!, "F32", "F16", f32(65504, 65519, 65520, -1e9, 2 ** -24, 2 ** -25, 3 * 2 ** -25))
    expect(u16(out)).toEqual([0x7bff, 0x7bff, 0x7c00, 0xfc00, 1, 0, 2])
    expect(changed).toBe(5)
  })

  it.each([["BF16", "F32"], ["F16", "F32"]] as const)("widening %s to %s and back gives the same bits, of every NaN too", (from, to) => {
    const wide = applied(castKernel(from, to)!, from, to, inputs(from))
    const back = applied(castKernel(to, from)!, to, from, wide.out)
    expect(Buffer.compare(back.out, inputs(from))).toBe(0)
    expect([wide.changed, back.changed]).toEqual([0, 0])
  })

  it.each([
    ["F32", "BF16"], ["F32", "F16"], ["BF16", "F16"], ["F16", "BF16"], ["F64", "F32"], ["F64", "BF16"], ["F64", "F16"]
  ] as const)("from %s to %s counts the numbers that casting back does not give", (from, to) => {
    const there = applied(castKernel(from, to)!, from, to, inputs(from))
    const back = applied(castKernel(to, from)!, to, from, there.out).out
    expect(there.changed).toBe(differing(from, inputs(from), back))
  })

  it("never makes a NaN an infinity or a number", () => {
    for (const from of floats) {
      for (const to of floats) {
        const kernel = castKernel(from, to)
        if (!kernel) continue
        const nan = { BF16: u32(0x7f81ff81), F16: u32(0x7c01fc01), F32: u32(0x7f800001), F64: u32(0xffffffff, 0x7fffffff) }[from]
        const out = applied(kernel, from, to, nan).out
        expect(digestOf(to, out.slice(0, to === "F64" ? 8 : to === "F32" ? 4 : 2)), `${from} ${to}`).toBe(digestOf(to, quiet(to)))
      }
    }
  })

  it("exists between floating dtypes only", () => {
    expect(castKernel("I32", "F32")).toBeUndefined()
    expect(castKernel("BF16", "BOOL")).toBeUndefined()
    expect(castKernel("F8_E4M3", "BF16")).toBeUndefined()
    expect(kernelFor("I64", "I64", undefined, [])).toBe("move")
    expect(kernelFor("BF16", "BF16", undefined, [])).toBe("move")
  })
})

const quiet = (dtype: Float): Uint8Array =>
  ({ BF16: u32(0x7fc0).slice(0, 2), F16: u32(0x7e00).slice(0, 2), F32: u32(0x7fc00000), F64: u32(0, 0x7ff80000) })[dtype]

/** Elements whose bits differ; for F64, NaN are left out (their payload does not survive). */
const differing = (dtype: Float, a: Uint8Array, b: Uint8Array): number => {
  let count = 0
  if (dtype === "F64") {
    const [x, y] = [new Float64Array(a.buffer), new Float64Array(b.slice().buffer)]
    for (let i = 0; i < x.length; i++) if (!Object.is(x[i], y[i]) && x[i] === x[i]) count++
  } else if (dtype === "F32") {
    const [x, y] = [new Uint32Array(a.buffer), new Uint32Array(b.slice().buffer)]
    for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) count++
  } else {
    const [x, y] = [u16(a), u16(b)]
    for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) count++
  }
  return count
}
