/**
 * Move a strided box of elements within one memory. Bits are never interpreted, so NaN payloads survive. Axes may be given
 * in any order; the fastest loop for the pair of layouts is chosen here.
 */
import type { Shape } from "../Copy.ts"
import type { Memory } from "./Memory.ts"
import { transpose16 } from "./transpose16.ts"

/** Elements of `width` bytes at the byte address `at`, strides in elements. */
export interface Layout {
  readonly at: number
  readonly strides: ReadonlyArray<number>
}

/** One loop: `count` steps of `from` and `to` (elements). */
interface Loop {
  count: number
  from: number
  to: number
}

/** Runs shorter than this are copied element by element: a `copyWithin` call costs about as much. */
const SHORT_RUN = 64

/** Edge of a transposed tile, in elements: its lines stay in the first-level cache even if their addresses collide there. */
const TILE = 16

/** Copy `shape` elements of `width` bytes (a power of two) from one layout to the other; they must not overlap. */
export const move = (m: Memory, width: number, shape: Shape, source: Layout, target: Layout): void => {
  const loops: Array<Loop> = []
  for (const [axis, count] of shape.entries()) {
    if (count === 0) return
    if (count > 1) loops.push({ count, from: source.strides[axis]!, to: target.strides[axis]! })
  }
  // An unaligned side, or an element that no view has, is moved as an inner run of smaller words.
  const word = wordOf(width, source.at, target.at)
  const factor = width / word
  if (factor > 1) {
    for (const loop of loops) {
      loop.from *= factor
      loop.to *= factor
    }
    loops.push({ count: factor, from: 1, to: 1 })
  }
  run(m, word, arrange(loops), 0, source.at / word, target.at / word)
}

const wordOf = (width: number, source: number, target: number): number => {
  let word = Math.min(width, 4)
  while (source % word !== 0 || target % word !== 0) word /= 2
  return word
}

/** Target order, neighbours that are one run on both sides joined, and the source's fastest axis just outside the innermost. */
const arrange = (loops: Array<Loop>): Array<Loop> => {
  loops.sort((a, b) => b.to - a.to)
  const joined: Array<Loop> = []
  for (const loop of loops) {
    const outer = joined.at(-1)
    if (outer && outer.to === loop.to * loop.count && outer.from === loop.from * loop.count) {
      joined[joined.length - 1] = { count: outer.count * loop.count, from: loop.from, to: loop.to }
    } else joined.push(loop)
  }
  const inner = joined.length - 1
  if (inner >= 1 && !(joined[inner]!.from === 1 && joined[inner]!.to === 1)) {
    let fastest = inner
    for (let i = 0; i < inner; i++) if (joined[i]!.from > 0 && joined[i]!.from < joined[fastest]!.from) fastest = i
    if (fastest < inner) joined.splice(inner - 1, 0, ...joined.splice(fastest, 1))
  }
  return joined
}

const run = (m: Memory, word: number, loops: ReadonlyArray<Loop>, level: number, from: number, to: number): void => {
  const left = loops.length - level
  const outer = loops[level]
  if (outer === undefined) return runs(m, word, 1, 0, 0, 1, from, to)
  const inner = loops[level + 1]
  if (left === 1) {
    if (outer.from === 1 && outer.to === 1) return runs(m, word, 1, 0, 0, outer.count, from, to)
    return box(m, word, { count: 1, from: 0, to: 0 }, outer, from, to)
  }
  if (left === 2) {
    if (inner!.from === 1 && inner!.to === 1) return runs(m, word, outer.count, outer.from, outer.to, inner!.count, from, to)
    return box(m, word, outer, inner!, from, to)
  }
  for (let i = 0; i < outer.count; i++) run(m, word, loops, level + 1, from + i * outer.from, to + i * outer.to)
}

