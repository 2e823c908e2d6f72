import { describe, expect, it } from "vitest"
import { memoryWith } from "../../../src/tensor/kernels/Memory.ts"
import { move } from "../../../src/tensor/kernels/move.ts"
import { type Random, random } from "../random.ts"

const shuffled = (next: Random, n: number): Array<number> => {
  const order = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = next(i + 1)
    ;[order[i], order[j]] = [order[j]!, order[i]!]
  }
  return order
}

/** Strides of axes laid out in some order, each a little longer than it needs to be. */
const layout = (next: Random, shape: ReadonlyArray<number>): { strides: Array<number>; length: number } => {
  const strides = shape.map(() => 0)
  let step = 1
  for (const axis of shuffled(next, shape.length)) {
    strides[axis] = step
    step *= shape[axis]! + (next(3) === 0 ? next(4) : 0)
  }
  return { strides, length: step }
}

describe("move", () => {
  it.each([1, 2, 4, 8, 16])("puts each element of %d bytes where the strides say, at any alignment", (width) => {
    for (let seed = 1; seed <= 300; seed++) {
      const next = random(seed * 100 + width)
      const shape = Array.from({ length: next(5) }, () => 1 + next(next(4) === 0 ? 70 : 7))
      const source = layout(next, shape)
      const target = layout(next, shape)
      // A repeated source: a stride of zero.
      if (shape.length > 0 && next(5) === 0) source.strides[next(shape.length)] = 0
      const from = next(2) === 0 ? 0 : next(17)
      const to = Math.ceil((from + source.length * width) / 16) * 16 + (next(2) === 0 ? 0 : next(17))
      const size = to + target.length * width + 16
      const m = memoryWith(size)
      for (let i = 0; i < size; i++) m.u8[i] = next(256)
      const expected = m.u8.slice()
      const volume = shape.reduce((a, b) => a * b, 1)
      for (let n = 0; n < volume; n++) {
        let [s, t] = [0, 0]
        for (let axis = shape.length - 1, rest = n; axis >= 0; axis--) {
          const index = rest % shape[axis]!
          rest = (rest - index) / shape[axis]!
          s += index * source.strides[axis]!
          t += index * target.strides[axis]!
        }
        expected.copyWithin(to + t * width, from + s * width, from + (s + 1) * width)
      }
      move(m, width, shape, { at: from, strides: source.strides }, { at: to, strides: target.strides })
      expect(Buffer.compare(m.u8, expected), `seed ${seed}, shape ${shape}`).toBe(0)
    }
  })

  it("moves nothing if an axis is empty", () => {
    const m = memoryWith(64)
    m.u8[0] = 1
    move(m, 1, [3, 0], { at: 0, strides: [1, 1] }, { at: 32, strides: [1, 1] })
    expect(m.u8[32]).toBe(0)
  })
})
