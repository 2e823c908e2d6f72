/** Vectors and blocks change no bit: the plain loops say what a product is. */
import { describe, expect, it } from "vitest"
import { plain } from "../../src/arithmetic/plain.ts"
import { makeSimd } from "../../src/arithmetic/simd.ts"
import { narrowed, widened } from "../../src/arithmetic/convert.ts"
import { DTYPES, numbers, productOf, ROUNDINGS, SIZES, sumOf, weights } from "./drivers.ts"

const simd = makeSimd()
const same = (a: ArrayBufferView, b: ArrayBufferView): boolean =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength))

describe("the simd driver", () => {
  it.each(SIZES)("a product of [$m, $k] and [$k, $n] is that of the plain loops, bit for bit", (sizes) => {
    const wrong = DTYPES.flatMap((dtype) => [true, false].flatMap((transposed) => {
      const call = productOf(sizes, dtype, transposed)
      return same(simd.product(call), plain.product(call)) ? [] : [`${dtype}${transposed ? ", transposed" : ""}`]
    }))
    expect(wrong).toEqual([])
  })

  it.each(SIZES)("and so is its sum with [$m, $n]", (sizes) => {
    const wrong = DTYPES.flatMap((dtype) => ROUNDINGS.flatMap((rounding) =>
      same(sumOf(simd, sizes, dtype, rounding), sumOf(plain, sizes, dtype, rounding)) ? [] : [`${dtype}, ${rounding}`]))
    expect(wrong).toEqual([])
  })

  it.each(DTYPES)("rows that are too long to be brought whole, of %s", (dtype) => {
    const call = productOf({ m: 14, n: 56, k: 20_000 }, dtype, true)
    expect(same(simd.product(call), plain.product(call))).toBe(true)
  })

  it("sums in the order of k, each step rounded to F32", () => {
    const b = { dtype: "F32", rows: 1, columns: 3, bytes: narrowed(Float32Array.of(2 ** 24, 1, 1), "F32") } as const
    expect([...simd.product({ a: Float32Array.of(1, 1, 1), m: 1, b, transposed: true })]).toEqual([2 ** 24])
  })

  it("takes weights at any alignment", () => {
    const b = weights("BF16", 5, 3, 4)
    const shifted = new Uint8Array(b.bytes.byteLength + 1)
    shifted.set(b.bytes, 1)
    const a = numbers(6, 5)
    const product = (bytes: Uint8Array) => simd.product({ a, m: 2, b: { ...b, bytes }, transposed: true })
    expect(product(shifted.subarray(1))).toEqual(product(b.bytes))
  })

  it("refuses factors that do not fit", () => {
    expect(() => simd.product({ a: numbers(5, 1), m: 2, b: weights("F32", 3, 3, 2), transposed: true })).toThrow(RangeError)
    expect(() => simd.addProduct(weights("F32", 2, 2, 3), productOf({ m: 2, n: 3, k: 1 }, "F32", false), 1, "once")).toThrow(RangeError)
  })
})

describe("weights", () => {
  it.each(DTYPES)("%s: numbers to bytes and back", (dtype) => {
    const bytes = narrowed(numbers(40_000, 6), dtype)
    expect(narrowed(widened({ dtype, bytes }), dtype)).toEqual(bytes)
  })

  it("rounds a sum once, or its addend first", () => {
    // The addend is a little more than half a unit of BF16 at 1; rounded to BF16 first it is half a unit, and the tie goes to even.
    const base = { dtype: "BF16", rows: 1, columns: 1, bytes: narrowed(Float32Array.of(1), "BF16") } as const
    const call = { a: Float32Array.of(0.00390625), m: 1, b: { dtype: "F32", rows: 1, columns: 1, bytes: narrowed(Float32Array.of(1 + 2 ** -9), "F32") }, transposed: false } as const
    const sum = (rounding: "once" | "delta-first") => widened({ dtype: "BF16", bytes: simd.addProduct(base, call, 1, rounding) })[0]
    expect([sum("once"), sum("delta-first")]).toEqual([1.0078125, 1])
  })
})

describe("loops over vectors", () => {
  it("scales by a factor rounded to F32, adds, and takes norms of rows", () => {
    const x = Float32Array.of(3, 4, 6, 8)
    simd.scale(x, 0.1)
    expect([...x]).toEqual([3, 4, 6, 8].map((n) => Math.fround(n * Math.fround(0.1))))
    simd.add(x, x)
    expect([...x]).toEqual([3, 4, 6, 8].map((n) => 2 * Math.fround(n * Math.fround(0.1))))
    expect([...simd.rowNorms(Float32Array.of(3, 4, 6, 8), 2)]).toEqual([5, 10])
  })
})
