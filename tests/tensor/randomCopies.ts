/** Random strided boxes of tensors, and their addresses by enumeration. */
import { type Copy, type Shape, stridesOf, type View, volume } from "../../src/tensor/Copy.ts"
import type { Random } from "./random.ts"

export interface Axis {
  readonly count: number
  readonly stride: number
}

export const shuffled = <A>(next: Random, list: ReadonlyArray<A>): Array<A> => {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i--) {
    const j = next(i + 1)
    ;[out[i], out[j]] = [out[j]!, out[i]!]
  }
  return out
}

/** An axis as one or two: 12 steps of 1 are 3 steps of 4 and 4 steps of 1. */
export const subdivided = (next: Random, { count, stride }: Axis): Array<Axis> => {
  const divisors = [2, 3, 4, 5].filter((d) => count % d === 0 && count > d)
  if (divisors.length === 0 || next(2) === 0) return [{ count, stride }]
  const inner = divisors[next(divisors.length)]!
  return [{ count: count / inner, stride: stride * inner }, ...subdivided(next, { count: inner, stride })]
}

export const randomShape = (next: Random, rank: number, largest: number): Array<number> =>
  Array.from({ length: rank }, () => 1 + next(largest))

/** Boxes that make up a box: halves along random axes. */
export const boxes = (
  next: Random,
  offsets: ReadonlyArray<number>,
  sizes: Shape,
  depth: number
): Array<{ readonly offsets: ReadonlyArray<number>; readonly sizes: Shape }> => {
  const long = sizes.flatMap((n, axis) => n > 1 ? [axis] : [])
  if (depth === 0 || long.length === 0 || next(4) === 0) return [{ offsets, sizes }]
  const axis = long[next(long.length)]!
  const cut = 1 + next(sizes[axis]! - 1)
  return [
    ...boxes(next, offsets, sizes.with(axis, cut), depth - 1),
    ...boxes(next, offsets.with(axis, offsets[axis]! + cut), sizes.with(axis, sizes[axis]! - cut), depth - 1)
  ]
}

/** Axes and offset of a random part of a tensor: every few coordinates of a range of each axis, axes cut up, in any order. */
export const randomPart = (next: Random, shape: Shape): { readonly axes: Array<Axis>; readonly offset: number } => {
  const strides = stridesOf(shape)
  let offset = 0
  const axes = shape.flatMap((extent, k) => {
    const step = 1 + next(3)
    const start = next(extent)
    const count = 1 + next(Math.floor((extent - 1 - start) / step) + 1)
    offset += start * strides[k]!
    return subdivided(next, { count, stride: step * strides[k]! })
  })
  return { axes: shuffled(next, axes), offset }
}

/** The address of each element of a view, in the order of the axes. */
export const addresses = (shape: Shape, { offset, strides }: Pick<View, "offset" | "strides">): Array<number> => {
  let found = [offset]
  for (const [axis, count] of shape.entries()) {
    found = found.flatMap((at) => Array.from({ length: count }, (_, i) => at + i * strides[axis]!))
  }
  return found
}

/** For each element of a copy the addresses it relates: source, target, operands. */
export const related = (copy: Copy): Array<ReadonlyArray<number>> => {
  const views = [copy.source, copy.target, ...(copy.operands ?? [])].map((view) => addresses(copy.shape, view))
  return Array.from({ length: volume(copy.shape) }, (_, n) => views.map((view) => view[n]!))
}

/** A set of relations in one order. */
export const sorted = (relations: ReadonlyArray<ReadonlyArray<number>>): Array<string> => relations.map((r) => r.join(" ")).sort()

/** Coordinates of an address. */
export const coordinatesOf = (shape: Shape, address: number): Array<number> => {
  let rest = address
  return stridesOf(shape).map((stride) => {
    const at = Math.floor(rest / stride)
    rest -= at * stride
    return at
  })
}
