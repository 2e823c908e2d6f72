/**
 * From placed chunks to files: which item lies where in which `.distcp`, and the `.metadata` that says so. Objects before tensors,
 * tensors grouped by key, as the reference writes them. Pure.
 */
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { SourceCopy, TargetArray, TargetFile } from "../engine/index.ts"
import { type Box, type Copy, identity, rebase, type Shape } from "../tensor/Copy.ts"
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

/** The array of one chunk: the parameter's copies, cut to the chunk's box. */
class ChunkArray implements TargetArray {
  readonly id: string
  readonly dtype: DType
  readonly shape: Shape
  readonly #bound: BoundParameter
  readonly #box: Box
  readonly #read: Read

  constructor(id: string, dtype: DType, { bound, box }: Chunk, read: Read) {
    this.id = id
    this.dtype = dtype
    this.shape = box.sizes
    this.#bound = bound
    this.#box = box
    this.#read = read
  }

  copies(): ReadonlyArray<SourceCopy> {
    const { copies, parameter } = this.#bound
    const start = this.shape.map(() => 0)
    return copies.flatMap((copy) => rebase(copy, "target", parameter.shape, this.#box, this.id, this.shape, start)).flatMap(this.#read)
  }
}

/** A copy from an HF tensor, as copies from what is in the files. */
type Read = (copy: Copy) => ReadonlyArray<SourceCopy>

export interface CheckpointContents {
  /** Of a stored tensor. */
  readonly dtypeOf: (key: string) => DType
  readonly kept: ReadonlyArray<KeptTensor>
  readonly step: number
  readonly read: Read
}

export const checkpointFiles = (ranks: ReadonlyArray<RankFile>, { dtypeOf, kept, read, step }: CheckpointContents): CheckpointFiles => {
  const empty = bytesSegment(objectItem(EMPTY_UINT8))
  const none = bytesSegment(objectItem(null))
  const tensors = new Map<string, { dtype: DType; shape: Shape; chunks: Array<StoredChunk> }>()
  const objects = new Map<string, StoredObject>()
  const builders = new ItemFiles()
  const main = builders.of(0, 0)
  for (const rank of ranks) {
    const builder = builders.of(rank.rank, rank.number)
    for (const { module, state } of rank.states) {
      objects.set(module.keyPrefix + state.key, builder.object(state.payload === "none" ? none : empty))
    }
    if (builder === main) objects.set(COMMON_STATE, builder.object(bytesSegment(objectItem(commonState(step)))))
    for (const [key, chunks] of byKey(rank.chunks)) {
      const dtype = dtypeOf(key)
      const tensor = tensors.get(key) ?? { dtype, shape: chunks[0]!.keyShape, chunks: [] }
      tensors.set(key, tensor)
      for (const chunk of chunks) {
        tensor.chunks.push({ ...chunk.stored, ...builder.tensor(new ChunkArray(key, dtype, chunk, read), chunk.stored.sizes) })
      }
    }
  }
  for (const { dtype, name, shape } of kept) {
    const array = { id: name, dtype, shape, copies: () => read(identity(name, HF_SOURCE + name, shape)) }
    const place = builders.of(0, 1).tensor(array, shape)
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