/** `count` contiguous runs of `length` words. */
const runs = (
  m: Memory,
  word: number,
  count: number,
  fromStep: number,
  toStep: number,
  length: number,
  from: number,
  to: number
): void => {
  if (length * word < SHORT_RUN) {
    return box(m, word, { count, from: fromStep, to: toStep }, { count: length, from: 1, to: 1 }, from, to)
  }
  const bytes = m.u8
  for (let i = 0; i < count; i++) {
    const start = (from + i * fromStep) * word
    bytes.copyWithin((to + i * toStep) * word, start, start + length * word)
  }
}

/** A two-dimensional strided box. */
const box = (m: Memory, word: number, outer: Loop, inner: Loop, from: number, to: number): void => {
  if (inner.from > outer.from && outer.from > 0) return across(m, word, outer, inner, from, to)
  nest(m, word, outer, inner, from, to)
}

/** A box whose sides run across each other: in tiles, along the source. */
const across = (m: Memory, word: number, outer: Loop, inner: Loop, from: number, to: number): void => {
  const inWords = word === 2 && outer.from === 1 && inner.to === 1 &&
    from % 2 === 0 && to % 2 === 0 && inner.from % 2 === 0 && outer.to % 2 === 0
  if (inWords) {
    transpose16(m.u32, inner.count, outer.count, from / 2, inner.from / 2, to / 2, outer.to / 2)
    const rows = inner.count - inner.count % 4
    const columns = outer.count - outer.count % 2
    nest(m, word, outer, { ...inner, count: inner.count - rows }, from + rows * inner.from, to + rows)
    nest(m, word, { ...outer, count: outer.count - columns }, { ...inner, count: rows }, from + columns, to + columns * outer.to)
    return
  }
  for (let i = 0; i < outer.count; i += TILE) {
    const columns = { ...outer, count: Math.min(TILE, outer.count - i) }
    for (let j = 0; j < inner.count; j += TILE) {
      const rows = { ...inner, count: Math.min(TILE, inner.count - j) }
      nest(m, word, rows, columns, from + i * outer.from + j * inner.from, to + i * outer.to + j * inner.to)
    }
  }
}

const nest = (m: Memory, word: number, outer: Loop, inner: Loop, from: number, to: number): void => {
  if (word === 4) return nest32(m.u32, outer.count, outer.from, outer.to, inner.count, inner.from, inner.to, from, to)
  if (word === 2) return nest16(m.u16, outer.count, outer.from, outer.to, inner.count, inner.from, inner.to, from, to)
  nest8(m.u8, outer.count, outer.from, outer.to, inner.count, inner.from, inner.to, from, to)
}

// Three equal loops, one per view: a shared one would see several kinds of views and run at a fraction of the speed.

const nest8 = (
  view: Uint8Array, rows: number, fromRow: number, toRow: number, columns: number, fromColumn: number, toColumn: number,
  from: number, to: number
): void => {
  for (let i = 0; i < rows; i++) {
    let s = from + i * fromRow
    let t = to + i * toRow
    for (let j = 0; j < columns; j++) {
      view[t] = view[s]!
      s += fromColumn
      t += toColumn
    }
  }
}

const nest16 = (
  view: Uint16Array, rows: number, fromRow: number, toRow: number, columns: number, fromColumn: number, toColumn: number,
  from: number, to: number
): void => {
  for (let i = 0; i < rows; i++) {
    let s = from + i * fromRow
    let t = to + i * toRow
    for (let j = 0; j < columns; j++) {
      view[t] = view[s]!
      s += fromColumn
      t += toColumn
    }
  }
}

const nest32 = (
  view: Uint32Array, rows: number, fromRow: number, toRow: number, columns: number, fromColumn: number, toColumn: number,
  from: number, to: number
): void => {
  for (let i = 0; i < rows; i++) {
    let s = from + i * fromRow
    let t = to + i * toRow
    for (let j = 0; j < columns; j++) {
      view[t] = view[s]!
      s += fromColumn
      t += toColumn
    }
  }
}
