/**
 * A `torch_dist` checkpoint in parts. It is taken from an import of a toy, unpacked into chunks and objects, and put together
 * again by writers of its own, so that a case can change any part and the rest stays sound.
 */
import { Effect } from "effect"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { torchName } from "../../../src/tensor/DType.ts"
import { decodeMetadata } from "../../../src/torch/DcpMetadata.ts"
import { parseBytes } from "../../../src/torch/Ranges.ts"
import { parseTensorItem } from "../../../src/torch/TensorItem.ts"
import { importInto, quickDisk, workFolder } from "../run.ts"
import { type FileSet, type Node, writeFileSet } from "./FileSet.ts"
import { filesOf as hfFilesOf, type Hf, single } from "./Hf.ts"
import { type ItemStyle, tensorItem } from "./Item.ts"
import { metadataFile, type MetadataStyle, type Place } from "./Metadata.ts"
import type { Architecture, Config } from "./Toy.ts"

export interface Chunk {
  readonly offsets: ReadonlyArray<number>
  readonly sizes: ReadonlyArray<number>
  readonly data: Uint8Array
  /** The item in place of the one made from the data. */
  readonly item?: Uint8Array
}

export interface TensorEntry {
  readonly kind: "tensor"
  readonly key: string
  /** torch's name. */
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly chunks: ReadonlyArray<Chunk>
}

export interface ObjectEntry {
  readonly kind: "object"
  readonly key: string
  readonly item: Uint8Array
}

export type Entry = TensorEntry | ObjectEntry

export interface Megatron {
  readonly entries: ReadonlyArray<Entry>
  /** Everything but `.metadata` and data files, relative to the iteration folder; trackers relative to its parent. */
  readonly files: FileSet
  readonly trackers: FileSet
  readonly folder: string
  readonly item?: ItemStyle
  readonly metadata?: MetadataStyle
  /** Which file an item goes to. Default: as one rank writes it. */
  readonly fileOf?: (key: string, number: number) => string
  /** Bytes between items. */
  readonly gap?: number
  /** Items in another order. */
  readonly order?: <A>(items: ReadonlyArray<A>) => ReadonlyArray<A>
  /** Change the finished places. */
  readonly places?: (places: ReadonlyArray<Place>) => ReadonlyArray<Place>
  /** Change the finished `.metadata`, or put something in its place. */
  readonly metadataFile?: (bytes: Buffer) => Node
  /** Change a finished data file. */
  readonly dataFile?: (name: string, bytes: Buffer) => Node
  readonly others?: ReadonlyArray<readonly [string, Node]>
  readonly without?: ReadonlyArray<string>
}

const work = { folder: undefined as string | undefined }
const cache = new Map<string, Megatron>()

const allFiles = (root: string, below = ""): ReadonlyArray<string> =>
  readdirSync(join(root, below)).flatMap((name) => {
    const path = join(below, name)
    return statSync(join(root, path)).isDirectory() ? allFiles(root, path) : [path]
  })

const unpack = (directory: string): Megatron => {
  const folder = "iter_0000000"
  const read = (name: string) => readFileSync(join(directory, folder, name))
  const metadata = decodeMetadata(read(".metadata"))
  const entries: Array<Entry> = []
  for (const [key, { chunks, dtype, shape }] of metadata.tensors) {
    entries.push({
      kind: "tensor",
      key,
      dtype: torchName(dtype)!,
      shape,
      chunks: chunks.map(({ file, length, offset, offsets, sizes }) => {
        const item = read(file).subarray(offset, offset + length)
        const { dataLength, dataOffset } = parseBytes(item, parseTensorItem(length))
        return { offsets, sizes, data: item.subarray(dataOffset, dataOffset + dataLength) }
      })
    })
  }
  for (const [key, { file, length, offset }] of metadata.objects) entries.push({ kind: "object", key, item: read(file).subarray(offset, offset + length) })
  const files = new Map<string, Node>()
  const trackers = new Map<string, Node>()
  for (const path of allFiles(directory)) {
    const inside = path.startsWith(`${folder}/`) ? path.slice(folder.length + 1) : undefined
    // Checksums would tell of every change before anything else does.
    if (inside === undefined) trackers.set(path, readFileSync(join(directory, path)))
    else if (["metadata.json", "run_config.yaml", "train_state.pt", "common.pt"].includes(inside)) files.set(inside, read(inside))
  }
  return { entries, files, trackers, folder }
}

/** The Hugging Face model that {@link checkpointOf} was imported from. */
export const modelOf = (architecture: Architecture, change: Config = {}): Hf => single(architecture, change)

/** A sound checkpoint of a toy. */
export const checkpointOf = async (architecture: Architecture, change: Config = {}): Promise<Megatron> => {
  const key = JSON.stringify([architecture, change])
  const known = cache.get(key)
  if (known) return known
  work.folder ??= workFolder("megatron-toys")
  const [hf, target] = ["hf", "megatron"].map((name) => join(work.folder!, `${cache.size}-${name}`)) as [string, string]
  writeFileSet(hf, hfFilesOf(modelOf(architecture, change)))
  await Effect.runPromise(importInto(hf, target).pipe(Effect.provide(quickDisk)))
  const made = unpack(target)
  cache.set(key, made)
  return made
}

