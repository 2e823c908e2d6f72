/** What one tensor-parallel rank holds of a parameter. Pure. */
import { type Box, type Shape, wholeBox } from "../tensor/Copy.ts"
import type { Parameter } from "./Parameter.ts"

/** A tensor-parallel rank, of how many. */
export interface TensorRank {
  readonly tp: number
  readonly rank: number
}

/** Rows or columns that ranks do not divide. */
export interface Undivided {
  readonly undivided: number
}

/**
 * In each part of the parameter (gate and up, the projections of a mixer) the rank's share of `axis`: boxes of the parameter. The rank's own
 * tensor has one behind the other, along axis 0.
 */
export const heldBoxes = ({ parts, shape, splitAxis }: Pick<Parameter, "parts" | "shape" | "splitAxis">, axis: number, { rank, tp }: TensorRank): ReadonlyArray<Box> | Undivided => {
  const boxes: Array<Box> = []
  for (const { rows } of parts) {
    const [first, end] = axis === 0 && rows ? rows : [0, shape[axis]!]
    const extent = end - first
    if (extent % tp !== 0) return { undivided: extent }
    const size = extent / tp
    const box = wholeBox(shape)
    boxes.push({
      offsets: box.offsets.map((n, k) => (k === axis ? first + rank * size : k === 0 && rows ? rows[0] : n)),
      sizes: box.sizes.map((n, k) => (k === axis ? size : k === 0 && rows && splitAxis !== 0 ? rows[1] - rows[0] : n))
    })
  }
  return boxes
}

/** The shape of boxes behind one another along axis 0. */
export const heldShape = (boxes: ReadonlyArray<Box>): Shape => boxes[0]!.sizes.map((n, k) => (k === 0 ? boxes.reduce((sum, { sizes }) => sum + sizes[0]!, 0) : n))
