/** A tensor as a safetensors header describes it, and the arithmetic that ties shape and dtype to bytes. */
import { FormatError } from "../FormatError.ts"
import { bitsOf, type DType } from "../tensor/DType.ts"

/** A tensor without a place. */
export interface TensorSpec {
  readonly name: string
  readonly dtype: DType
  /** In elements, outermost first; `[]` is a scalar. */
  readonly shape: ReadonlyArray<number>
}

/** A tensor with its place: bytes `begin` (included) to `end` (excluded), counted from the start of the file. */
export interface TensorInfo extends TensorSpec {
  readonly begin: number
  readonly end: number
}

/**
 * Bytes of a tensor. The product of the non-zero dimensions must be a safe integer even if another dimension is 0, so that
 * the verdict does not depend on their order.
 *
 * @throws FormatError `safetensors/size-overflow`, or `safetensors/sub-byte` if the elements do not fill whole bytes.
 */
export const tensorBytes = ({ dtype, name, shape }: TensorSpec, offset?: number): number => {
  const bits = bitsOf(dtype)
  const unit = bits % 8 === 0 ? bits / 8 : bits
  let units = unit
  let empty = false
  for (const dimension of shape) {
    if (dimension === 0) empty = true
    else units *= dimension
    if (units > Number.MAX_SAFE_INTEGER) {
      throw new FormatError("safetensors/size-overflow", "the shape describes more than 2^53 bytes", { tensor: name, offset })
    }
  }
  if (empty) return 0
  if (unit !== bits) return units
  if (units % 8 !== 0) {
    throw new FormatError("safetensors/sub-byte", `${units} bits of ${dtype} do not fill whole bytes`, { tensor: name, offset })
  }
  return units / 8
}
