/**
 * The tables of a `.metadata` pickle, filled while it is read: of a hundred thousand chunks there is what they say, never all the
 * objects that say it. What the pickle completes only after it stands in its table is looked at in the end.
 */
import type { DType } from "../tensor/DType.ts"
import { tensorDtype, fileName, integer, isOne, isSmall, malformed, sizesOf, stateOf } from "./DcpValues.ts"
import { Dcp } from "./Globals.ts"
import type { PickleSink } from "./PicklePolicy.ts"
import { PickleDict, PickleList } from "./PickleValue.ts"
import type { PickleValue } from "./PickleValue.ts"

/** Where an item is and, of a chunk, at which offset in its tensor. */
export interface StorageEntry {
  readonly at: ReadonlyArray<number> | undefined
  readonly file: string
  readonly offset: number
  readonly length: number
}

export interface TensorEntry {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  readonly chunks: PickleList
}

/** A chunk in the list of its tensor, whose name is not known yet: unchecked. */
export interface ChunkEntry {
  readonly offsets: PickleValue | undefined
  readonly sizes: PickleValue | undefined
}

/** The tensor, or nothing for an object. */
type TableRow = readonly [key: string, tensor: TensorEntry | undefined]

export class DcpTables implements PickleSink {
  readonly #rows = new Map<PickleDict, Array<TableRow>>()
  readonly #chunks = new Map<PickleList, Array<ChunkEntry>>()
  readonly #storage = new Map<PickleDict, Map<string, Array<StorageEntry>>>()
  readonly #fileNames = new Set<string>()

  element(list: PickleList, value: PickleValue): boolean {
    // Saved plans are of no use here.
    if (!this.#isComplete(value, Dcp.chunk)) return isOne(value, Dcp.writeItem)
    add(this.#chunks, list, this.#chunkEntry(value))
    return true
  }

  entry(dict: PickleDict, key: PickleValue, value: PickleValue): boolean {
    if (typeof key === "string") {
      if (!isOne(value, Dcp.bytes) && !this.#isComplete(value, Dcp.tensor)) return false
      add(this.#rows, dict, this.#tableRow(key, value))
      return true
    }
    if (!this.#isComplete(key, Dcp.index) || !this.#isComplete(value, Dcp.storage)) return false
    this.#store(dict, key, value)
    return true
  }

  /** The rows of `state_dict_metadata`. */
  rows(table: PickleDict): ReadonlyArray<TableRow> {
    const late = pairsOf(table).map(([key, value]) =>
      typeof key === "string" ? this.#tableRow(key, value) : malformed("field", "a key of state_dict_metadata is not a string"))
    return [...this.#rows.get(table) ?? [], ...late]
  }

  /** The list of a tensor's chunks. */
  chunks(list: PickleList, tensor: string): ReadonlyArray<ChunkEntry> {
    const taken = this.#chunks.get(list) ?? []
    const late = list.items.filter((item) => item !== null)
    if (taken.length + late.length !== list.items.length) return malformed("class", "a chunk is something else, not a ChunkStorageMetadata", tensor)
    return late.length === 0 ? taken : [...taken, ...late.map((item) => this.#chunkEntry(item, tensor))]
  }

  /** `storage_data`, by key; the caller's to change. */
  storage(table: PickleDict): Map<string, ReadonlyArray<StorageEntry>> {
    for (const [key, value] of pairsOf(table)) this.#store(table, key, value)
    return new Map(this.#storage.get(table))
  }

  #store(table: PickleDict, index: PickleValue, value: PickleValue): void {
    let known = this.#storage.get(table)
    if (!known) this.#storage.set(table, known = new Map())
    const attributes = this.#attributes(index, Dcp.index, "a key of storage_data")
    const key = attributes.get("fqn")
    if (typeof key !== "string") return malformed("field", "an entry of storage_data has no key")
    add(known, key, this.#storageEntry(this.#attributes(value, Dcp.storage, "the storage", key), attributes.get("offset"), key))
  }

  #storageEntry(info: PickleDict, at: PickleValue | undefined, key: string): StorageEntry {
    const entry: StorageEntry = {
      at: at === undefined || at === null ? undefined : sizesOf(at, "the offset of a storage entry", key),
      file: fileName(info.get("relative_path"), this.#fileNames, key),
      offset: integer(info.get("offset"), "the byte offset", key),
      length: integer(info.get("length"), "the byte length", key)
    }
    const transforms = info.get("transform_descriptors")
    if (transforms instanceof PickleList ? transforms.items.length > 0 : transforms !== undefined && transforms !== null) {
      malformed("transformed", "the item is stored compressed or otherwise transformed (transform_descriptors); save it without", key)
    }
    return entry
  }

  #tableRow(key: string, value: PickleValue): TableRow {
    if (isOne(value, Dcp.bytes)) return [key, undefined]
    const attributes = this.#attributes(value, Dcp.tensor, "the entry", key)
    const chunks = attributes.get("chunks")
    if (!(chunks instanceof PickleList)) return malformed("field", "the tensor has no list of chunks", key)
    const shape = sizesOf(attributes.get("size"), "the global shape", key)
    return [key, { dtype: tensorDtype(attributes.get("properties"), key), shape, chunks }]
  }

  #chunkEntry(value: PickleValue, tensor?: string): ChunkEntry {
    const attributes = this.#attributes(value, Dcp.chunk, "a chunk", tensor)
    return { offsets: attributes.get("offsets"), sizes: attributes.get("sizes") }
  }

  #isComplete(value: PickleValue, ids: ReadonlyArray<string>): boolean {
    return isOne(value, ids) && value.state instanceof PickleDict && isSmall(value.state) && !this.#rows.has(value.state)
  }

  #attributes(value: PickleValue, ids: ReadonlyArray<string>, what: string, tensor?: string): PickleDict {
    const state = stateOf(value, ids, what, tensor)
    // Something was taken out of it.
    if (this.#rows.has(state)) malformed("class", `${what} has a tensor or an object as an attribute`, tensor)
    return state
  }
}

function* pairsOf({ entries }: PickleDict): Generator<readonly [key: PickleValue, value: PickleValue]> {
  for (let i = 0; i < entries.length; i += 2) yield [entries[i]!, entries[i + 1]!]
}

/** Put a value into the list of a key. */
const add = <K, V>(lists: Map<K, Array<V>>, key: K, value: V): void => {
  const list = lists.get(key)
  if (list) list.push(value)
  else lists.set(key, [value])
}
