/** What a checkpoint is going to hold, before it is cut: tensors of which any box can be had. */
import type { StoredArrays } from "../checkpoint/StoredArrays.ts"
import type { SourceCopy } from "../engine/index.ts"
import type { ItemsPlace, SpaceTensor } from "../space/TensorSpace.ts"
import type { Box, Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"

export interface Content {
  /** The key it is stored under. */
  readonly key: string
  /** The model tensor that it is, or is the state of, without wrappers: it is cut as that is. */
  readonly model: string
  readonly component: string
  /** No loader asks for it. */
  readonly beside?: boolean
  readonly dtype: DType
  readonly shape: Shape
  /** The same tensor in the source, whose items can be taken over where they hold the boxes that are wanted. */
  readonly stored?: SpaceTensor<ItemsPlace>
  /** Tensors of the source whose chunks the copies read. */
  readonly reads: ReadonlyArray<SpaceTensor<ItemsPlace>>
  /** The copies that fill the array `target`, which is a box of the tensor. */
  readonly copies: (arrays: StoredArrays, box: Box, target: string) => ReadonlyArray<SourceCopy>
}

/** A tensor as it is stored. */
export const storedContent = (tensor: SpaceTensor<ItemsPlace>, model: string, component: string): Content => ({
  key: tensor.name,
  model,
  component,
  dtype: tensor.dtype,
  shape: tensor.shape,
  stored: tensor,
  reads: [tensor],
  copies: (arrays, box, target) => arrays.within(tensor.place.stored, box, target)
})
