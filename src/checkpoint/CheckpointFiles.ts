/**
 * From placed chunks to files: which item lies where in which `.distcp`, and the `.metadata` that says so. Objects before tensors,
 * tensors grouped by key, as the reference writes them. Pure.
 */
import type { TargetArray, TargetFile } from "../engine/index.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import type { DcpMetadata, StoredChunk, StoredObject, StoredTensor } from "../torch/DcpMetadata.ts"
import { objectItem } from "../torch/ObjectItem.ts"
import { EMPTY_UINT8, PyFloat, type PyValue } from "../torch/PyValue.ts"
import { COMMON_STATE, HF_SOURCE } from "./names.ts"
import { bytesSegment, ItemFiles } from "./ItemFile.ts"
import { byKey, type Chunk, type RankFile } from "./Placement.ts"

/** An HF tensor whose bytes travel beside the model. */
export interface KeptTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
}

export interface CheckpointFiles {
  readonly files: ReadonlyArray<TargetFile>
  readonly metadata: DcpMetadata
}

/** The common state of a weights-only save at `step`, in the reference's order (torch-dist-format.md A.3). */
export const commonState = (step: number): ReadonlyMap<PyValue, PyValue> =>
  new Map<PyValue, PyValue>([
    ["checkpoint_version", new PyFloat(3)],
    ["iteration", step],
    ["content_metadata", new Map<PyValue, PyValue>([["singleton_local_shards", false], ["chained_optim_avoid_prefix", true]])]
  ])

export interface CheckpointContents<T> {
  /** Of a stored tensor. */
  readonly dtypeOf: (key: string) => DType
  /** What fills a chunk. */
  readonly arrayOf: (chunk: Chunk<T>, dtype: DType) => TargetArray
  readonly kept: ReadonlyArray<KeptTensor>
  readonly keptArray: (tensor: KeptTensor) => TargetArray
  readonly step: number
}

export const checkpointFiles = <T>(ranks: ReadonlyArray<RankFile<T>>, { arrayOf, dtypeOf, kept, keptArray, step }: CheckpointContents<T>): CheckpointFiles => {
  const empty = bytesSegment(objectItem(EMPTY_UINT8))
  const none = bytesSegment(objectItem(null))
  const tensors = new Map<string, { dtype: DType; shape: Shape; chunks: Array<StoredChunk> }>()
  const objects = new Map<string, StoredObject>()
  const builders = new ItemFiles()
  const main = builders.of(0, 0)
  for (const rank of ranks) {
    const builder = builders.of(rank.rank, rank.number)
    for (const { key, payload } of rank.states) objects.set(key, builder.object(payload === "none" ? none : empty))
    if (builder === main) objects.set(COMMON_STATE, builder.object(bytesSegment(objectItem(commonState(step)))))
    for (const [key, chunks] of byKey(rank.chunks)) {
      const dtype = dtypeOf(key)
      const tensor = tensors.get(key) ?? { dtype, shape: chunks[0]!.keyShape, chunks: [] }
      tensors.set(key, tensor)
      for (const chunk of chunks) {
        tensor.chunks.push({ ...chunk.stored, ...builder.tensor(arrayOf(chunk, dtype), chunk.stored.sizes) })
      }
    }
  }
  if (!objects.has(COMMON_STATE)) objects.set(COMMON_STATE, main.object(bytesSegment(objectItem(commonState(step)))))
  for (const tensor of kept) {
    const { dtype, name, shape } = tensor
    const place = builders.of(0, 1).tensor(keptArray(tensor), shape)
    tensors.set(HF_SOURCE + name, { dtype, shape, chunks: [{ offsets: shape.map(() => 0), sizes: shape, ...place }] })
  }
  return {
    files: builders.files(),
    metadata: {
      className: "torch.distributed.checkpoint.metadata.Metadata",
      tensors: tensors as ReadonlyMap<string, StoredTensor>,
      objects
    }
  }
}
