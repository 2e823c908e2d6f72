/**
 * From a relabelled draft to files: which data files stay as they are, which are written anew, and the `.metadata` of the
 * result. Pure.
 */
import { chunkId, StoredChunks } from "../checkpoint/StoredChunks.ts"
import { rankFileName } from "../checkpoint/Placement.ts"
import type { Segment, SourceArray, Sources, TargetFile } from "../engine/Target.ts"
import { type Copy, identity, stridesOf, volume } from "../tensor/Copy.ts"
import type { DcpMetadata, StoredChunk, StoredObject, StoredTensor } from "../torch/DcpMetadata.ts"
import { objectItem } from "../torch/ObjectItem.ts"
import { EMPTY_UINT8 } from "../torch/PyValue.ts"
import { tensorItem } from "../torch/TensorItem.ts"
import { byFile, type Draft, type DraftObject, type DraftTensor, isWhole, type Piece } from "./Draft.ts"

export interface RelabelPlan {
  /** Data files that stay byte for byte. */
  readonly kept: ReadonlyArray<string>
  /** Names of data files that get new items in place of old ones, and of the file of supplied objects. */
  readonly written: ReadonlyArray<string>
  readonly supplied: number
  /** Bytes of items that are written because their shape changed. */
  readonly moved: number
  readonly metadata: DcpMetadata
  /** The chunks whose headers must be read before {@link files} is called. */
  readonly chunks: StoredChunks
  readonly sources: Sources
  readonly files: () => ReadonlyArray<TargetFile>
}

interface Place {
  readonly file: string
  readonly offset: number
  readonly length: number
}

/** Collects the segments of one file. */
class Output {
  readonly name: string
  readonly #segments: Array<() => ReadonlyArray<Segment>> = []
  size = 0

  constructor(name: string) {
    this.name = name
  }

  add(length: number, segments: () => ReadonlyArray<Segment>): Place {
    const place = { file: this.name, offset: this.size, length }
    this.#segments.push(segments)
    this.size += length
    return place
  }

