/** Transposes of 1-, 2-, 4- and 8-byte elements in square blocks whose rows are vectors. */
import { type Body, define, type Definition, type I32, i32, v128, type V128, VECTOR } from "./assembler.ts"

/** Blocks are visited in tiles of this many bytes each way: rows of either side stay in the caches and the TLB meanwhile. */
const TILE = 128

/** Elements of the low (or high) halves of two vectors, by turns. */
const interleaved = (width: number, high: boolean): ReadonlyArray<number> =>
  Array.from({ length: VECTOR }, (_, byte) => {
    const element = Math.floor(byte / width)
    return (element % 2) * VECTOR + (high ? VECTOR / 2 : 0) + Math.floor(element / 2) * width + byte % width
  })

/**
 * Transpose rows of vectors. Interleaving row i with row i + n/2 rotates the bits of an element's (row, column) by one; after as many
 * rounds as a column has bits, the two have changed places.
 */
const transposed = (body: Body, rows: ReadonlyArray<V128>, width: number): ReadonlyArray<V128> => {
  const half = rows.length / 2
  let current = rows
  for (let round = 1; round < rows.length; round *= 2) {
    current = current.flatMap((_, i) =>
      i >= half ? [] : [false, true].map((high) => body.let(v128.shuffle(current[i]!, current[i + half]!, interleaved(width, high))))
    )
  }
  return current
}

const least = (a: I32, b: I32): I32 => i32.select(a, b, i32.ltS(a, b))

/**
 * Columns of the source become rows of the target. Rows and columns are multiples of `VECTOR / width`; addresses and strides of
 * rows are in bytes, and any.
 */
export const transpose = (width: number): Definition =>
  define(["rows", "columns", "source", "sourceStride", "target", "targetStride"], (body, rows, columns, source, sourceStride, target, targetStride) => {
    const n = VECTOR / width
    const tile = TILE / width
    const log2 = Math.log2(width)
    const bytes = (elements: I32): I32 => i32.shl(elements, i32.const(log2))
    body.for(i32.const(0), columns, tile, (left) => {
      const right = body.let(least(i32.add(left, i32.const(tile)), columns))
      body.for(i32.const(0), rows, tile, (top) => {
        const bottom = body.let(least(i32.add(top, i32.const(tile)), rows))
        body.for(left, right, n, (column) => {
          body.for(top, bottom, n, (row) => {
            const from = body.let(i32.add(source, i32.add(i32.mul(row, sourceStride), bytes(column))))
            const block = Array.from({ length: n }, (_, i) => {
              if (i > 0) body.add(from, sourceStride)
              return body.let(v128.load(from))
            })
            const to = body.let(i32.add(target, i32.add(i32.mul(column, targetStride), bytes(row))))
            for (const [i, line] of transposed(body, block, width).entries()) {
              if (i > 0) body.add(to, targetStride)
              body.do(v128.store(to, line))
            }
          })
        })
      })
    })
  })
