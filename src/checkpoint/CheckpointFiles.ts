/**
 * From placed chunks to files: which item lies where in which `.distcp`, and the `.metadata` that says so. Items are
 * byte-identical to torch's (torch-dist-format.md C.6), objects before tensors, tensors grouped by key, as the reference
 * writes them; every length is known before a byte moves. Pure.
 */
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { Segment, TargetArray, TargetFile } from "../engine/Target.ts"
import { type Box, type Copy, identity, rebase, type Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import type { DcpMetadata, StoredChunk, StoredObject, StoredTensor } from "../torch/DcpMetadata.ts"
import { objectItem } from "../torch/ObjectItem.ts"
import { EMPTY_UINT8, PyFloat, type PyValue } from "../torch/PyValue.ts"
import { type TensorItem, tensorItem } from "../torch/TensorItem.ts"
import { COMMON_STATE, HF_SOURCE } from "./names.ts"
import { byKey, type Chunk, type RankFile, rankFileName } from "./Placement.ts"

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

/** The segments around the data of an item, one pair for all equal items. */
const frames = new WeakMap<TensorItem, { readonly before: Segment; readonly after: Segment }>()
const frameOf = (item: TensorItem) => {
  let frame = frames.get(item)
  if (!frame) {
    frame = { before: { kind: "bytes", bytes: item.prefix }, after: { kind: "seal", length: item.suffixLength, bytes: item.suffix } }
    frames.set(item, frame)
  }
  return frame
}

type BytesSegment = Extract<Segment, { kind: "bytes" }>
const bytesSegment = (bytes: Uint8Array): BytesSegment => ({ kind: "bytes", bytes })

/** Collects the segments of one file and knows where the next one begins. */
class FileBuilder {
  readonly name: string
  readonly segments: Array<Segment> = []
  size = 0

  constructor(name: string) {
    this.name = name
  }

  object(segment: BytesSegment): StoredObject {
    const length = segment.bytes.byteLength
    const place = { file: this.name, offset: this.size, length }
    this.segments.push(segment)
    this.size += length
    return place
  }

  /** `shape`: as torch sees the chunk, with leading ones; the array's own shape may lack them. */
  tensor(array: TargetArray, shape: Shape): { readonly file: string; readonly offset: number; readonly length: number } {
    const item = tensorItem(array.dtype, shape)
    const place = { file: this.name, offset: this.size, length: item.length }
    const { after, before } = frameOf(item)
    this.segments.push(before, { kind: "array", array, crc: true }, after)
    this.size += item.length
    return place
  }
}

/**
 * The array of one chunk: the parameter's copies, cut to the chunk's box. They are cut when asked for, and not kept: a plan of
 * 100 000 tensors stays small.
 */
class ChunkArray implements TargetArray {
  readonly id: string
  readonly dtype: DType
  readonly shape: Shape
  readonly #bound: BoundParameter
  readonly #box: Box

  constructor(id: string, dtype: DType, { bound, box }: Chunk) {
    this.id = id
    this.dtype = dtype
    this.shape = box.sizes
    this.#bound = bound
    this.#box = box
  }

  get copies(): ReadonlyArray<Copy> {
    const { copies, parameter } = this.#bound
    const start = this.shape.map(() => 0)
    return copies.flatMap((copy) => rebase(copy, "target", parameter.shape, this.#box, this.id, this.shape, start))
  }
}

export const checkpointFiles = (
  ranks: ReadonlyArray<RankFile>,
  dtypeOf: (key: string) => DType,
  kept: ReadonlyArray<KeptTensor>,
  step: number
): CheckpointFiles => {
  const empty = bytesSegment(objectItem(EMPTY_UINT8))
  const none = bytesSegment(objectItem(null))
  const tensors = new Map<string, { dtype: DType; shape: Shape; chunks: Array<StoredChunk> }>()
  const objects = new Map<string, StoredObject>()
  const builders = new Map<string, FileBuilder>()
  const builderOf = (name: string): FileBuilder => {
    let builder = builders.get(name)
    if (!builder) builders.set(name, builder = new FileBuilder(name))
    return builder
  }
  const main = rankFileName({ rank: 0, number: 0 })
  builderOf(main)
  for (const rank of ranks) {
    const builder = builderOf(rankFileName(rank))
    for (const { module, state } of rank.states) {
      objects.set(module.keyPrefix + state.key, builder.object(state.payload === "none" ? none : empty))
    }
    if (builder.name === main) objects.set(COMMON_STATE, builder.object(bytesSegment(objectItem(commonState(step)))))
    for (const [key, chunks] of byKey(rank.chunks)) {
      const dtype = dtypeOf(key)
      const tensor = tensors.get(key) ?? { dtype, shape: chunks[0]!.keyShape, chunks: [] }
      tensors.set(key, tensor)
      for (const chunk of chunks) {
        tensor.chunks.push({ ...chunk.stored, ...builder.tensor(new ChunkArray(key, dtype, chunk), chunk.stored.sizes) })
      }
    }
  }
  for (const { dtype, name, shape } of kept) {
    const array = { id: name, dtype, shape, copies: [identity(name, HF_SOURCE + name, shape)] }
    const place = builderOf(rankFileName({ rank: 0, number: 1 })).tensor(array, shape)
    tensors.set(HF_SOURCE + name, { dtype, shape, chunks: [{ offsets: shape.map(() => 0), sizes: shape, ...place }] })
  }
  return {
    files: [...builders.values()].map(({ name, segments, size }) => ({ name, segments, size })),
    metadata: {
      className: "torch.distributed.checkpoint.metadata.Metadata",
      tensors: tensors as ReadonlyMap<string, StoredTensor>,
      objects
    }
  }
}
