import { describe, expect, it } from "vitest"
import { Pieces } from "../../src/engine/internal/Pieces.ts"
import { spanOf } from "../../src/engine/internal/span.ts"
import type { SourceArray, TargetArray } from "../../src/engine/internal/Target.ts"
import { type Copy, identity, readFrom, type Shape, stridesOf, viewOf, volume } from "../../src/tensor/Copy.ts"

const GAP = 32 * 1024
const MB = 1 << 20

const piecesOf = (shape: Shape, copies: ReadonlyArray<Copy>, dtype: "BF16" | "F32" = "BF16"): Pieces => {
  const source: SourceArray = { path: "/in", offset: 0, dtype: "BF16", shape: [volume(shape) * 4] }
  const array: TargetArray = { id: "w", dtype, shape, copies: () => copies.map((copy) => readFrom(copy, () => source)) }
  return new Pieces(array)
}

/** Each of `count` matrices is the transpose of a stored one. */
const transposed = (count: number, rows: number, columns: number): Pieces => {
  const shape = [count, rows, columns]
  return piecesOf(shape, [{ shape, source: { tensor: "a", offset: 0, strides: [rows * columns, 1, rows] }, target: viewOf("w", shape) }])
}

describe("a stretch of an array", () => {
  it("is a block where bytes lie as they are stored", () => {
    expect(spanOf(piecesOf([100, MB], [identity("a", "w", [100, MB])]), 3 * MB, 4 * MB, 40 * MB, GAP)).toBe(4 * MB)
  })

  it("is a block where rows of several tensors interleave", () => {
    const shape = [64, 3, 4096]
    const row = (k: number): Copy => ({
      shape: [64, 4096],
      source: viewOf(`${k}`, [64, 4096]),
      target: { tensor: "w", offset: k * 4096, strides: [3 * 4096, 1] }
    })
    expect(spanOf(piecesOf(shape, [row(0), row(1), row(2)]), 0, 100_000, MB, GAP)).toBe(100_000)
  })

  it("is a block where only far parts of long rows are wanted: they are read one by one", () => {
    const shape = [1000, 4096]
    const copy: Copy = { shape, source: { tensor: "a", offset: 0, strides: [16384, 1] }, target: viewOf("w", shape) }
    const source: SourceArray = { path: "/in", offset: 0, dtype: "BF16", shape: [1000, 16384 * 4] }
    const wide = { ...copy, source: { ...copy.source, strides: [16384 * 4, 1] } }
    const pieces = new Pieces({ id: "w", dtype: "BF16", shape, copies: () => [readFrom(wide, () => source)] })
    expect(spanOf(pieces, 0, MB, 8 * MB, GAP)).toBe(MB)
  })

  it("is as many whole matrices of a stack of transposes as a block has room for, at least one", () => {
    const matrix = 2048 * 768 * 2
    expect(spanOf(transposed(8, 2048, 768), 0, 4 * MB, 40 * MB, GAP)).toBe(matrix)
    expect(spanOf(transposed(8, 2048, 768), 3 * matrix, 4 * MB, 40 * MB, GAP)).toBe(matrix)
    expect(spanOf(transposed(4, 4096, 2048), 0, 4 * MB, 40 * MB, GAP)).toBe(4096 * 2048 * 2)
  })

  it("is all that may be of a transpose that is larger", () => {
    expect(spanOf(transposed(1, 16384, 4096), 0, 4 * MB, 40 * MB, GAP)).toBe(40 * MB)
  })

  it("does not end amid a row of the target, for which a whole transpose is read as for many rows", () => {
    expect(spanOf(transposed(1, 16384, 4096), 0, 4 * MB, 40 * MB - 100, GAP)).toBe(40 * MB - 4096 * 2)
  })

  it("does not leave a row of a matrix to the next one", () => {
    const matrix = 4096 * 1024 * 2
    expect(spanOf(transposed(8, 4096, 1024), 0, 4 * MB - 216, 40 * MB, GAP)).toBe(matrix)
  })

  it("ends with the array", () => {
    expect(spanOf(transposed(1, 300, 100), 59_000, 4 * MB, 40 * MB, GAP)).toBe(1000)
    expect(spanOf(piecesOf([5], [identity("a", "w", [5])]), 0, 4 * MB, 40 * MB, GAP)).toBe(10)
  })

  it("of strides that C order has none of stays within its bounds", () => {
    const shape = [7, 5, 3]
    const [a, b, c] = stridesOf([3, 5, 7])
    const pieces = piecesOf(shape, [{ shape, source: { tensor: "a", offset: 0, strides: [c!, b!, a!] }, target: viewOf("w", shape) }])
    for (let start = 0; start < 210; start += 2) {
      const length = spanOf(pieces, start, 20, 60, 0)
      expect(length).toBeGreaterThan(0)
      expect(length).toBeLessThanOrEqual(60)
    }
  })
})
