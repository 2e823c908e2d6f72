/** Four-bit elements, two to a byte and the low half first, spread out to a byte each. */
import type { Shape } from "../Copy.ts"
import type { Memory } from "./Memory.ts"
import type { Layout } from "./move.ts"

/**
 * Gather a strided box of 4-bit elements in C order, one per byte from `out` on. `source.at` is a byte address, a half more for
 * the high half of a byte; strides are in elements.
 */
export const unpack = (m: Memory, shape: Shape, source: Layout, out: number): void => {
  const { counts, strides } = joined(shape, source.strides)
  const inner = counts.length - 1
  let at = out
  const descend = (axis: number, element: number): void => {
    if (axis === inner) {
      row(m.u8, element, strides[axis]!, counts[axis]!, at)
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
const row = (u8: Uint8Array, from: number, stride: number, count: number, out: number): void => {
  if (stride !== 1) {
    for (let i = 0, e = from; i < count; i++, e += stride) u8[out + i] = nibble(u8, e)
    return
  }
  let done = 0
  if (from % 2 !== 0 && count > 0) u8[out + done++] = nibble(u8, from)
  let byte = (from + done) / 2
  for (; done + 2 <= count; done += 2, byte++) {
    const pair = u8[byte]!
    u8[out + done] = pair & 15
    u8[out + done + 1] = pair >>> 4
  }
  if (done < count) u8[out + done] = nibble(u8, from + done)
}

const nibble = (u8: Uint8Array, element: number): number => {
  // Element addresses may pass 2^31.
  const byte = u8[Math.floor(element / 2)]!
  return element % 2 === 0 ? byte & 15 : byte >>> 4
}
