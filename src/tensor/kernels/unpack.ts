/** Four-bit elements, two to a byte and the low half first, spread out to a byte each. */
import type { Shape } from "../Copy.ts"
import type { Memory } from "./Memory.ts"
import type { MemoryLayout } from "./move.ts"
import { VECTOR } from "./simd/assembler.ts"

/**
 * Gather a strided box of 4-bit elements in C order, one per byte from `out` on. `source.at` is a byte address, a half more for
 * the high half of a byte; strides are in elements.
 */
export const unpack = (m: Memory, shape: Shape, source: MemoryLayout, out: number): void => {
  const { counts, strides } = joined(shape, source.strides)
  const inner = counts.length - 1
  let at = out
  const descend = (axis: number, element: number): void => {
    if (axis === inner) {
      row(m, element, strides[axis]!, counts[axis]!, at)
      at += counts[axis]!
      return
    }
    for (let i = 0; i < counts[axis]!; i++) descend(axis + 1, element + i * strides[axis]!)
  }
  descend(0, source.at * 2)
}

/** Neighbouring axes that are one run, as one; at least one axis. */
const joined = (shape: Shape, strides: ReadonlyArray<number>) => {
  const [counts, steps] = [[1], [1]]
  for (const [axis, count] of shape.entries()) {
    if (count === 1) continue
    const last = counts.length - 1
    if (counts[last] === 1 || steps[last] === strides[axis]! * count) {
      counts[last]! *= count
      steps[last] = strides[axis]!
    } else {
      counts.push(count)
      steps.push(strides[axis]!)
    }
  }
  return { counts, strides: steps }
}

/** `count` elements, `stride` apart, from element address `from` on. */
const row = ({ simd, u8 }: Memory, from: number, stride: number, count: number, out: number): void => {
  let done = 0
  const single = (elements: number) => {
    for (let i = 0; i < elements; i++, done++) u8[out + done] = nibble(u8, from + done * stride)
  }
  if (stride === 1) {
    // To the start of a byte.
    single(Math.min(count, from % 2))
    const bytes = Math.floor((count - done) / 2 / VECTOR) * VECTOR
    simd.unpack((from + done) / 2, out + done, bytes)
    done += 2 * bytes
  }
  single(count - done)
}

const nibble = (u8: Uint8Array, element: number): number => {
  // Element addresses may pass 2^31.
  const byte = u8[Math.floor(element / 2)]!
  return element % 2 === 0 ? byte & 15 : byte >>> 4
}
