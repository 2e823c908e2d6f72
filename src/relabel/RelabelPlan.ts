/**
 * From a relabelled draft to files: which data files stay as they are, which are written anew, and the `.metadata` of the
 * result. Pure.
 */
import { chunkId, StoredChunks } from "../checkpoint/StoredChunks.ts"
import { rankFileName } from "../checkpoint/Placement.ts"
import { bytesSegment, type ItemPlace, ItemFiles } from "../checkpoint/ItemFile.ts"
import type { SourceArray, Sources, TargetArray, TargetFile } from "../engine/Target.ts"
import { type Copy, type Shape, stridesOf, volume } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
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

const RAW = "raw:"

/** A piece as an array; its copies are settled when they are asked for, because the headers of the chunks are read in between. */
class PieceArray implements TargetArray {
  readonly id: string
  readonly dtype: DType
  readonly shape: Shape
  readonly #chunks: StoredChunks
  readonly #piece: Piece

  constructor(id: string, dtype: DType, piece: Piece, chunks: StoredChunks) {
    this.id = id
    this.dtype = dtype
    this.shape = piece.sizes
    this.#chunks = chunks
    this.#piece = piece
  }

  get copies(): ReadonlyArray<Copy> {
    return volume(this.shape) === 0 ? [] : this.#chunks.settle([copyOf(this.#piece, this.id)])
  }
}

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
  const outputs = new ItemFiles()
  const verbatim = new Map<string, ItemPlace>()
  const copied = (key: string, { file, length, offset }: ItemPlace): ItemPlace => {
    const id = `${RAW}${file}:${offset}:${length}`
    const known = verbatim.get(id)
    if (known) return known
    raw.set(id, { path: source.pathOf(file), offset, dtype: "U8", shape: [length] })
    const place = outputs.named(file).verbatim(id, key, length)
    verbatim.set(id, place)
    return place
  }
  const placed = (key: string, tensor: DraftTensor, piece: Piece): StoredChunk => {
    const { item, offsets, sizes } = piece
    if (isWhole(piece)) return { offsets, sizes, ...(touched.has(item.file) ? copied(key, item) : { file: item.file, offset: item.offset, length: item.length }) }
    return { offsets, sizes, ...outputs.named(item.file).tensor(new PieceArray(key, tensor.dtype, piece, chunks), sizes) }
  }

  const beside = unusedFile(new Set(source.files.keys()))
  const fresh = new Map<string, ItemPlace>()
  const supplied = (id: string, bytes: Uint8Array, file: string): ItemPlace => {
    let place = fresh.get(id)
    if (!place) fresh.set(id, place = outputs.named(file).object(bytesSegment(bytes)))
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
    written: outputs.names.toSorted(byFile),
    supplied: count,
    moved,
    metadata: { className: "torch.distributed.checkpoint.metadata.Metadata", tensors, objects },
    chunks,
    sources: { get: (id) => (id.startsWith(RAW) ? raw.get(id) : chunks.get(id)) },
    files: () => outputs.files()
  }
}

const byPlace = (a: ItemPlace, b: ItemPlace): number => byFile(a.file, b.file) || a.offset - b.offset