export const filesOf = (m: Megatron): FileSet => {
  const { dataFile = (_, bytes) => bytes, fileOf = () => "__0_0.distcp", gap = 0, order = (items) => items, places = (p) => p } = m
  const items = m.entries.flatMap((entry): ReadonlyArray<{ entry: Entry; chunk?: Chunk; index: number; bytes: Uint8Array }> =>
    entry.kind === "object"
      ? [{ entry, index: 0, bytes: entry.item }]
      : entry.chunks.map((chunk, index) => ({
        entry,
        chunk,
        index,
        bytes: chunk.item ?? tensorItem({ dtype: entry.dtype, shape: chunk.sizes, data: chunk.data }, m.item)
      })))
  const data = new Map<string, Array<Uint8Array>>()
  const sizes = new Map<string, number>()
  const placed = new Map<(typeof items)[number], Place>()
  order(items).forEach((item, number) => {
    const file = fileOf(item.entry.key, number)
    const offset = (sizes.get(file) ?? 0) + (number % 2 === 1 ? gap : 0)
    const parts = data.get(file) ?? []
    if (!data.has(file)) data.set(file, parts)
    if (offset > (sizes.get(file) ?? 0)) parts.push(Buffer.alloc(offset - (sizes.get(file) ?? 0), 0xaa))
    parts.push(item.bytes)
    sizes.set(file, offset + item.bytes.length)
    placed.set(item, { key: item.entry.key, index: item.index, offsets: item.chunk?.offsets, file, offset, length: item.bytes.length })
  })
  const metadata = metadataFile(m.entries, places(items.map((item) => placed.get(item)!)), m.metadata)
  const out = new Map<string, Node>(m.trackers)
  const put = (name: string, node: Node) => out.set(m.folder === "" ? name : `${m.folder}/${name}`, node)
  for (const [name, node] of m.files) put(name, node)
  for (const [name, parts] of data) put(name, dataFile(name, Buffer.concat(parts)))
  put(".metadata", m.metadataFile ? m.metadataFile(metadata) : metadata)
  for (const [name, node] of m.others ?? []) out.set(name, node)
  for (const name of m.without ?? []) out.delete(name)
  return out
}

/** `m` with the entry of a key changed; undefined removes it. */
export const withEntry = (m: Megatron, key: string, change: (entry: TensorEntry) => Entry | undefined): Megatron => {
  if (!m.entries.some((e) => e.key === key)) throw new Error(`there is no ${key}`)
  return { ...m, entries: m.entries.flatMap((e) => (e.key === key ? change(e as TensorEntry) ?? [] : [e])) }
}

/** `m` with one chunk of a tensor changed. */
export const withChunk = (m: Megatron, key: string, change: (chunk: Chunk, entry: TensorEntry) => Chunk, at = 0): Megatron =>
  withEntry(m, key, (e) => ({ ...e, chunks: e.chunks.map((c, i) => (i === at ? change(c, e) : c)) }))

/** The elements of a tensor as one array. `width`: bytes per element. */
export const joined = (e: TensorEntry, width: number): Buffer => {
  const out = Buffer.alloc(e.shape.reduce((a, b) => a * b, 1) * width)
  for (const chunk of e.chunks) {
    each(chunk.sizes, (index, n) => {
      const at = index.reduce((sum, i, k) => sum * e.shape[k]! + chunk.offsets[k]! + i, 0)
      out.set(chunk.data.subarray(n * width, (n + 1) * width), at * width)
    })
  }
  return out
}

/** A tensor cut into the given boxes. */
export const recut = (e: TensorEntry, width: number, boxes: ReadonlyArray<Pick<Chunk, "offsets" | "sizes">>): TensorEntry => {
  const whole = joined(e, width)
  return {
    ...e,
    chunks: boxes.map(({ offsets, sizes }) => {
      const data = Buffer.alloc(sizes.reduce((a, b) => a * b, 1) * width)
      each(sizes, (index, n) => {
        const at = index.reduce((sum, i, k) => sum * e.shape[k]! + offsets[k]! + i, 0)
        data.set(whole.subarray(at * width, (at + 1) * width), n * width)
      })
      return { offsets, sizes, data }
    })
  }
}

const each = (sizes: ReadonlyArray<number>, visit: (index: ReadonlyArray<number>, n: number) => void): void => {
  const total = sizes.reduce((a, b) => a * b, 1)
  for (let n = 0; n < total; n++) {
    const index: Array<number> = []
    for (let k = sizes.length - 1, rest = n; k >= 0; k--) {
      index.unshift(rest % sizes[k]!)
      rest = Math.floor(rest / sizes[k]!)
    }
    visit(index, n)
  }
}
