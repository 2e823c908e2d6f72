/**
 * Move a strided box of elements within one memory, at any addresses. Bits are never interpreted, so NaN payloads survive. Axes
 * may be given in any order; the fastest loop for the pair of layouts is chosen here.
 */
import type { Shape } from "../Copy.ts"
import type { Memory } from "./Memory.ts"
import type { Simd, Width } from "./simd/Simd.ts"
import { VECTOR } from "./simd/assembler.ts"

/** Elements of `width` bytes at the byte address `at`, strides in elements. */
export interface MemoryLayout {
  readonly at: number
  readonly strides: ReadonlyArray<number>
}

/** One loop: `count` steps of `from` and `to` (bytes). */
interface Loop {
  count: number
  from: number
  to: number
}

/** Copy `shape` elements of `width` bytes (a power of two) from one layout to the other; they must not overlap. */
export const move = ({ simd }: Memory, width: number, shape: Shape, source: MemoryLayout, target: MemoryLayout): void => {
  const loops: Array<Loop> = []
  for (const [axis, count] of shape.entries()) {
    if (count === 0) return
    if (count > 1) loops.push({ count, from: source.strides[axis]! * width, to: target.strides[axis]! * width })
  }
  // Wider elements are runs of 8 bytes.
  const word = Math.min(width, 8) as Width
  if (width > word) loops.push({ count: width / word, from: word, to: word })
  run(loopsOf(simd, word), arrange(loops, word), 0, source.at, target.at)
}

/** The loops for elements of one width. */
interface Loops {
  readonly word: Width
  readonly copyRuns: Simd["copyRuns"]
  readonly copyElements: Simd["copyElements1"]
  readonly transpose: Simd["transpose1"]
}

const loopsOf = (simd: Simd, word: Width): Loops =>
  ({ word, copyRuns: simd.copyRuns, copyElements: simd[`copyElements${word}`], transpose: simd[`transpose${word}`] })

/** Target order, neighbours that are one run on both sides joined, and the source's fastest axis just outside the innermost. */
const arrange = (loops: Array<Loop>, word: number): Array<Loop> => {
  loops.sort((a, b) => b.to - a.to)
  const joined: Array<Loop> = []
  for (const loop of loops) {
    const outer = joined.at(-1)
    if (outer && outer.to === loop.to * loop.count && outer.from === loop.from * loop.count) {
      joined[joined.length - 1] = { count: outer.count * loop.count, from: loop.from, to: loop.to }
    } else joined.push(loop)
  }
  const inner = joined.length - 1
  if (inner >= 1 && !isRun(joined[inner]!, word)) {
    let fastest = inner
    for (let i = 0; i < inner; i++) if (joined[i]!.from > 0 && joined[i]!.from < joined[fastest]!.from) fastest = i
    if (fastest < inner) joined.splice(inner - 1, 0, ...joined.splice(fastest, 1))
  }
  return joined
}

/** Contiguous on both sides? */
const isRun = ({ from, to }: Loop, word: number): boolean => from === word && to === word

/** The place of a missing loop. */
const ONCE: Loop = { count: 1, from: 0, to: 0 }

const run = (loops: Loops, nest: ReadonlyArray<Loop>, level: number, from: number, to: number): void => {
  const left = nest.length - level
  if (left > 2) {
    const outer = nest[level]!
    for (let i = 0; i < outer.count; i++) run(loops, nest, level + 1, from + i * outer.from, to + i * outer.to)
    return
  }
  const inner = nest[nest.length - 1]
  const outer = left === 2 ? nest[level]! : ONCE
  if (inner === undefined) loops.copyRuns(1, from, 0, to, 0, loops.word)
  else if (isRun(inner, loops.word)) loops.copyRuns(outer.count, from, outer.from, to, outer.to, inner.count * loops.word)
  else if (outer.from === loops.word && inner.to === loops.word) across(loops, outer, inner, from, to)
  else elements(loops, outer, inner, from, to)
}

const elements = ({ copyElements }: Loops, rows: Loop, columns: Loop, from: number, to: number): void =>
  void copyElements(rows.count, columns.count, from, rows.from, columns.from, to, rows.to, columns.to)

/** A box whose contiguous sides run across each other: whole blocks, then what is left over at two edges. */
const across = (loops: Loops, outer: Loop, inner: Loop, from: number, to: number): void => {
  const block = VECTOR / loops.word
  const rows = inner.count - inner.count % block
  const columns = outer.count - outer.count % block
  if (rows > 0 && columns > 0) loops.transpose(rows, columns, from, inner.from, to, outer.to)
  elements(loops, outer, { ...inner, count: inner.count - rows }, from + rows * inner.from, to + rows * inner.to)
  elements(loops, { ...outer, count: outer.count - columns }, { ...inner, count: rows }, from + columns * outer.from, to + columns * outer.to)
}
