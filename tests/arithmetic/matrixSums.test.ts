/** Sums in place: whatever tiles, blocks and cuts are, the bits are those of the plain loops. */
import { describe, expect, it } from "vitest"
import type { SumSteps, WeightDType, Weights } from "../../src/arithmetic/Arithmetic.ts"
import { narrowed, widened } from "../../src/arithmetic/convert.ts"
import { type Addend, addSums, type AddendSteps, isSummed, LARGEST_RANK, type MatrixSums, sumsWithin } from "../../src/arithmetic/matrixSums.ts"
import { plain } from "../../src/arithmetic/plain.ts"
import { bytesOf } from "../../src/tensor/DType.ts"
import { memoryWith } from "../../src/tensor/kernels/Memory.ts"
import { random } from "../tensor/random.ts"
import { DTYPES, numbers, weights } from "./drivers.ts"

const ROOM = 1 << 20

/** Matrices of one shape and dtype. */
const matrices = (dtype: WeightDType, steps: AddendSteps, rows: number, columns: number, addends: ReadonlyArray<ReadonlyArray<Addend>>, rowFactors?: Float32Array): MatrixSums =>
  addends.map((own) => ({ elements: rows * columns, sum: { dtype, steps, columns, addends: own, ...(rowFactors ? { rowFactors } : {}) } }))

/** Add to bytes that begin at an address, in pieces of so many elements. */
const summed = (sums: MatrixSums, bytes: Uint8Array, { at = 0, piece = Infinity, room = ROOM } = {}): Uint8Array => {
  const work = Math.ceil((at + bytes.byteLength) / 64) * 64
  const memory = memoryWith(work + room)
  memory.u8.set(bytes, at)
  const width = bytesOf(sums[0]!.sum!.dtype)
  const count = bytes.byteLength / width
  for (let first = 0; first < count; first += piece) {
    for (const own of sumsWithin(sums, at + first * width, first, Math.min(piece, count - first))) addSums(memory, own, { work, workEnd: work + room })
  }
  return memory.u8.slice(at, at + bytes.byteLength)
}

/** One operation after the other, each rounded. */
const expected = (base: Weights, { left, right, scale }: Addend, steps: SumSteps): Uint8Array => {
  const call = { a: widened(left), m: base.rows, b: right, transposed: false }
  if (steps !== "stepwise") return plain.addProduct(base, call, scale, steps)
  const rounded = (x: Float32Array) => widened({ dtype: base.dtype, bytes: narrowed(x, base.dtype) })
  const product = rounded(plain.product(call))
  plain.scale(product, scale)
  const sum = widened(base)
  plain.add(sum, rounded(product))
  return narrowed(sum, base.dtype)
}

const addend = (rows: number, columns: number, k: number, dtype: WeightDType, seed: number): Addend =>
  ({ scale: 0.3, left: weights(dtype, rows, k, seed), right: weights(dtype, k, columns, seed + 1) })

const IN_PLACE: ReadonlyArray<WeightDType> = ["BF16", "F32"]
const STEPS: ReadonlyArray<SumSteps> = ["once", "delta-first", "stepwise"]
const SIZES = [[1, 1, 1], [4, 8, 4], [3, 5, 7], [9, 600, 32], [530, 17, 5], [13, 24, 129]] as const

