/** Boxes that run across themselves, at every alignment, held against element-by-element moves. */
import { expect, it } from "vitest"
import { stridesOf, volume } from "../../../src/tensor/Copy.ts"
import { memoryWith } from "../../../src/tensor/kernels/Memory.ts"
import { move } from "../../../src/tensor/kernels/move.ts"
import { random } from "../random.ts"

const SIZE = 1 << 20
const TARGET = SIZE / 2

it.each([1, 2, 4, 8])("elements of %i bytes arrive where they belong", (width) => {
  for (let seed = 1; seed <= 60; seed++) {
    const next = random(seed)
    const shape = [2 + next(140), 2 + next(70), 1 + next(3)].slice(0, 2 + next(2))
    const order = shape.map((_, axis) => axis).reverse()
    // The source's axes lie in the opposite order, its rows with a gap; the target's rows have one, too.
    const strides = shape.map(() => 0)
    let step = 1
    for (const axis of order.toReversed()) {
      strides[axis] = step
      step = step * shape[axis]! + next(3)
    }
    const toStrides = stridesOf(shape).map((stride, axis) => axis === shape.length - 1 ? 1 : stride * 2)
    const m = memoryWith(SIZE)
    for (let i = 0; i < TARGET; i++) m.u8[i] = next(256)
    const [from, to] = [next(9), TARGET + next(9)]
    move(m, width, shape, { at: from, strides }, { at: to, strides: toStrides })
    const wrong: Array<string> = []
    const touched = new Set<number>()
    for (let n = 0; n < volume(shape); n++) {
      const index = shape.map((extent, axis) => Math.floor(n / shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % extent)
      const offset = (s: ReadonlyArray<number>) => index.reduce((sum, i, axis) => sum + i * s[axis]!, 0) * width
      for (let b = 0; b < width; b++) {
        touched.add(to + offset(toStrides) + b)
        if (m.u8[to + offset(toStrides) + b] !== m.u8[from + offset(strides) + b]) wrong.push(`${index} byte ${b}`)
      }
    }
    expect(wrong, `seed ${seed}, [${shape}]`).toEqual([])
    // And nothing beside them was written.
    for (let at = TARGET; at < SIZE; at++) if (m.u8[at] !== 0 && !touched.has(at)) wrong.push(`byte ${at}`)
    expect(wrong, `seed ${seed}, [${shape}]`).toEqual([])
  }
})
