/**
 * `.metadata`: the index of a `torch.distributed.checkpoint` directory. One pickle that says which box of which tensor is
 * in which byte range of which file. Understands what torch 2.2 to 2.13 and Megatron-Core 0.12 to 0.20 write; the rest of
 * the pickle (saved plans, ids) is ignored.
 */
import { sameShape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { type ChunkEntry, DcpTables, type StorageEntry, type TensorEntry } from "./DcpTables.ts"
import { dict, isSmall, malformed, sizesOf, stateOf } from "./DcpValues.ts"
import { Dcp, METADATA_GLOBALS } from "./Globals.ts"
import { unpickle } from "./Pickle.ts"
import type { PickleLimits } from "./PicklePolicy.ts"
import { PickleDict, type PickleObject } from "./PickleValue.ts"
import type { PyRead } from "./PyValue.ts"

/** Elements of a storage in a file of `torch.save`. */
export interface ChunkView {
  readonly dtype: DType
  /** From the first one to the end of the storage. */
  readonly elements: number
  /** In elements; undefined where they lie in C order. */
  readonly strides: ReadonlyArray<number> | undefined
  /** The storage, and the CRC-32 stored with it (0: none). */
  readonly storage: { readonly start: number; readonly end: number; readonly crc32: number }
}

/** One box of a tensor and the item that holds it. */
export interface StoredChunk {
  /** In elements of the global tensor. */
  readonly offsets: ReadonlyArray<number>
  readonly sizes: ReadonlyArray<number>
  /** Plain file name, inside the checkpoint directory. */
  readonly file: string
  /** Byte range of the item in that file. */
  readonly offset: number
  readonly length: number
  /** Shape of the item, where it lacks axes of extent 1 that the chunk has in front. */
  readonly itemSizes?: ReadonlyArray<number>
  /** The chunk is no item: its first element is at `offset`, and this says where the others are. */
  readonly view?: ChunkView
}

export interface StoredTensor {
  readonly dtype: DType
  /** Global shape. */
  readonly shape: ReadonlyArray<number>
  readonly chunks: ReadonlyArray<StoredChunk>
}

/** A pickled object: the byte range of its item. */
export interface StoredObject {
  readonly file: string
  readonly offset: number
  readonly length: number
}

export interface DcpMetadata {
  /** By key, in file order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** By key, in file order. In `torch_dist` a key ends in `/shard_{offset}_{shape}`. */
  readonly objects: ReadonlyMap<string, StoredObject>
  /** `module.Class` of the pickled root. */
  readonly className: string
  /**
   * Tensors that Megatron-Core up to 0.15 stored as flat fragments: key → original global shape. Only optimizer states; their
   * `shape` and chunks are those of the reformulated tensor.
   */
  readonly flattened?: ReadonlyMap<string, ReadonlyArray<number>>
  /** Of a checkpoint without an index: what the file `file` says of its run, where others have a common state. */
  readonly run?: { readonly file: string; readonly value: PyRead }
}

/** 150 000 chunks with saved plans take some 60 MB. */
export const METADATA_LIMITS: PickleLimits = {
  maxBytes: 1 << 29,
  maxMemory: 2 ** 31,
  maxMemo: 16_000_000,
  maxStack: 4_000_000,
  maxString: 1 << 20
}

/** Chunks of all tensors. Tensors may share a list of chunks in the pickle, so its size alone does not bound them. */
const MAX_CHUNKS = 4_000_000
/**
 * Decodes `.metadata`. Every chunk has its storage entry and every storage entry its chunk. Whether the chunks tile the
 * tensors and the files hold the ranges is for `checkMetadata`.
 *
 * Errors: `pickle/…`; `dcp/class`, `dcp/field`, `dcp/limit`, `dcp/integer`, `dcp/rank`, `dcp/dtype`, `dcp/layout`, `dcp/duplicate-key`,
 * `dcp/no-storage`, `dcp/overlap`, `dcp/stray-storage`, `dcp/duplicate-storage`, `dcp/file-name`, `dcp/transformed`.
 */
export const decodeMetadata = (bytes: Uint8Array): DcpMetadata => {
  const tables = new DcpTables()
  const root = unpickle(bytes, { globals: METADATA_GLOBALS, limits: METADATA_LIMITS, sink: tables })
  const state = stateOf(root, Dcp.metadata, "the root of .metadata")
  const className = (root as PickleObject).global.id.replace(" ", ".")
  const storage = tables.storage(dict(state, "storage_data"))
  const tensors = new Map<string, StoredTensor>()
  const objects = new Map<string, StoredObject>()
  let count = 0
  for (const [key, tensor] of tables.rows(dict(state, "state_dict_metadata"))) {
    if (tensors.has(key) || objects.has(key)) malformed("duplicate-key", "the key occurs twice", key)
    const stored = storage.get(key) ?? []
    storage.delete(key)
    if (!tensor) {
      objects.set(key, objectOf(stored, key))
      continue
    }
    const chunks = tables.chunks(tensor.chunks, key)
    count += chunks.length
    if (count > MAX_CHUNKS) malformed("limit", `more than ${MAX_CHUNKS} chunks`, key)
    tensors.set(key, tensorOf(tensor, chunks, stored, key))
  }
  for (const key of storage.keys()) malformed("stray-storage", "bytes are stored under a key that the table of tensors does not have", key)
  const flattened = flattenedShapes(state)
  return { tensors, objects, className, ...(flattened.size > 0 ? { flattened } : {}) }
}

const objectOf = (stored: ReadonlyArray<StorageEntry>, key: string): StoredObject => {
  if (stored.length === 0) malformed("no-storage", "the object is stored nowhere", key)
  if (stored.length > 1) malformed("duplicate-storage", `the object is stored ${stored.length} times`, key)
  if (stored[0]!.at !== undefined) malformed("stray-storage", "the object is stored as if it were the chunk of a tensor", key)
  const { file, length, offset } = stored[0]!
  return { file, offset, length }
}

const tensorOf = (
  { dtype, shape }: TensorEntry,
  chunks: ReadonlyArray<ChunkEntry>,
  stored: ReadonlyArray<StorageEntry>,
  key: string
): StoredTensor => {
  const find = finder(stored, key)
  const placed = new Map<StorageEntry, StoredChunk>()
  for (const [i, chunk] of chunks.entries()) {
    const offsets = sizesOf(chunk.offsets, "the offsets of a chunk", key)
    const extent = sizesOf(chunk.sizes, "the sizes of a chunk", key)
    if (offsets.length !== shape.length || extent.length !== shape.length) {
      malformed("rank", `chunk ${i} has another rank than the global shape [${shape}]`, key)
    }
    const entry = find(offsets)
    if (entry === undefined) return malformed("no-storage", `the chunk at [${offsets}] is stored nowhere`, key)
    if (entry.length === 0) malformed("no-storage", `the chunk at [${offsets}] is said to be stored in 0 bytes`, key)
    const known = placed.get(entry)
    if (known && !isEmpty(known.sizes)) {
      // A replica, or a rank without elements.
      if (isEmpty(extent) || sameShape(known.sizes, extent)) continue
      malformed("overlap", `two chunks at [${offsets}], of sizes [${known.sizes}] and [${extent}], would hold the same elements`, key)
    }
    placed.set(entry, { offsets, sizes: extent, file: entry.file, offset: entry.offset, length: entry.length })
  }
  if (placed.size !== stored.length) {
    const stray = stored.find((entry) => !placed.has(entry))!
    malformed("stray-storage", `bytes are stored for a chunk at [${stray.at ?? "no offset"}] that the tensor does not have`, key)
  }
  return { dtype, shape, chunks: [...placed.values()] }
}

const isEmpty = (extent: ReadonlyArray<number>): boolean => extent.includes(0)

/** Finds the storage entry of the chunk at an offset. */
const finder = (stored: ReadonlyArray<StorageEntry>, key: string) => {
  const name = (offsets: ReadonlyArray<number> | undefined) => offsets === undefined ? "none" : offsets.join()
  const table = new Map<string, StorageEntry>()
  for (const entry of stored) {
    if (table.has(name(entry.at))) malformed("duplicate-storage", `the chunk at [${entry.at ?? "no offset"}] is stored twice`, key)
    table.set(name(entry.at), entry)
  }
  return (offsets: ReadonlyArray<number>) => table.get(name(offsets))
}

const flattenedShapes = (state: PickleDict): ReadonlyMap<string, ReadonlyArray<number>> => {
  const shapes = new Map<string, ReadonlyArray<number>>()
  const table = state.get("mcore_data")
  if (!(table instanceof PickleDict)) return shapes
  const { entries } = table
  for (let i = 0; i < entries.length; i += 2) {
    const [key, value] = [entries[i], entries[i + 1]]
    const shape = value instanceof PickleDict && isSmall(value)
      ? value.get("nd_reformulated_orig_global_shape")
      : undefined
    if (typeof key === "string" && shape !== undefined && shape !== null) shapes.set(key, sizesOf(shape, "the original shape", key))
  }
  return shapes
}
