import { expect, it } from "vitest"
import { RowNorms } from "../../src/adapters/merge/RowNorms.ts"
import { plain } from "../../src/arithmetic/plain.ts"
import { random } from "../tensor/random.ts"

it("norms of rows are the same bits, however the matrix is cut", () => {
  const [rows, columns] = [11, 7]
  const next = random(5)
  const matrix = Float32Array.from({ length: rows * columns }, () => (next(2001) - 1000) / 7)
  const wanted = plain.rowNorms(matrix, columns)
  for (const most of [1, 3, 7, 20, 77]) {
    const own = new RowNorms(plain, rows, columns)
    for (let at = 0; at < matrix.length;) {
      const count = 1 + next(most)
      own.add(matrix.subarray(at, at + count))
      at += count
    }
    expect(own.norms, `pieces of at most ${most}`).toEqual(wanted)
  }
})
