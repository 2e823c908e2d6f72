import { describe, expect, it } from "vitest"
import type { ChunkBox } from "../../src/torch/BoxCover.ts"
import { cover } from "../../src/torch/BoxCover.ts"
import { random } from "./tools.ts"

const box = (offsets: ReadonlyArray<number>, sizes: ReadonlyArray<number>): ChunkBox => ({ offsets, sizes })
/** Five boxes that no straight cut separates. */
const pinwheel = [box([0, 0], [1, 2]), box([0, 2], [2, 1]), box([2, 1], [1, 2]), box([1, 0], [2, 1]), box([1, 1], [1, 1])]

/** Counts how often each element is covered. */
const counted = (shape: ReadonlyArray<number>, boxes: ReadonlyArray<ChunkBox>): "exact" | "hole" | "overlap" => {
  const counts = new Map<string, number>()
  const visit = (sizes: ReadonlyArray<number>, at: ReadonlyArray<number>, add: number): void => {
    if (at.length === sizes.length) return void counts.set(at.join(), (counts.get(at.join()) ?? 0) + add)
    for (let i = 0; i < sizes[at.length]!; i++) visit(sizes, [...at, i], add)
  }
  visit(shape, [], 0)
  for (const { offsets, sizes } of boxes) {
    const shift = (at: ReadonlyArray<number>): void => {
      if (at.length === sizes.length) {
        const key = at.join()
        counts.set(key, counts.get(key)! + 1)
        return
      }
      for (let i = 0; i < sizes[at.length]!; i++) shift([...at, offsets[at.length]! + i])
    }
    shift([])
  }
  const values = [...counts.values()]
  return values.some((n) => n > 1) ? "overlap" : values.includes(0) ? "hole" : "exact"
}

describe("cover", () => {
  it.each([
    ["a scalar", [], [box([], [])]],
    ["one box", [4, 6], [box([0, 0], [4, 6])]],
    ["a grid in any order", [4, 2], [box([2, 0], [2, 2]), box([0, 0], [2, 2])]],
    ["an uneven grid", [5, 3], [box([0, 0], [2, 3]), box([2, 0], [3, 3])]],
    ["rows cut differently", [2, 6], [box([0, 0], [1, 2]), box([0, 2], [1, 4]), box([1, 0], [1, 3]), box([1, 3], [1, 3])]],
    ["a pinwheel", [3, 3], pinwheel],
    ["nothing, for an empty tensor", [0, 4], []]
  ])("%s is exact", (_what, shape, boxes) => {
    expect(cover(shape, boxes)).toEqual({ kind: "exact" })
  })

  it("says where a hole is", () => {
    expect(cover([4], [])).toEqual({ kind: "hole", from: [0], to: [4] })
    expect(cover([6, 2], [box([0, 0], [2, 2]), box([4, 0], [2, 2])])).toEqual({ kind: "hole", from: [2, 0], to: [4, 2] })
    expect(cover([6, 2], [box([0, 0], [2, 2]), box([2, 0], [3, 2])])).toEqual({ kind: "hole", from: [5, 0], to: [6, 2] })
    expect(cover([2, 2], [box([0, 0], [1, 2]), box([1, 1], [1, 1])])).toEqual({ kind: "hole", from: [1, 0], to: [2, 1] })
    expect(cover([3, 3], pinwheel.slice(0, 4))).toEqual({ kind: "hole", from: [0, 0], to: [3, 3] })
  })

  it("says which boxes overlap", () => {
    expect(cover([4], [box([0], [3]), box([2], [2])])).toEqual({ kind: "overlap", a: 0, b: 1 })
    expect(cover([2, 2], [box([0, 0], [2, 2]), box([0, 0], [2, 2])])).toEqual({ kind: "overlap", a: 0, b: 1 })
    expect(cover([], [box([], []), box([], [])])).toEqual({ kind: "overlap", a: 0, b: 1 })
    expect(cover([3, 3], [...pinwheel, box([1, 1], [1, 1])])).toMatchObject({ kind: "overlap" })
  })

  it("agrees with counting on random boxes", () => {
    const { below } = random(3)
    const seen = { exact: 0, hole: 0, overlap: 0 }
    for (let round = 0; round < 3000; round++) {
      const shape = Array.from({ length: 1 + below(3) }, () => 1 + below(4))
      const split = (b: ChunkBox, depth: number): Array<ChunkBox> => {
        const axis = below(shape.length)
        if (depth === 0 || b.sizes[axis]! < 2) return [b]
        const cut = 1 + below(b.sizes[axis]! - 1)
        return [
          ...split(box(b.offsets, b.sizes.with(axis, cut)), depth - 1),
          ...split(box(b.offsets.with(axis, b.offsets[axis]! + cut), b.sizes.with(axis, b.sizes[axis]! - cut)), depth - 1)
        ]
      }
      let boxes = split(box(shape.map(() => 0), shape), below(4))
      if (below(3) === 0) boxes = boxes.filter(() => below(4) > 0)
      if (below(3) === 0 && boxes.length > 0) {
        const moved = boxes[below(boxes.length)]!
        boxes = [...boxes, box(moved.offsets.map((offset) => below(offset + 1)), moved.sizes)]
      }
      const expected = counted(shape, boxes)
      const found = cover(shape, boxes).kind
      // Both a hole and an overlap: either may be reported.
      if (expected === "overlap") expect(["overlap", "hole"]).toContain(found)
      else expect(found).toBe(expected)
      seen[expected]++
    }
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(100)
  })

  it("gives up on what would take too long", { timeout: 30_000 }, () => {
    // A pinwheel whose hub is cut into thousands of strips: no cut separates them from the arms.
    const n = 12_000
    const arms = [box([0, 0], [1, n + 1]), box([0, n + 1], [n + 1, 1]), box([n + 1, 1], [1, n + 1]), box([1, 0], [n + 1, 1])]
    const strips = Array.from({ length: n }, (_, i) => box([1, 1 + i], [n, 1]))
    expect(cover([n + 2, n + 2], [...arms, ...strips])).toEqual({ kind: "irregular" })
    expect(cover([n + 2, n + 2], [...arms, ...strips.slice(0, 100)])).toMatchObject({ kind: "hole" })
  })
})
