/** Norms of the rows of a matrix that comes piece by piece, in its own order. */
import type { Arithmetic } from "../../arithmetic/Arithmetic.ts"

/** A row that is cut is summed on where it was left: its norm is that of the whole row, bit for bit. */
export class RowNorms {
  /** Of each row, once all of it has come. */
  readonly norms: Float32Array
  readonly #arithmetic: Arithmetic
  readonly #columns: number
  #elements = 0
  #cut = 0

  constructor(arithmetic: Arithmetic, rows: number, columns: number) {
    this.#arithmetic = arithmetic
    this.#columns = columns
    this.norms = new Float32Array(rows)
  }

  add(x: Float32Array): void {
    for (let at = 0; at < x.length;) {
      const [row, column] = [Math.floor(this.#elements / this.#columns), this.#elements % this.#columns]
      const whole = column > 0 ? 0 : Math.floor((x.length - at) / this.#columns) * this.#columns
      const count = whole > 0 ? whole : Math.min(x.length - at, this.#columns - column)
      if (whole > 0) this.norms.set(this.#arithmetic.rowNorms(x.subarray(at, at + whole), this.#columns), row)
      else this.#addCut(x, at, count, row, column + count === this.#columns)
      at += count
      this.#elements += count
    }
  }

  #addCut(x: Float32Array, from: number, count: number, row: number, ends: boolean): void {
    for (let i = from; i < from + count; i++) this.#cut += x[i]! * x[i]!
    if (!ends) return
    this.norms[row] = Math.sqrt(this.#cut)
    this.#cut = 0
  }
}