  file(): TargetFile {
    return { name: this.name, size: this.size, segments: this.#segments.flatMap((make) => make()) }
  }
}

const RAW = "raw:"

/** Bytes of a file as an array, named after what they hold. */
const rawSegment = (id: string, key: string, length: number): Segment =>
  ({ kind: "array", array: { id: key, dtype: "U8", shape: [length], copies: length === 0 ? [] : [identity(id, key, [length])] }, crc: false })

/** The copy that cuts a piece out of its item. */
const copyOf = (piece: Piece, key: string): Copy => {
  const strides = stridesOf(piece.item.sizes)
  return {
    shape: piece.sizes,
    source: {
      tensor: chunkId(piece.item),
      offset: piece.start.reduce((sum, s, axis) => sum + s * strides[axis]!, 0),
      strides: piece.axes.map((axis) => (axis === undefined ? 0 : strides[axis]!))
    },
    target: { tensor: key, offset: 0, strides: stridesOf(piece.sizes) }
  }
}

/** A name that no data file has: of rank 0, beside its first file. */
const unusedFile = (names: ReadonlySet<string>): string => {
  for (let number = 1; ; number++) {
    const name = rankFileName({ rank: 0, number })
    if (!names.has(name)) return name
  }
}

/**
 * `pathOf`: where a data file lies. `replaced`: objects with new content, by key. Every piece that is no longer its whole item
 * moves its file into `written`; the other items of that file are copied as they are, so that no dead bytes stay behind.
 */
export const relabelPlan = (
  draft: Draft,
  source: { readonly directory: string; readonly files: ReadonlyMap<string, number>; readonly pathOf: (file: string) => string },
  replaced: ReadonlyMap<string, Uint8Array>
): RelabelPlan => {
  const chunks = new StoredChunks(source.directory)
  const touched = new Set<string>()
  let moved = 0
  for (const [key, tensor] of draft.tensors) {
    for (const piece of tensor.pieces) {
      if (isWhole(piece)) continue
      touched.add(piece.item.file)
      if (volume(piece.sizes) === 0) continue
      moved += tensorItem(tensor.dtype, piece.sizes).dataLength
      // Registers the chunk, so that its header is read.
      chunks.whole(key, { dtype: tensor.dtype, shape: piece.item.sizes, chunks: [{ ...piece.item, offsets: piece.item.sizes.map(() => 0) }] }, key)
    }
  }
  const raw = new Map<string, SourceArray>()
  const outputs = new Map<string, Output>()
  const outputOf = (name: string): Output => {
    let output = outputs.get(name)
    if (!output) outputs.set(name, output = new Output(name))
    return output
  }
  const verbatim = new Map<string, Place>()
  const copied = (key: string, { file, length, offset }: Place): Place => {
    const id = `${RAW}${file}:${offset}:${length}`
    const known = verbatim.get(id)
    if (known) return known
    raw.set(id, { path: source.pathOf(file), offset, dtype: "U8", shape: [length] })
    const place = outputOf(file).add(length, () => [rawSegment(id, key, length)])
    verbatim.set(id, place)
    return place
  }
  const placed = (key: string, tensor: DraftTensor, piece: Piece): StoredChunk => {
    const { item, offsets, sizes } = piece
    if (isWhole(piece)) return { offsets, sizes, ...(touched.has(item.file) ? copied(key, item) : { file: item.file, offset: item.offset, length: item.length }) }
    const layout = tensorItem(tensor.dtype, sizes)
    const place = outputOf(item.file).add(layout.length, () => [
      { kind: "bytes", bytes: layout.prefix },
      {
        kind: "array",
        array: { id: key, dtype: tensor.dtype, shape: sizes, copies: volume(sizes) === 0 ? [] : chunks.settle([copyOf(piece, key)]) },
        crc: true
      },
      { kind: "seal", length: layout.suffixLength, bytes: layout.suffix }
    ])
    return { offsets, sizes, ...place }
  }

  const beside = unusedFile(new Set(source.files.keys()))
  const fresh = new Map<string, Place>()
  const supplied = (id: string, bytes: Uint8Array, file: string): Place => {
    let place = fresh.get(id)
    if (!place) fresh.set(id, place = outputOf(file).add(bytes.byteLength, () => [{ kind: "bytes", bytes }]))
    return place
  }
  const payloads = { empty: () => objectItem(EMPTY_UINT8), none: () => objectItem(null) } as const
  let count = 0
  const placedObject = (key: string, object: DraftObject): StoredObject => {
    if (typeof object === "string") {
      count++
      return supplied(object, payloads[object](), beside)
    }
    const content = replaced.get(key)
    if (content) return supplied(key, content, touched.has(object.file) ? object.file : beside)
    return touched.has(object.file) ? copied(key, object) : object
  }
  // Items keep the order they have on disk; objects come first, as trainers write them.
  const placedObjects = new Map([...draft.objects].sort(([, x], [, y]) => (typeof x === "string" || typeof y === "string" ? 0 : byPlace(x, y)))
    .map(([key, object]) => [key, placedObject(key, object)] as const))
  const objects = new Map([...draft.objects.keys()].map((key) => [key, placedObjects.get(key)!]))
  const order = [...draft.tensors].flatMap(([key, tensor]) => tensor.pieces.map((piece, i) => ({ key, tensor, piece, i })))
  const inPlace = [...order].sort((a, b) => byPlace(a.piece.item, b.piece.item))
  const stored = new Map<Piece, StoredChunk>()
  for (const { key, piece, tensor } of inPlace) stored.set(piece, placed(key, tensor, piece))
  const tensors = new Map([...draft.tensors].map(([key, tensor]): [string, StoredTensor] => [
    key,
    { dtype: tensor.dtype, shape: tensor.shape, chunks: tensor.pieces.map((piece) => stored.get(piece)!) }
  ]))
  // A file whose only item was replaced holds nothing any more.
  const used = new Set([...[...tensors.values()].flatMap((t) => t.chunks.map((c) => c.file)), ...[...objects.values()].map((o) => o.file)])
  return {
    kept: [...source.files.keys()].filter((name) => !touched.has(name) && used.has(name)),
    written: [...outputs.keys()].sort(byFile),
    supplied: count,
    moved,
    metadata: { className: "torch.distributed.checkpoint.metadata.Metadata", tensors, objects },
    chunks,
    sources: { get: (id) => (id.startsWith(RAW) ? raw.get(id) : chunks.get(id)) },
    files: () => [...outputs.values()].map((output) => output.file())
  }
}

const byPlace = (a: Place, b: Place): number => byFile(a.file, b.file) || a.offset - b.offset
