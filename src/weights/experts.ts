/** Stacked experts, one by one: `….experts.gate_up_proj` of shape `[E, …]` becomes `….experts.0.gate_up_proj.weight` and so on. Pure. */
import type { TargetArray } from "../engine/index.ts"
import { rebase, type Shape } from "../tensor/Copy.ts"
import type { SelectableTensor } from "./selection.ts"

const STACKED = /^(.*\.experts)\.([^.]+)$/

/** One of the arrays that lie behind one another along axis 0. */
const layerOf = (array: TargetArray, id: string, index: number, shape: Shape): TargetArray => {
  const { adjust, ...rest } = array
  if (adjust) throw new RangeError(`${array.id}: values that are changed by their place cannot be cut`)
  const box = { offsets: array.shape.map((_, k) => (k === 0 ? index : 0)), sizes: [1, ...shape] }
  return {
    ...rest, id, shape,
    copies: () => array.copies().flatMap((copy) => rebase(copy, "target", array.shape, box, id, [1, ...shape], array.shape.map(() => 0)))
  }
}

/** The tensors in place of this one; itself if it holds no stacked experts. */
export const singleExperts = (tensor: SelectableTensor, isExpert: (parameter: string) => boolean): ReadonlyArray<SelectableTensor> => {
  const [, experts, projection] = STACKED.exec(tensor.name) ?? []
  const [count = 0, ...shape] = tensor.shape
  if (experts === undefined || shape.length < 1 || !tensor.parameters.some(isExpert)) return [tensor]
  const each = tensor.parameters.length / count
  return Array.from({ length: count }, (_, index) => {
    const name = `${experts}.${index}.${projection}.weight`
    return {
      name, dtype: tensor.dtype, shape,
      // Parameters are in the order of experts, where each has its own.
      parameters: Number.isInteger(each) ? tensor.parameters.slice(index * each, (index + 1) * each) : tensor.parameters,
      array: () => layerOf(tensor.array(), name, index, shape)
    }
  })
}
