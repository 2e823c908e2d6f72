/**
 * Weights with the changes of adapters, as they are computed with: rows of `W + s·(B·A)` in F32, rounded nowhere else; with DoRA each at the
 * length that the adapter gives it.
 */
import { factorsOf, isLinearWeight, type Strip } from "../adapters/factors.ts"
import type { LoadedAdapter } from "../adapters/merge/loadAdapter.ts"
import type { MergeTerm } from "../adapters/merge/Term.ts"
import type { Arithmetic, Weights } from "../arithmetic/Arithmetic.ts"
import { widened } from "../arithmetic/convert.ts"
import type { BoundParameter } from "../bridge/Conversion.ts"
import { PlanRefused } from "../errors.ts"
import { stridesOf, volume } from "../tensor/Copy.ts"
import { bytesOf } from "../tensor/DType.ts"

/** Rows of a parameter, changed; `first`: the number of the first. */
export type Change = (rows: Weights, first: number) => Weights

/** Which HF row (or column) each row (or column) of the parameter is; −1: none of this matrix. */
const positions = (strips: ReadonlyArray<Strip>, count: number): Int32Array => {
  const hfOf = new Int32Array(count).fill(-1)
  for (const { hf, parameter, shape } of strips) {
    const steps = stridesOf(shape)
    for (let i = 0; i < volume(shape); i++) {
      let [from, to] = [hf.offset, parameter.offset]
      for (const [axis, step] of steps.entries()) {
        const index = Math.floor(i / step) % shape[axis]!
        from += index * hf.strides[axis]!
        to += index * parameter.strides[axis]!
      }
      hfOf[to] = from
    }
  }
  return hfOf
}

/** A change of some rows of a parameter. */
interface ChangedPart {
  readonly term: MergeTerm
  /** The term is of the matrix `[in, out]`. */
  readonly transposed: boolean
  /** By rows and columns of the parameter. */
  readonly rows: Int32Array
  readonly columns: Int32Array
}

const partsOf = (bound: BoundParameter, adapters: ReadonlyArray<LoadedAdapter>): ReadonlyArray<ChangedPart> => {
  const [rows, columns] = bound.parameter.shape as readonly [number, number]
  return factorsOf(bound).flatMap(({ columns: across, matrix, rows: down }) => {
    const terms = adapters.flatMap((adapter) => (adapter.tensors.has(matrix.tensor) ? adapter.termOf(matrix) ?? [] : []))
    if (terms.length > 1 && terms.some(({ magnitude }) => magnitude)) {
      throw new PlanRefused({ code: "adapter/dora", problem: "DoRA sets the lengths of rows, so it cannot be applied together with another adapter of the same weight", names: [matrix.tensor] })
    }
    const [rowMap, columnMap] = [positions(down, rows), positions(across, columns)]
    return terms.map((term): ChangedPart => ({ term, transposed: matrix.transposed, rows: rowMap, columns: columnMap }))
  })
}

/** Some rows of a matrix, or (`across`) some columns as rows, as numbers. */
const gathered = ({ bytes, columns, dtype, rows }: Weights, numbers: ReadonlyArray<number>, across: boolean): Float32Array => {
  const all = widened({ bytes: bytes.subarray(0, rows * columns * bytesOf(dtype)), dtype })
  const width = across ? rows : columns
  return Float32Array.from({ length: numbers.length * width }, (_, i) => {
    const [number, at] = [numbers[Math.floor(i / width)]!, i % width]
    return all[across ? at * columns + number : number * columns + at]!
  })
}

/** The change of HF rows `numbers`, [numbers, columns of the HF matrix], without its scale. */
const changeOf = (arithmetic: Arithmetic, { term: { a, b }, transposed }: ChangedPart, numbers: ReadonlyArray<number>): Float32Array =>
  transposed
    ? arithmetic.product({ a: gathered(a, numbers, true), m: numbers.length, b, transposed: true })
    : arithmetic.product({ a: gathered(b, numbers, false), m: numbers.length, b: a, transposed: false })

const applyPart = (arithmetic: Arithmetic, part: ChangedPart, sums: Float32Array, columns: number, first: number): void => {
  const own = Array.from({ length: sums.length / columns }, (_, i) => i).filter((i) => part.rows[first + i]! >= 0)
  if (own.length === 0) return
  const numbers = own.map((i) => part.rows[first + i]!)
  const change = changeOf(arithmetic, part, numbers)
  arithmetic.scale(change, part.term.scale)
  const width = change.length / own.length
  for (const [i, row] of own.entries()) {
    for (let c = 0; c < columns; c++) {
      const from = part.columns[c]!
      if (from >= 0) sums[row * columns + c]! += change[i * width + from]!
    }
  }
  const { magnitude } = part.term
  if (!magnitude) return
  const lengths = widened(magnitude)
  const norms = arithmetic.rowNorms(sums, columns)
  for (const [i, row] of own.entries()) {
    const factor = Math.fround(lengths[numbers[i]!]! / norms[row]!)
    for (let c = row * columns; c < (row + 1) * columns; c++) sums[c]! *= factor
  }
}

/** What adapters change of a parameter; undefined where they do not. PlanRefused `adapter/dora` for two of a weight, one of them DoRA. */
export const changesByParameter = (arithmetic: Arithmetic, adapters: ReadonlyArray<LoadedAdapter>, bound: BoundParameter): Change | undefined => {
  if (adapters.length === 0 || !isLinearWeight(bound)) return undefined
  const parts = partsOf(bound, adapters)
  if (parts.length === 0) return undefined
  return (rows, first) => {
    const sums = widened(rows)
    for (const part of parts) applyPart(arithmetic, part, sums, rows.columns, first)
    return { dtype: "F32", rows: rows.rows, columns: rows.columns, bytes: new Uint8Array(sums.buffer) }
  }
}
