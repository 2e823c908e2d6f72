/**
 * `.metadata`: the index of a `torch.distributed.checkpoint` directory. One pickle that says which box of which tensor is
 * in which byte range of which file. Understands what torch 2.2 to 2.13 and Megatron-Core 0.12 to 0.20 write; the rest of
 * the pickle (saved plans, ids) is ignored.
 */
import { FormatError, quote } from "../errors.ts"
import { sameShape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { Dcp, dtypeOfGlobal, METADATA_GLOBALS, SIZE } from "./Globals.ts"
import { unpickle } from "./Pickle.ts"
import type { PickleLimits } from "./Pickle.ts"
import { isGlobal, isInstance, PickleDict, PickleGlobal, PickleList, PickleObject, PyFloat } from "./PickleValue.ts"
import type { PickleValue } from "./PickleValue.ts"
import { MAX_RANK } from "./TensorView.ts"

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
/** Attributes of one dataclass; more means a dict that is no instance state. */
const MAX_ATTRIBUTES = 64
/** A file name no file system accepts is not one. */
const MAX_FILE_NAME = 255

interface StorageEntry extends StoredObject {
  readonly at: ReadonlyArray<number> | undefined
}

const fail = (code: string, problem: string, tensor?: string): never => {
  throw new FormatError(`dcp/${code}`, problem, tensor === undefined ? {} : { tensor })
}

/**
 * Decodes `.metadata`. Every chunk has its storage entry and every storage entry its chunk. Whether the chunks tile the
 * tensors and the files hold the ranges is for `checkMetadata`.
 *
 * Errors: `pickle/…`; `dcp/class`, `dcp/field`, `dcp/limit`, `dcp/integer`, `dcp/rank`, `dcp/dtype`, `dcp/layout`, `dcp/duplicate-key`,
 * `dcp/no-storage`, `dcp/overlap`, `dcp/stray-storage`, `dcp/duplicate-storage`, `dcp/file-name`, `dcp/transformed`.
 */
export const decodeMetadata = (bytes: Uint8Array): DcpMetadata => {
  const root = unpickle(bytes, { globals: METADATA_GLOBALS, limits: METADATA_LIMITS })
  const state = stateOf(root, Dcp.metadata, "the root of .metadata")
  const className = (root as PickleObject).global.id.replace(" ", ".")
  const storage = storageTable(dict(state, "storage_data"))
  const tensors = new Map<string, StoredTensor>()
  const objects = new Map<string, StoredObject>()
  let chunks = 0
  const { entries } = dict(state, "state_dict_metadata")
  for (let i = 0; i < entries.length; i += 2) {
    const key = entries[i]
    if (typeof key !== "string") return fail("field", "a key of state_dict_metadata is not a string")
    if (tensors.has(key) || objects.has(key)) fail("duplicate-key", "the key occurs twice", key)
    const stored = storage.get(key) ?? []
    storage.delete(key)
    const value = entries[i + 1]
    if (isOne(value, Dcp.bytes)) objects.set(key, objectOf(stored, key))
    else {
      const tensor = stateOf(value, Dcp.tensor, "the entry", key)
      const boxes = tensor.get("chunks")
      if (!(boxes instanceof PickleList)) return fail("field", "the tensor has no list of chunks", key)
      chunks += boxes.items.length
      if (chunks > MAX_CHUNKS) fail("limit", `more than ${MAX_CHUNKS} chunks`, key)
      tensors.set(key, tensorOf(tensor, boxes, stored, key))
    }
  }
  for (const key of storage.keys()) fail("stray-storage", "bytes are stored under a key that the table of tensors does not have", key)
  const flattened = flattenedShapes(state)
  return { tensors, objects, className, ...(flattened.size > 0 ? { flattened } : {}) }
}

const storageTable = (from: PickleDict): Map<string, Array<StorageEntry>> => {
  const table = new Map<string, Array<StorageEntry>>()
  const names = new Set<string>()
  const { entries } = from
  for (let i = 0; i < entries.length; i += 2) {
    const index = stateOf(entries[i], Dcp.index, "a key of storage_data")
    const key = index.get("fqn")
    if (typeof key !== "string") return fail("field", "an entry of storage_data has no key")
    const info = stateOf(entries[i + 1], Dcp.storage, "the storage", key)
    const offset = index.get("offset")
    const entry: StorageEntry = {
      at: offset === undefined || offset === null ? undefined : sizes(offset, "the offset of a storage entry", key),
      file: fileName(info.get("relative_path"), names, key),
      offset: integer(info.get("offset"), "the byte offset", key),
      length: integer(info.get("length"), "the byte length", key)
    }
    const transforms = info.get("transform_descriptors")
    if (transforms instanceof PickleList ? transforms.items.length > 0 : transforms !== undefined && transforms !== null) {
      fail("transformed", "the item is stored compressed or otherwise transformed (transform_descriptors); save it without", key)
    }
    const list = table.get(key)
    if (list) list.push(entry)
    else table.set(key, [entry])
  }
  return table
}

const objectOf = (stored: ReadonlyArray<StorageEntry>, key: string): StoredObject => {
  if (stored.length === 0) fail("no-storage", "the object is stored nowhere", key)
  if (stored.length > 1) fail("duplicate-storage", `the object is stored ${stored.length} times`, key)
  if (stored[0]!.at !== undefined) fail("stray-storage", "the object is stored as if it were the chunk of a tensor", key)
  const { file, length, offset } = stored[0]!
  return { file, offset, length }
}

const tensorOf = (
  state: PickleDict,
  boxes: PickleList,
  stored: ReadonlyArray<StorageEntry>,
  key: string
): StoredTensor => {
  const shape = sizes(state.get("size"), "the global shape", key)
  const find = finder(stored, key)
  const placed = new Map<StorageEntry, StoredChunk>()
  for (const [i, item] of boxes.items.entries()) {
    const box = stateOf(item, Dcp.chunk, "a chunk", key)
    const offsets = sizes(box.get("offsets"), "the offsets of a chunk", key)
    const extent = sizes(box.get("sizes"), "the sizes of a chunk", key)
    if (offsets.length !== shape.length || extent.length !== shape.length) {
      fail("rank", `chunk ${i} has another rank than the global shape [${shape}]`, key)
    }
    const entry = find(offsets)
    if (entry === undefined) return fail("no-storage", `the chunk at [${offsets}] is stored nowhere`, key)
    if (entry.length === 0) fail("no-storage", `the chunk at [${offsets}] is said to be stored in 0 bytes`, key)
    const known = placed.get(entry)
    if (known && !isEmpty(known.sizes)) {
      // A replica, or a rank without elements.
      if (isEmpty(extent) || sameShape(known.sizes, extent)) continue
      fail("overlap", `two chunks at [${offsets}], of sizes [${known.sizes}] and [${extent}], would hold the same elements`, key)
    }
    placed.set(entry, { offsets, sizes: extent, file: entry.file, offset: entry.offset, length: entry.length })
  }
  if (placed.size !== stored.length) {
    const stray = stored.find((entry) => !placed.has(entry))!
    fail("stray-storage", `bytes are stored for a chunk at [${stray.at ?? "no offset"}] that the tensor does not have`, key)
  }
  return { dtype: dtypeOf(state.get("properties"), key), shape, chunks: [...placed.values()] }
}

const isEmpty = (extent: ReadonlyArray<number>): boolean => extent.includes(0)

/** Finds the storage entry of the chunk at an offset. */
const finder = (stored: ReadonlyArray<StorageEntry>, key: string) => {
  const name = (offsets: ReadonlyArray<number> | undefined) => offsets === undefined ? "none" : offsets.join()
  const table = new Map<string, StorageEntry>()
  for (const entry of stored) {
    if (table.has(name(entry.at))) fail("duplicate-storage", `the chunk at [${entry.at ?? "no offset"}] is stored twice`, key)
    table.set(name(entry.at), entry)
  }
  return (offsets: ReadonlyArray<number>) => table.get(name(offsets))
}

/** `TensorProperties`: its state is a tuple that begins with dtype and layout (and may grow). */
const dtypeOf = (value: PickleValue | undefined, key: string): DType => {
  const state = isOne(value, Dcp.properties) ? value.state : undefined
  if (!Array.isArray(state) || state.length < 5) return fail("field", "the tensor has no properties in the form torch writes", key)
  const [dtype, layout] = state as ReadonlyArray<PickleValue>
  const strided = isGlobal(layout, "torch strided") || (isInstance(layout, Dcp.layout) && layout.args[0] === "torch.strided")
  if (!strided) fail("layout", "the tensor's layout is not torch.strided", key)
  const name = dtype instanceof PickleGlobal ? dtype.id : fail("field", "the tensor's properties do not begin with a dtype", key)
  return dtypeOfGlobal(name) ?? fail("dtype", `${quote(name.replace(" ", "."))} is not a dtype that is supported here`, key)
}

const flattenedShapes = (state: PickleDict): ReadonlyMap<string, ReadonlyArray<number>> => {
  const shapes = new Map<string, ReadonlyArray<number>>()
  const table = state.get("mcore_data")
  if (!(table instanceof PickleDict)) return shapes
  const { entries } = table
  for (let i = 0; i < entries.length; i += 2) {
    const [key, value] = [entries[i], entries[i + 1]]
    const shape = value instanceof PickleDict && value.size <= MAX_ATTRIBUTES
      ? value.get("nd_reformulated_orig_global_shape")
      : undefined
    if (typeof key === "string" && shape !== undefined && shape !== null) shapes.set(key, sizes(shape, "the original shape", key))
  }
  return shapes
}

/** An instance of one of these classes. */
const isOne = (value: PickleValue | undefined, ids: ReadonlyArray<string>): value is PickleObject =>
  value instanceof PickleObject && ids.includes(value.global.id)

/** The attributes of an instance of one of these classes. */
const stateOf = (value: PickleValue | undefined, ids: ReadonlyArray<string>, what: string, tensor?: string): PickleDict => {
  if (!isOne(value, ids)) {
    const found = value instanceof PickleObject ? `a ${quote(value.global.id.replace(" ", "."))}` : "something else"
    return fail("class", `${what} is ${found}, not a ${ids[0]!.split(" ")[1]}`, tensor)
  }
  if (!(value.state instanceof PickleDict) || value.state.size > MAX_ATTRIBUTES) {
    return fail("class", `${what} has no attributes, or too many`, tensor)
  }
  return value.state
}

const dict = (state: PickleDict, name: string): PickleDict => {
  const value = state.get(name)
  return value instanceof PickleDict ? value : fail("field", `.metadata has no ${name}`)
}

const integer = (value: PickleValue | undefined, what: string, tensor: string): number =>
  typeof value === "number" && value >= 0
    ? value
    : fail("integer", `${what}: ${shown(value)} is not a non-negative integer below 2^53`, tensor)

const shown = (value: PickleValue | undefined): string => {
  if (value === undefined || value === null) return "nothing"
  if (typeof value === "string") return `"${quote(value)}"`
  if (value instanceof PyFloat) return `the float ${value.value}`
  return typeof value === "object" ? "something else" : quote(String(value))
}

/** A `torch.Size` (or tuple, or list) of sizes; the array of the pickle itself, so that shared ones stay shared. */
const sizes = (value: PickleValue | undefined, what: string, tensor: string): ReadonlyArray<number> => {
  const inner = isInstance(value, SIZE) ? value.args[0] ?? [] : value
  const list = inner instanceof PickleList ? inner.items : inner
  if (!Array.isArray(list)) return fail("field", `${what}: missing, or no list of integers`, tensor)
  if (list.length > MAX_RANK) return fail("rank", `${what} has ${list.length} axes; torch has at most ${MAX_RANK}`, tensor)
  for (let i = 0; i < list.length; i++) integer(list[i], what, tensor)
  return list
}

/** Only a plain name inside the directory: no separators, parents, drives or NUL. */
const fileName = (value: PickleValue | undefined, known: Set<string>, tensor: string): string => {
  if (typeof value !== "string") return fail("field", "the storage entry has no file name", tensor)
  if (known.has(value)) return value
  // eslint-disable-next-line no-control-regex
  if (value === "" || value === "." || value === ".." || value.length > MAX_FILE_NAME || /[/\\:\u0000]/.test(value)) {
    fail("file-name", `the data is said to be in "${quote(value)}", which is not a plain file name inside the checkpoint`, tensor)
  }
  known.add(value)
  return value
}
