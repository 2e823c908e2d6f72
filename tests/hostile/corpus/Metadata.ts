/** `.metadata` as any torch from 2.2 on and any Megatron from 0.12 on pickles it, or with one thing wrong. */
import type { Entry } from "./Megatron.ts"
import { attributes, call, dict, g, instance, list, pickle, type PickleStyle, type Py } from "./Pickle.ts"

/** Where an item lies. */
export interface Place {
  readonly key: string
  readonly index: number
  /** Absent: an object. */
  readonly offsets?: Py | undefined
  readonly file: Py
  readonly offset: Py
  readonly length: Py
  readonly more?: Readonly<Record<string, Py>>
}

export interface MetadataStyle {
  readonly pickle?: PickleStyle
  /** The class of the root, and what it has besides the two tables. */
  readonly root?: string
  readonly more?: Readonly<Record<string, Py>>
  readonly planner?: Py
  readonly layout?: Py
  readonly memoryFormat?: Py
  readonly properties?: string
  /** Change the state of `TensorProperties`. */
  readonly state?: (state: ReadonlyArray<Py>) => Py
  readonly size?: (sizes: ReadonlyArray<number>) => Py
  /** The attribute `index` of `MetadataIndex`. */
  readonly index?: (index: number) => Py
  readonly chunk?: (offsets: Py, sizes: Py, key: string) => Py
  readonly dtype?: (name: string, key: string) => Py
  /** Change the two tables. */
  readonly entries?: (entries: ReadonlyArray<readonly [Py, Py]>) => ReadonlyArray<readonly [Py, Py]>
  readonly storage?: (entries: ReadonlyArray<readonly [Py, Py]>) => ReadonlyArray<readonly [Py, Py]>
  /** Change the whole. */
  readonly value?: (root: Py) => Py
}

export const DCP = "torch.distributed.checkpoint.metadata"
export const FILESYSTEM = "torch.distributed.checkpoint.filesystem"

export const sizeOf = (sizes: ReadonlyArray<number>): Py => call("torch Size", sizes)

/** The value that `.metadata` holds. */
export const metadataValue = (entries: ReadonlyArray<Entry>, places: ReadonlyArray<Place>, style: MetadataStyle = {}): Py => {
  const {
    chunk = (offsets, sizes) => instance(`${DCP} ChunkStorageMetadata`, { offsets, sizes }),
    dtype = (name) => g(`torch ${name}`),
    entries: changedEntries = (e) => e,
    index = (i) => i,
    layout = call("torch.serialization _get_layout", "torch.strided"),
    memoryFormat = call(`${DCP} _MEM_FORMAT_ENCODING`, 0),
    more = {},
    planner = null,
    properties = `${DCP} TensorProperties`,
    root = `${DCP} Metadata`,
    size = sizeOf,
    state = (s) => s,
    storage: changedStorage = (e) => e,
    value = (v) => v
  } = style
  const tables = entries.map((entry): readonly [Py, Py] => [
    entry.key,
    entry.kind === "object"
      ? instance(`${DCP} BytesStorageMetadata`)
      : instance(`${DCP} TensorStorageMetadata`, {
        properties: { instance: properties, state: state([dtype(entry.dtype, entry.key), layout, false, memoryFormat, false]) },
        size: size(entry.shape),
        chunks: list(...entry.chunks.map((c) => chunk(size(c.offsets), size(c.sizes), entry.key)))
      })
  ])
  const storage = places.map((p): readonly [Py, Py] => [
    instance(`${DCP} MetadataIndex`, {
      fqn: p.key,
      index: index(p.index),
      ...(p.offsets === undefined ? {} : { offset: Array.isArray(p.offsets) ? size(p.offsets as ReadonlyArray<number>) : p.offsets })
    }),
    instance(`${FILESYSTEM} _StorageInfo`, { relative_path: p.file, offset: p.offset, length: p.length, ...p.more })
  ])
  return value({
    instance: root,
    state: attributes({
      state_dict_metadata: dict(...changedEntries(tables)),
      planner_data: planner,
      storage_data: dict(...changedStorage(storage)),
      ...more
    })
  })
}

export const metadataFile = (entries: ReadonlyArray<Entry>, places: ReadonlyArray<Place>, style: MetadataStyle = {}): Buffer =>
  pickle(metadataValue(entries, places, style), style.pickle)
