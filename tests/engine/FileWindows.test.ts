import { expect, it } from "vitest"
import { fileWindows } from "../../src/engine/internal/FileWindows.ts"
import type { Segment, SourceArray, TargetArray, TargetFile } from "../../src/engine/internal/Target.ts"

const MB = 1 << 20
const SIZES = { block: 4 * MB, wide: 40 * MB, read: 4 * MB, work: MB, cell: 64 * MB }

/** Experts whose gate and up projections are stored side by side, [in, 2·out], and become one item each, [out, in]. */
const halves = (experts: number, inner: number, outer: number): { readonly file: TargetFile; readonly items: ReadonlyArray<number> } => {
  const source: SourceArray = { path: "/in", offset: 0, dtype: "BF16", shape: [experts * inner * 2 * outer] }
  const segments: Array<Segment> = []
  const items: Array<number> = []
  let size = 0
  for (let expert = 0; expert < experts; expert++) {
    for (const half of [0, 1]) {
      const array: TargetArray = {
        id: `${expert} ${half}`,
        dtype: "BF16",
        shape: [outer, inner],
        copies: () => [{
          shape: [outer, inner],
          source: { tensor: source, offset: expert * inner * 2 * outer + half * outer, strides: [1, 2 * outer] },
          target: { tensor: "w", offset: 0, strides: [inner, 1] }
        }]
      }
      const header = new Uint8Array(700 + expert)
      segments.push({ kind: "bytes", bytes: header }, { kind: "array", array, crc: true })
      size += header.byteLength + 2 * outer * inner
      items.push(size)
    }
  }
  return { file: { name: "f", size, segments }, items }
}

it("the halves of a transposed matrix are assembled together, so that their rows are read once", () => {
  const { file, items } = halves(6, 2048, 768)
  const ends = [...fileWindows(file, SIZES, 32 << 10, () => {})].map((w) => w.position + w.size)
  expect(ends.at(-1)).toBe(file.size)
  // Every window ends with a matrix: behind its second half, never behind its first or within one.
  expect(ends.filter((end) => !items.includes(end) || items.indexOf(end) % 2 === 0)).toEqual([])
})
