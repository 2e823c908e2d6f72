/** Random arrays with random copies that fill them, and what they must contain, element by element. */
import type { SourceArray, TargetArray } from "../../src/engine/Target.ts"
import { type Copy, type Shape, stridesOf, volume } from "../../src/tensor/Copy.ts"
import { bytesOf, type DType } from "../../src/tensor/DType.ts"

/** mulberry32: a number in [0, below), the same ones on every run. */
export type Random = (below: number) => number

export const random = (seed: number): Random => {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

export const randomBytes = (next: Random, length: number): Uint8Array => Uint8Array.from({ length }, () => next(256))

interface Axis {
  readonly count: number
  readonly stride: number
}

const shuffled = <A>(next: Random, list: ReadonlyArray<A>): Array<A> => {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i--) {
    const j = next(i + 1)
    ;[out[i], out[j]] = [out[j]!, out[i]!]
  }
  return out
}

/** An axis as one or two: 12 steps of 1 are 3 steps of 4 and 4 steps of 1. */
const subdivided = (next: Random, { count, stride }: Axis): Array<Axis> => {
  const divisors = [2, 3, 4, 5].filter((d) => count % d === 0 && count > d)
  if (divisors.length === 0 || next(2) === 0) return [{ count, stride }]
  const inner = divisors[next(divisors.length)]!
  return [{ count: count / inner, stride: stride * inner }, { count: inner, stride }]
}

/** Boxes that make up a shape: halves along random axes. */
const boxes = (next: Random, offsets: ReadonlyArray<number>, sizes: Shape, depth: number): Array<{ offsets: ReadonlyArray<number>; sizes: Shape }> => {
  const long = sizes.flatMap((n, axis) => n > 1 ? [axis] : [])
  if (depth === 0 || long.length === 0 || next(4) === 0) return [{ offsets, sizes }]
  const axis = long[next(long.length)]!
  const cut = 1 + next(sizes[axis]! - 1)
  return [
    ...boxes(next, offsets, sizes.with(axis, cut), depth - 1),
    ...boxes(next, offsets.with(axis, offsets[axis]! + cut), sizes.with(axis, sizes[axis]! - cut), depth - 1)
  ]
}

export interface World {
  readonly files: Map<string, Uint8Array>
  readonly sources: Map<string, SourceArray>
  readonly arrays: Array<TargetArray>
}

/** Arrays of `dtypes` filled from arrays of the same dtype, at odd offsets of a few files. */
export const randomWorld = (next: Random, arrays: number, dtypes: ReadonlyArray<DType>, largest = 9): World => {
  const world: World = { files: new Map(), sources: new Map(), arrays: [] }
  const contents = new Map<string, Array<Uint8Array>>()
  for (let i = 0; i < arrays; i++) {
    const dtype = dtypes[next(dtypes.length)]!
    const shape = Array.from({ length: next(4) }, () => next(20) === 0 ? 0 : 1 + next(largest))
    const copies = volume(shape) === 0 ? [] : boxes(next, shape.map(() => 0), shape, 4).map(({ offsets, sizes }) => {
      const strides = stridesOf(shape)
      const axes = shuffled(next, sizes.flatMap((count, k) => subdivided(next, { count, stride: strides[k]! })))
      return copyOf(next, world, contents, dtype, axes, offsets.reduce((sum, o, k) => sum + o * strides[k]!, 0))
    })
    world.arrays.push({ id: `array ${i}`, dtype, shape, copies })
  }
  for (const [path, parts] of contents) world.files.set(path, new Uint8Array(Buffer.concat(parts)))
  return world
}

/** A copy to the given target axes from a new source tensor, whose axes lie in another order and are longer than needed. */
const copyOf = (
  next: Random,
  world: World,
  contents: Map<string, Array<Uint8Array>>,
  dtype: DType,
  axes: ReadonlyArray<Axis>,
  offset: number
): Copy => {
  const order = shuffled(next, axes.map((_, i) => i))
  const padded = next(3) === 0
  const extents = order.map((i) => axes[i]!.count + (padded ? next(3) : 0))
  const sourceStrides = stridesOf(extents)
  const strides = axes.map((_, i) => sourceStrides[order.indexOf(i)]!)
  const slack = padded ? next(5) : 0
  const id = `source ${world.sources.size}`
  const path = `/in/${next(3)}`
  const parts = contents.get(path) ?? []
  contents.set(path, parts)
  parts.push(randomBytes(next, next(3) === 0 ? next(40) : 8 * next(3)))
  const length = volume(extents) + slack
  world.sources.set(id, { path, offset: parts.reduce((sum, p) => sum + p.byteLength, 0), dtype, shape: [length] })
  parts.push(randomBytes(next, length * bytesOf(dtype)))
  return {
    shape: axes.map((a) => a.count),
    source: { tensor: id, offset: slack === 0 ? 0 : next(slack), strides },
    target: { tensor: "array", offset, strides: axes.map((a) => a.stride) }
  }
}

/** The bytes of an array whose copies carry no transform, by looking at each element. */
export const expectedBytes = (world: World, array: TargetArray): Uint8Array => {
  const width = bytesOf(array.dtype)
  const out = new Uint8Array(volume(array.shape) * width)
  for (const { shape, source, target } of array.copies) {
    const from = world.sources.get(source.tensor)!
    const bytes = world.files.get(from.path)!
    for (let n = 0; n < volume(shape); n++) {
      let [s, t] = [source.offset, target.offset]
      for (let axis = shape.length - 1, rest = n; axis >= 0; axis--) {
        const index = rest % shape[axis]!
        rest = (rest - index) / shape[axis]!
        s += index * source.strides[axis]!
        t += index * target.strides[axis]!
      }
      out.set(bytes.subarray(from.offset + s * width, from.offset + (s + 1) * width), t * width)
    }
  }
  return out
}
