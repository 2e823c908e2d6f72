import { describe, expect, it } from "vitest"
import {
  type Copy, identity, rebase, sameShape, type Side, simplify, stridesOf, viewOf, volume, wholeBox
} from "../../src/tensor/Copy.ts"
import { clip } from "./clip.ts"
import { coordinatesOf, randomPart, randomShape, related, sorted, subdivided } from "./randomCopies.ts"
import { type Random, random } from "./random.ts"

/** A copy one side of which is a random part of a tensor of `shape`; the other side and an operand are any strides. */
const randomCopy = (next: Random, side: Side, shape: ReadonlyArray<number>): Copy => {
  const { axes, offset } = randomPart(next, shape)
  const known = { tensor: "known", offset, strides: axes.map((a) => a.stride) }
  const any = (tensor: string) => ({ tensor, offset: next(50), strides: axes.map(() => next(40)) })
  return {
    shape: axes.map((a) => a.count),
    source: side === "source" ? known : any("source"),
    target: side === "target" ? known : any("target"),
    ...(next(2) === 0 ? { operands: [any("operand")] } : {})
  }
}

const randomBox = (next: Random, shape: ReadonlyArray<number>) => {
  const offsets = shape.map((n) => next(n))
  return { offsets, sizes: shape.map((n, k) => 1 + next(n - offsets[k]!)) }
}

describe("rebase", () => {
  it.each(["source", "target"] as const)("keeps exactly the elements whose %s lies in the box, at their new place", (side) => {
    const index = side === "source" ? 0 : 1
    for (let seed = 1; seed <= 2000; seed++) {
      const next = random(seed)
      const shape = randomShape(next, next(4), 9)
      const copy = randomCopy(next, side, shape)
      const box = randomBox(next, shape)
      const lead = randomShape(next, next(3), 3)
      const at = [...lead.map((n) => next(n)), ...shape.map(() => next(3))]
      const to = [...lead, ...box.sizes.map((n, k) => n + at[lead.length + k]! + next(3))]
      const toStrides = stridesOf(to)
      const expected = related(copy).flatMap((addresses) => {
        const inside = coordinatesOf(shape, addresses[index]!).map((c, k) => c - box.offsets[k]!)
        if (inside.some((c, k) => c < 0 || c >= box.sizes[k]!)) return []
        const moved = [...at.slice(0, lead.length), ...inside.map((c, k) => c + at[lead.length + k]!)]
        return [addresses.with(index, moved.reduce((sum, c, k) => sum + c * toStrides[k]!, 0))]
      })
      const parts = rebase(copy, side, shape, box, "new", to, at)
      expect(sorted(parts.flatMap(related)), `seed ${seed}`).toEqual(sorted(expected))
      expect(parts.every((p) => p[side].tensor === "new")).toBe(true)
    }
  })

  it("of a flat tensor cuts a copy at any element", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const next = random(seed)
      const shape = randomShape(next, 1 + next(3), 8)
      const copy = randomCopy(next, "target", shape)
      const elements = volume(shape)
      const from = next(elements)
      const size = 1 + next(elements - from)
      const parts = rebase(copy, "target", [elements], { offsets: [from], sizes: [size] }, "block", [size], [0])
      const expected = related(copy)
        .filter((addresses) => addresses[1]! >= from && addresses[1]! < from + size)
        .map((addresses) => addresses.with(1, addresses[1]! - from))
      expect(sorted(parts.flatMap(related)), `seed ${seed}`).toEqual(sorted(expected))
    }
  })

  it("cuts an axis into few pieces: two partial ones per level and the middle", () => {
    const copy = identity("a", "b", [100, 100, 100])
    expect(clip(copy, "target", [1e6], { offsets: [150_050], sizes: [700_000] }).length).toBeLessThanOrEqual(5)
  })

  it("refuses a copy that leaves its tensor", () => {
    expect(() => clip(identity("a", "b", [3, 4]), "target", [3, 3], wholeBox([3, 3]))).toThrow(RangeError)
    expect(() => clip(identity("a", "b", [5]), "target", [4], wholeBox([4]))).toThrow("a copy leaves its tensor [4] along axis 0")
  })

  it("refuses axes that interleave or lie across the tensor's", () => {
    const copy = (strides: ReadonlyArray<number>): Copy => ({
      shape: [2, 3],
      source: viewOf("a", [2, 3]),
      target: { tensor: "b", offset: 0, strides }
    })
    expect(() => clip(copy([3, 2]), "target", [10], { offsets: [0], sizes: [5] })).toThrow("interleave")
    expect(() => clip(copy([5, 1]), "target", [4, 4], { offsets: [0, 0], sizes: [2, 4] })).toThrow("does not lie along one axis")
  })
})

describe("simplify", () => {
  it("keeps the sequence of addresses", () => {
    for (let seed = 1; seed <= 1000; seed++) {
      const next = random(seed)
      const copy = randomCopy(next, "target", randomShape(next, next(4), 6))
      expect(related(simplify(copy))).toEqual(related(copy))
    }
  })

  it("makes one run of a whole tensor, however it was cut up", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const next = random(seed)
      const shape = randomShape(next, 1 + next(3), 6).map((n) => n + 1)
      const axes = stridesOf(shape).flatMap((stride, k) => subdivided(next, { count: shape[k]!, stride }))
      const view = { offset: 0, strides: axes.map((a) => a.stride) }
      const copy = { shape: axes.map((a) => a.count), source: { tensor: "a", ...view }, target: { tensor: "b", ...view } }
      expect(simplify(copy).shape).toEqual([volume(shape)])
    }
  })
})

describe("shapes", () => {
  it("a scalar has one element, an empty axis none", () => {
    expect(volume([])).toBe(1)
    expect(volume([3, 0])).toBe(0)
    expect(() => volume([2 ** 27, 2 ** 27])).toThrow("too many elements")
  })

  it("are equal axis by axis", () => {
    expect(sameShape([2, 3], [2, 3])).toBe(true)
    expect(sameShape([2, 3], [6])).toBe(false)
  })

  it("a view of the rows from one on starts there", () => {
    expect(viewOf("w", [4, 6], 2)).toEqual({ tensor: "w", offset: 12, strides: [6, 1] })
  })
})
