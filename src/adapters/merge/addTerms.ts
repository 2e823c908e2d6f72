/**
 * Rows of a matrix with the changes of adapters added, in the order of operations that other merging programs have. The driver of the
 * arithmetic decides nothing of it: products are sums in F32 in the order of ranks (adapters-and-assembly.md 1.4).
 */
import type { Arithmetic, WeightDType } from "../../arithmetic/Arithmetic.ts"
import { narrowed, widened } from "../../arithmetic/convert.ts"
import { bytesOf } from "../../tensor/DType.ts"
import type { Matrix, MergeTerm } from "./Term.ts"

/**
 * `bridge`: `W + s·(B·A)` in F32, rounded once; `peft`: `s·(B·A)` is rounded to the dtype of W, then its sum with W is. Of several adapters
 * both round after each. `precise`: the changes of all adapters are added in F32, and the sum is rounded once.
 */
export type MergeOrder = "bridge" | "peft" | "precise"

/** As the orders above, and `stepwise`: product, scale and sum are each rounded to the dtype of W. */
export type Rounding = MergeOrder | "stepwise"

/** Some rows of a matrix of weights, whole. */
export interface Rows {
  readonly dtype: WeightDType
  readonly columns: number
  /** Number of the first. */
  readonly first: number
  readonly bytes: Uint8Array
}

const rowsOf = ({ bytes, columns, dtype }: Matrix, first: number, count: number): Float32Array =>
  widened({ dtype, bytes: bytes.subarray(first * columns * bytesOf(dtype), (first + count) * columns * bytesOf(dtype)) })

const factorsOf = ({ a, b }: MergeTerm, first: number, m: number) => ({ a: rowsOf(b, first, m), m, b: a, transposed: false })

const stepwise = (arithmetic: Arithmetic, { bytes, dtype, first }: Rows, m: number, term: MergeTerm): Uint8Array => {
  const rounded = (x: Float32Array): Float32Array => widened({ dtype, bytes: narrowed(x, dtype) })
  const product = rounded(arithmetic.product(factorsOf(term, first, m)))
  arithmetic.scale(product, term.scale)
  const sum = widened({ dtype, bytes })
  arithmetic.add(sum, rounded(product))
  return narrowed(sum, dtype)
}

/** What rows of a matrix are multiplied by once the change of a term of DoRA is added; undefined of other terms. */
export type RowFactors = (term: MergeTerm) => Float32Array | undefined

/** W with the change added, in F32. */
export const changedRows = (arithmetic: Arithmetic, { bytes, dtype, first }: Rows, m: number, term: MergeTerm): Float32Array => {
  const product = arithmetic.product(factorsOf(term, first, m))
  arithmetic.scale(product, term.scale)
  const sum = widened({ dtype, bytes })
  arithmetic.add(sum, product)
  return sum
}

const lengthened = (arithmetic: Arithmetic, rows: Rows, m: number, term: MergeTerm, factors: Float32Array): Uint8Array => {
  const sum = changedRows(arithmetic, rows, m, term)
  for (let i = 0; i < m; i++) {
    for (let j = i * rows.columns; j < (i + 1) * rows.columns; j++) sum[j] = factors[rows.first + i]! * sum[j]!
  }
  return narrowed(sum, rows.dtype)
}

/** The bytes of the rows with all changes. */
export const withTerms = (arithmetic: Arithmetic, rows: Rows, terms: ReadonlyArray<MergeTerm>, rounding: Rounding, rowFactorsOf: RowFactors): Uint8Array => {
  const m = rows.bytes.byteLength / bytesOf(rows.dtype) / rows.columns
  if (rounding === "precise" && terms.length > 1 && !terms.some(rowFactorsOf)) {
    const sum = widened(rows)
    for (const term of terms) {
      const product = arithmetic.product(factorsOf(term, rows.first, m))
      arithmetic.scale(product, term.scale)
      arithmetic.add(sum, product)
    }
    return narrowed(sum, rows.dtype)
  }
  let bytes = rows.bytes
  for (const term of terms) {
    const own = { ...rows, bytes }
    const factors = rowFactorsOf(term)
    if (factors) bytes = lengthened(arithmetic, own, m, term, factors)
    else if (rounding === "stepwise") bytes = stepwise(arithmetic, own, m, term)
    else bytes = arithmetic.addProduct({ ...own, rows: m }, factorsOf(term, rows.first, m), term.scale, rounding === "peft" ? "delta-first" : "once")
  }
  return bytes
}
