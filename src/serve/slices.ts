/** Which part of a Hugging Face tensor a tensor-parallel rank of an engine holds. Pure arithmetic on copies. */
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { TargetArray } from "../engine/index.ts"
import { quote, StreamRefused } from "../errors.ts"
import { heldBoxes, type TensorRank } from "../model/heldBoxes.ts"
import type { Parameter } from "../model/Parameter.ts"
import { type Box, coordinates, rebase, type Shape, volume } from "../tensor/Copy.ts"

/** Along `axis`, these ranges of the tensor, one behind the other. */
export interface Slice {
  readonly axis: number
  readonly ranges: ReadonlyArray<readonly [start: number, end: number]>
}

/** vLLM and SGLang pad the vocabulary to a multiple of this before they deal its rows out; the last ranks may have fewer rows, or none. */
export const VOCABULARY_MULTIPLE = 64

type Range = readonly [start: number, end: number]

const cannot = (tensor: string, problem: string): never => {
  throw new StreamRefused({ code: "stream/shard", problem: `${quote(tensor)} cannot be cut: ${problem}`, hint: "Ask for whole tensors, or for another tensor-parallel size." })
}

const heldBy = (parameter: Parameter, axis: number, shard: TensorRank, tensor: string): ReadonlyArray<Box> => {
  const held = heldBoxes(parameter, axis, shard)
  return "undivided" in held ? cannot(tensor, `${held.undivided} rows or columns are not divided by tp=${shard.tp}`) : held
}

/** Sorted, without overlaps and gaps of nothing. */
const joined = (ranges: ReadonlyArray<Range>): ReadonlyArray<Range> => {
  const out: Array<[number, number]> = []
  for (const [start, end] of [...ranges].sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const last = out.at(-1)
    if (last && start <= last[1]) last[1] = Math.max(last[1], end)
    else out.push([start, end])
  }
  return out
}

/** Where in the HF tensor the elements of these boxes of a parameter are: the ranges along each axis, and how many elements. */
const seenFrom = (name: string, shape: Shape, { copies, parameter }: BoundParameter, boxes: ReadonlyArray<Box>) => {
  const axes: Array<Array<Range>> = shape.map(() => [])
  let elements = 0
  for (const copy of copies) {
    if (copy.echo || copy.source.tensor !== name) continue
    for (const box of boxes) {
      for (const piece of rebase(copy, "target", parameter.shape, box, parameter.name, parameter.shape, box.offsets)) {
        elements += volume(piece.shape)
        for (const [k, { base, digits }] of coordinates(piece, piece.source, shape).entries()) {
          axes[k]!.push([base, digits.reduce((reach, { count, step }) => reach + (count - 1) * step, base) + 1])
        }
      }
    }
  }
  return { axes: axes.map(joined), elements }
}

/** An engine with more ranks than key/value heads repeats those heads, and deals out the query heads of each. */
const headsShared = (name: string, shape: Shape, bound: BoundParameter, { rank, tp }: TensorRank): Slice | undefined => {
  const { attention, splitAxis } = bound.parameter
  if (attention === undefined || splitAxis === undefined || attention.groups % tp === 0) return undefined
  const { groups, headDim, heads, valueDim = headDim } = attention
  if (tp % groups !== 0) cannot(name, `${groups} groups of heads and tp=${tp} do not divide each other`)
  if (heads % tp !== 0) cannot(name, `${heads} heads are not divided by tp=${tp}`)
  const each = tp / groups
  const { axes } = seenFrom(name, shape, bound, heldBy(bound.parameter, splitAxis, { tp: groups, rank: Math.floor(rank / each) }, name))
  const axis = axes.findIndex((ranges, k) => ranges.length !== 1 || ranges[0]![1] - ranges[0]![0] !== shape[k])
  const [range] = axis < 0 ? [[0, shape[0]!] as const] : axes[axis]!
  const at = Math.max(axis, 0)
  const [start, end] = range!
  const isKeyOrValue = end - start === headDim || end - start === valueDim
  if (isKeyOrValue && heads !== groups) return { axis: at, ranges: [[start, end]] }
  const part = (end - start) / each
  return { axis: at, ranges: [[start + (rank % each) * part, start + (rank % each + 1) * part]] }
}

/**
 * The slice of a tensor that is made of these parameters; undefined where every rank has the whole tensor.
 * @throws StreamRefused `stream/shard` where a rank's part is not made of ranges along one axis.
 */
export const shardSlice = (name: string, shape: Shape, bounds: ReadonlyArray<BoundParameter>, shard: TensorRank): Slice | undefined => {
  const { rank, tp } = shard
  const split = bounds.filter(({ parameter }) => parameter.splitAxis !== undefined)
  if (tp === 1 || split.length === 0) return undefined
  if (split.length < bounds.length) return cannot(name, "some of its parameters are split, others are not")
  const [first] = split as [BoundParameter]
  if (first.parameter.ragged && shape.length === 2) {
    const padded = Math.ceil(shape[0]! / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
    if (padded % tp !== 0) cannot(name, `${padded} rows of the padded vocabulary are not divided by tp=${tp}`)
    const rows = padded / tp
    return { axis: 0, ranges: [[Math.min(shape[0]!, rank * rows), Math.min(shape[0]!, (rank + 1) * rows)]] }
  }
  const shared = split.length === 1 ? headsShared(name, shape, first, shard) : undefined
  if (shared) return shared
  const axes: Array<Array<Range>> = shape.map(() => [])
  let elements = 0
  for (const bound of split) {
    const seen = seenFrom(name, shape, bound, heldBy(bound.parameter, bound.parameter.splitAxis!, shard, name))
    elements += seen.elements
    for (const [k, ranges] of seen.axes.entries()) axes[k]!.push(...ranges)
  }
  const ranges = axes.map(joined)
  const cut = ranges.flatMap((of, k) => (of.length === 1 && of[0]![0] === 0 && of[0]![1] === shape[k] ? [] : [k]))
  // A part of a split parameter that this rank holds whole, such as what is shared by all heads.
  if (cut.length === 0 && elements === volume(shape)) return undefined
  const [axis] = cut
  if (cut.length !== 1) return cannot(name, "a rank's part of it is no range along one axis")
  const extent = ranges[axis!]!.reduce((sum, [start, end]) => sum + end - start, 0)
  if (extent * (volume(shape) / shape[axis!]!) !== elements) return cannot(name, "a rank's part of it is scattered")
  return { axis: axis!, ranges: ranges[axis!]! }
}

export const sliceShape = (shape: Shape, { axis, ranges }: Slice): Shape =>
  shape.map((n, k) => (k === axis ? ranges.reduce((sum, [start, end]) => sum + end - start, 0) : n))

/** That part of an array as an array. */
export const sliced = (array: TargetArray, slice: Slice): TargetArray => {
  const { adjust, copies, dtype, id, shape } = array
  if (adjust) throw new RangeError(`${id}: values that are changed by their place cannot be cut`)
  const to = sliceShape(shape, slice)
  return {
    id, dtype, shape: to,
    copies: () => {
      let at = 0
      return slice.ranges.flatMap(([start, end]) => {
        const box: Box = { offsets: shape.map((_, k) => (k === slice.axis ? start : 0)), sizes: shape.map((n, k) => (k === slice.axis ? end - start : n)) }
        const place = shape.map((_, k) => (k === slice.axis ? at : 0))
        at += end - start
        return copies().flatMap((copy) => rebase(copy, "target", shape, box, id, to, place))
      })
    }
  }
}
