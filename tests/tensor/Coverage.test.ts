import { describe, expect, it } from "vitest"
import { stridesOf, volume } from "../../src/tensor/Copy.ts"
import { coverage, type CoveredView } from "../../src/tensor/Coverage.ts"
import { addresses, boxes, randomPart, randomShape, shuffled, subdivided } from "./randomCopies.ts"
import { type Random, random } from "./random.ts"

/** Pieces that cover a shape exactly once. */
const partition = (next: Random, shape: ReadonlyArray<number>): Array<CoveredView> => {
  const strides = stridesOf(shape)
  return shuffled(next, boxes(next, shape.map(() => 0), shape, 4)).map(({ offsets, sizes }, i) => {
    const axes = shuffled(next, sizes.flatMap((count, k) => subdivided(next, { count, stride: strides[k]! })))
    const offset = offsets.reduce((sum, o, k) => sum + o * strides[k]!, 0)
    return { shape: axes.map((a) => a.count), view: { tensor: "w", offset, strides: axes.map((a) => a.stride) }, label: `${i}` }
  })
}

/** How often each element is covered. */
const counts = (shape: ReadonlyArray<number>, pieces: ReadonlyArray<CoveredView>): Array<number> => {
  const times = Array.from({ length: volume(shape) }, () => 0)
  for (const piece of pieces) for (const at of addresses(piece.shape, piece.view)) times[at]!++
  return times
}

const agrees = (shape: ReadonlyArray<number>, pieces: ReadonlyArray<CoveredView>, seed: number) => {
  const times = counts(shape, pieces)
  const found = coverage(shape, pieces)
  const message = `seed ${seed}`
  if (found.kind === "exact") expect(times.every((n) => n === 1), message).toBe(true)
  else if (found.kind === "hole") expect(times[found.element], message).toBe(0)
  else expect(times[found.element], message).toBeGreaterThan(1)
}

describe("coverage", () => {
  it("accepts every partition of a tensor", () => {
    for (let seed = 1; seed <= 2000; seed++) {
      const next = random(seed)
      const shape = randomShape(next, next(5), 7)
      expect(coverage(shape, partition(next, shape)), `seed ${seed}`).toEqual({ kind: "exact" })
    }
  })

  it("names an element that a partition without one of its pieces misses", () => {
    for (let seed = 1; seed <= 1000; seed++) {
      const next = random(seed)
      const shape = randomShape(next, 1 + next(4), 7)
      const pieces = partition(next, shape)
      pieces.splice(next(pieces.length), 1)
      agrees(shape, pieces, seed)
      expect(coverage(shape, pieces).kind).toBe("hole")
    }
  })

  it("names an element that is covered twice, and by whom", () => {
    for (let seed = 1; seed <= 1000; seed++) {
      const next = random(seed)
      const shape = randomShape(next, 1 + next(4), 7)
      const pieces = partition(next, shape)
      const { axes, offset } = randomPart(next, shape)
      const extra = { shape: axes.map((a) => a.count), view: { tensor: "w", offset, strides: axes.map((a) => a.stride) }, label: "extra" }
      const all = shuffled(next, [...pieces, extra])
      agrees(shape, all, seed)
      const found = coverage(shape, all)
      expect(found.kind).toBe("overlap")
      if (found.kind === "overlap") expect(found.labels).toContain("extra")
    }
  })

  it("agrees with counting for any pieces", () => {
    for (let seed = 1; seed <= 3000; seed++) {
      const next = random(seed)
      const shape = randomShape(next, 1 + next(3), 5)
      const pieces = Array.from({ length: next(5) }, (_, i) => {
        const { axes, offset } = randomPart(next, shape)
        return { shape: axes.map((a) => a.count), view: { tensor: "w", offset, strides: axes.map((a) => a.stride) }, label: `${i}` }
      })
      agrees(shape, pieces, seed)
    }
  })

  it("of nothing is exact for an empty tensor only", () => {
    expect(coverage([0, 3], [])).toEqual({ kind: "exact" })
    expect(coverage([2], [])).toEqual({ kind: "hole", element: 0 })
  })

  it("of a large interleave or transpose is found without looking at elements", () => {
    const piece = (shape: ReadonlyArray<number>, offset: number, strides: ReadonlyArray<number>): CoveredView =>
      ({ shape, view: { tensor: "w", offset, strides }, label: "" })
    const width = 1 << 14
    const rows = 1 << 13
    expect(coverage([rows, width], [
      piece([rows / 2, width], 0, [2 * width, 1]),
      piece([rows / 2, width], width, [2 * width, 1])
    ])).toEqual({ kind: "exact" })
    expect(coverage([rows, width], [piece([width, rows], 0, [1, width])])).toEqual({ kind: "exact" })
  })
})
