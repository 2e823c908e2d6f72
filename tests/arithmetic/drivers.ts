/** Products, sums and weights that every driver of arithmetic is held against. */
import { narrowed } from "../../src/arithmetic/convert.ts"
import type { Arithmetic, Product, SumRounding, WeightDType, Weights } from "../../src/arithmetic/Arithmetic.ts"
import { random } from "../tensor/random.ts"

export const DTYPES: ReadonlyArray<WeightDType> = ["F32", "BF16", "F16"]
export const ROUNDINGS: ReadonlyArray<SumRounding> = ["once", "delta-first"]

/** Numbers between −1 and 1, the same for a seed. */
export const numbers = (count: number, seed: number): Float32Array<ArrayBuffer> => {
  const next = random(seed)
  return Float32Array.from({ length: count }, () => (next(1 << 20) - (1 << 19)) / (1 << 19))
}

export const weights = (dtype: WeightDType, rows: number, columns: number, seed: number): Weights =>
  ({ dtype, rows, columns, bytes: narrowed(numbers(rows * columns, seed), dtype) })

export interface Sizes {
  readonly m: number
  readonly n: number
  readonly k: number
}

/** Smaller and larger than tiles and blocks, whole and broken ones. */
export const SIZES: ReadonlyArray<Sizes> = [
  { m: 1, n: 1, k: 1 },
  { m: 4, n: 8, k: 4 },
  { m: 3, n: 5, k: 7 },
  { m: 33, n: 70, k: 129 },
  { m: 5, n: 530, k: 1030 },
  { m: 261, n: 9, k: 3 },
  { m: 0, n: 4, k: 4 },
  { m: 2, n: 3, k: 0 }
]

export const productOf = ({ k, m, n }: Sizes, dtype: WeightDType, transposed: boolean): Product => ({
  a: numbers(m * k, 1),
  m,
  b: transposed ? weights(dtype, n, k, 2) : weights(dtype, k, n, 2),
  transposed
})

/** A sum of a base and a product. */
export const sumOf = (arithmetic: Arithmetic, sizes: Sizes, dtype: WeightDType, rounding: SumRounding): Uint8Array =>
  arithmetic.addProduct(weights(dtype, sizes.m, sizes.n, 3), productOf(sizes, "F32", false), 0.3, rounding)