describe("sums of products in place", () => {
  it.each(SIZES)("[%i, %i] with rank %i are those of the plain loops, bit for bit", (rows, columns, k) => {
    const wrong = IN_PLACE.flatMap((dtype) => STEPS.flatMap((steps) => DTYPES.flatMap((factors) => {
      const base = weights(dtype, rows, columns, 3)
      const own = addend(rows, columns, k, factors, 1)
      const sums = matrices(dtype, steps, rows, columns, [[own]])
      return Buffer.compare(summed(sums, base.bytes), expected(base, own, steps)) === 0 ? [] : [`${dtype}, ${steps}, factors of ${factors}`]
    })))
    expect(wrong).toEqual([])
  })

  it.each(SIZES)("[%i, %i] with rank %i and another: added together, rows multiplied, rounded once", (rows, columns, k) => {
    for (const dtype of DTYPES) {
      const base = weights(dtype, rows, columns, 3)
      const addends = [addend(rows, columns, k, "BF16", 1), addend(rows, columns, 2, "F32", 7)]
      const factors = numbers(rows, 9)
      const sum = widened(base)
      for (const { left, right, scale } of addends) {
        const product = plain.product({ a: widened(left), m: rows, b: right, transposed: false })
        plain.scale(product, scale)
        plain.add(sum, product)
      }
      expect(summed(matrices(dtype, "together", rows, columns, [addends]), base.bytes), dtype).toEqual(narrowed(sum, dtype))
      const longer = sum.map((value, i) => factors[Math.floor(i / columns)]! * value)
      expect(summed(matrices(dtype, "together", rows, columns, [addends], factors), base.bytes), dtype).toEqual(narrowed(longer, dtype))
    }
  })

  it("cuts anywhere change no bit, nor do odd addresses or little room", () => {
    const next = random(7)
    const [rows, columns, count] = [11, 21, 3]
    const addends = Array.from({ length: count }, (_, i) => i === 1 ? [] : [addend(rows, columns, 6, "BF16", 10 * i), addend(rows, columns, 3, "F32", 10 * i + 5)])
    for (const [dtype, steps] of [["BF16", "once"], ["F32", "once"], ["BF16", "together"], ["F16", "together"]] as const) {
      const base = weights(dtype, rows * count, columns, 2)
      const sums = matrices(dtype, steps, rows, columns, addends)
      const whole = summed(sums, base.bytes)
      for (let turn = 0; turn < 20; turn++) {
        expect(summed(sums, base.bytes, { at: next(9), piece: 1 + next(rows * columns), room: next(2) ? ROOM : 3000 })).toEqual(whole)
      }
      const size = rows * columns * bytesOf(dtype)
      expect(whole.subarray(size, 2 * size)).toEqual(base.bytes.subarray(size, 2 * size))
      expect(whole.subarray(0, size)).not.toEqual(base.bytes.subarray(0, size))
    }
  })

  it("NaN stays NaN, infinity infinity, and what is too large becomes it", () => {
    const base = { dtype: "BF16", rows: 1, columns: 4, bytes: narrowed(Float32Array.of(NaN, -Infinity, 3.38e38, 1), "BF16") } as const
    const own = { scale: 1, left: { dtype: "F32", rows: 1, columns: 1, bytes: narrowed(Float32Array.of(1), "F32") }, right: { dtype: "F32", rows: 1, columns: 4, bytes: narrowed(Float32Array.of(1, 1, 1e37, 1), "F32") } } as const
    for (const steps of STEPS) {
      const found = widened({ dtype: "BF16", bytes: summed(matrices("BF16", steps, 1, 4, [[own]]), base.bytes) })
      expect([...found]).toEqual([NaN, -Infinity, Infinity, 2])
    }
  })

  it("the largest rank fits the room, a larger one is said not to", () => {
    const one = (k: number, steps: AddendSteps = "once"): MatrixSums => matrices("F32", steps, 4, 8, [[addend(4, 8, k, "F16", 1)]])
    const base = narrowed(numbers(32, 3), "F32")
    const wanted = expected({ dtype: "F32", rows: 4, columns: 8, bytes: base }, addend(4, 8, LARGEST_RANK, "F16", 1), "once")
    for (const steps of ["once", "together"] as const) expect(summed(one(LARGEST_RANK, steps), base)).toEqual(wanted)
    expect(() => summed(one(3 * LARGEST_RANK), base)).toThrow(RangeError)
    expect(isSummed(one(3 * LARGEST_RANK)[0]!.sum!)).toBe(false)
  })
})
