/**
 * What one rank of a layout holds of every parameter, as arrays: exactly its boxes, whether the source is a Hugging Face directory or a
 * Megatron checkpoint. Bytes are read when an array is. Pure.
 */
import type { ReadCopy } from "../plan/importArrays.ts"
import type { StoredArrays, StoredParameter } from "../checkpoint/StoredArrays.ts"
import { rowsOf, storedBox } from "../checkpoint/LocatedPart.ts"
import type { SourceCopy, TargetArray } from "../engine/index.ts"
import { UsageError } from "../errors.ts"
import { heldBoxes, heldShape } from "../model/heldBoxes.ts"
import { coordinatesOf, ownsRank } from "../parallel/RankGrid.ts"
import { type Box, rebase, type Shape, stridesOf } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { isOnRank, type PlacedTask, type WeightConversionTask } from "./tasks.ts"

/** A rank's part of a parameter. */
export interface HeldTensor {
  readonly task: WeightConversionTask
  readonly array: TargetArray
}

/** Fills boxes of a parameter. */
export interface BoxSource {
  readonly dtypeOf: (task: PlacedTask) => DType
  /** Rows of a padded vocabulary, where it has more than the model. */
  readonly rowsOf: (task: PlacedTask) => number
  /** One box, as copies into an array of shape `into` from row `row` on. */
  readonly fill: (task: PlacedTask, part: number, box: Box, into: Shape, row: number) => ReadonlyArray<SourceCopy>
}

/** From the tensors of a Hugging Face directory; parameters are those of an import's conversion, padded already. */
export const fromHf = (dtypeOf: (key: string) => DType, read: ReadCopy): BoxSource => ({
  dtypeOf: ({ bound: { module, parameter } }) => dtypeOf(module.keyPrefix + parameter.parts[0]!.key),
  rowsOf: ({ bound: { parameter } }) => parameter.shape[0]!,
  fill: ({ bound: { copies, parameter } }, _, box, into, row) => {
    const start = into.map((__, k) => (k === 0 ? row : 0))
    return copies.flatMap((copy) => rebase(copy, "target", parameter.shape, box, parameter.name, into, start)).flatMap(read)
  }
})

/** From stored tensors whose headers are read; `storedOf`: where a parameter is stored. */
export const fromStored = (stored: StoredArrays, storedOf: (name: string) => StoredParameter): BoxSource => {
  const partOf = ({ task }: PlacedTask, part: number) => storedOf(task.globalParamName).parts[part]!
  return {
    dtypeOf: (task) => partOf(task, 0).tensor.dtype,
    rowsOf: (task) => {
      const { part, tensor } = partOf(task, 0)
      const lead = part.shape.length - task.bound.parameter.shape.length
      return task.bound.parameter.ragged ? tensor.shape[lead]! : task.bound.parameter.shape[0]!
    },
    fill: (task, index, box, into, row) => {
      const { part, tensor } = partOf(task, index)
      const { shape } = task.bound.parameter
      const own = rowsOf(shape, part)
      const lead = part.shape.length - shape.length
      const whole = storedBox(part, { offsets: box.offsets, sizes: box.sizes })
      const place: Box = { offsets: whole.offsets.map((n, k) => (k < lead ? n : n + box.offsets[k - lead]! - own.offsets[k - lead]!)), sizes: whole.sizes }
      const strides = stridesOf(into)
      return stored.within(tensor, place, task.task.globalParamName).map((copy) => ({
        ...copy,
        // Leading axes have extent 1: any stride will do.
        target: { ...copy.target, offset: copy.target.offset + row * (strides[0] ?? 1) }
      }))
    }
  }
}

/**
 * The arrays of a global rank, in the order of the tasks.
 *
 * @throws UsageError for a rank that there is not, for rows that its group does not divide
 */
export const rankTensors = (tasks: ReadonlyArray<PlacedTask>, rank: number, source: BoxSource): ReadonlyArray<HeldTensor> => {
  const own = tasks.filter(({ placed: { parallelism } }) => ownsRank(parallelism, rank))
  if (own.length === 0) throw new UsageError({ problem: `the layout has no rank ${rank}` })
  return own.filter((task) => isOnRank(task, rank)).map((placedTask) => {
    const { bound: { parameter }, placed: { parallelism }, task } = placedTask
    const at = coordinatesOf(parallelism, rank)
    const [size, place] = parameter.expert ? [parallelism.etp, at.etp] : [parallelism.tp, at.tp]
    const rows = source.rowsOf(placedTask)
    const padded = rows === parameter.shape[0] ? parameter : { ...parameter, shape: parameter.shape.with(0, rows) }
    const boxes = heldBoxes(padded, parameter.splitAxis ?? 0, parameter.splitAxis === undefined ? { tp: 1, rank: 0 } : { tp: size, rank: place })
    if ("undivided" in boxes) throw new UsageError({ problem: `${task.globalParamName}: ${boxes.undivided} rows or columns cannot be divided among ${size} tensor-parallel ranks` })
    const shape = parameter.shape.length === 0 ? [] : heldShape(boxes)
    return {
      task,
      array: {
        id: task.globalParamName,
        dtype: source.dtypeOf(placedTask),
        shape,
        copies: () => {
          let row = 0
          return boxes.flatMap((box, part) => {
            const copies = source.fill(placedTask, part, box, shape, row)
            row += box.sizes[0] ?? 0
            return copies
          })
        }
      }
    }
  })
}
