/** Parts of a parameter and the stored tensors that hold them. Pure. */
import type { StoredPart } from "../model/Parameter.ts"
import type { Box, Shape } from "../tensor/Copy.ts"
import type { StoredTensor } from "../torch/DcpMetadata.ts"

/** A part of a parameter as it is stored in this checkpoint, which may name or shape it differently. */
export interface LocatedPart {
  readonly part: StoredPart
  readonly tensor: StoredTensor
}

/** The rows of a parameter that a part holds, in the parameter's own coordinates. */
export const rowsOf = (shape: Shape, { rows }: StoredPart): Box => ({
  offsets: shape.map((_, k) => (k === 0 ? rows?.[0] ?? 0 : 0)),
  sizes: rows ? shape.with(0, rows[1] - rows[0]) : shape
})

/** The same elements in the stored tensor. */
export const storedBox = ({ at, shape }: StoredPart, { sizes }: Box): Box => ({
  offsets: at,
  sizes: [...new Array<number>(shape.length - sizes.length).fill(1), ...sizes]
})
