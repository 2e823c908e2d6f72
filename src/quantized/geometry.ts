/** Which elements of a tensor share a scale, from the two shapes. */
import type { Shape } from "../tensor/Copy.ts"
import { stridesOf, volume } from "../tensor/Copy.ts"
import type { BlockSize } from "./QuantizationConfig.ts"

export interface Geometry {
  /** For people. */
  readonly label: string
  /** Elements per block along each axis. */
  readonly blocks: ReadonlyArray<number>
  /** From one block to the next, in scales; 0 along an axis where all share one. */
  readonly strides: ReadonlyArray<number>
}

const count = (extent: number, block: number): number => Math.ceil(extent / block)

const perAxis = (shape: Shape, scales: Shape, label: string, blockOf: (axis: number) => number): Geometry | undefined => {
  const blocks = shape.map((_, axis) => blockOf(axis))
  if (blocks.some((block, axis) => count(shape[axis]!, block) !== scales[axis])) return undefined
  const strides = stridesOf(scales)
  return { label, blocks, strides: strides.map((stride, axis) => (scales[axis] === 1 ? 0 : stride)) }
}

/** One scale for all. */
export const single = (shape: Shape, scales: Shape): Geometry | undefined =>
  volume(scales) === 1 && scales.length < 2
    ? { label: "one scale per tensor", blocks: shape.map((n) => Math.max(1, n)), strides: shape.map(() => 0) }
    : undefined

/** Blocks of the last two axes; `[⌈R/r⌉, ⌈C/c⌉]`, leading axes (experts) as they are. */
export const blocked = (shape: Shape, scales: Shape, [rows, columns]: BlockSize): Geometry | undefined =>
  shape.length >= 2 && scales.length === shape.length
    ? perAxis(shape, scales, `${rows}×${columns} blocks`, (axis) => (axis === shape.length - 1 ? columns : axis === shape.length - 2 ? rows : 1))
    : undefined

/** Equal groups of the last axis, each row its own: `[…, R, groups]`. */
export const equalGroups = (shape: Shape, scales: Shape): Geometry | undefined => {
  const last = shape.length - 1
  const groups = scales[last]
  if (last < 1 || scales.length !== shape.length || !groups || shape[last]! % groups !== 0) return undefined
  const width = Math.max(1, shape[last]! / groups)
  return perAxis(shape, scales, groups === 1 ? "one scale per row" : `one scale per ${width} columns`, (axis) => (axis === last ? width : 1))
}

/** One scale per row, or per `rows` rows, as a vector. */
export const byRows = (shape: Shape, scales: Shape, rows: number): Geometry | undefined => {
  if (shape.length !== 2 || scales.length !== 1) return undefined
  const block = scales[0] === shape[0] ? 1 : scales[0] === count(shape[0]!, rows) ? rows : undefined
  if (block === undefined) return undefined
  return { label: block === 1 ? "one scale per row" : `one scale per ${block} rows`, blocks: [block, Math.max(1, shape[1]!)], strides: [1, 0] }
}
