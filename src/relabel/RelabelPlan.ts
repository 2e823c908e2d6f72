/**
 * From a relabelled draft to files: which data files stay as they are, which are written anew, and the `.metadata` of the
 * result. Pure.
 */
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import type { StoredArrays } from "../checkpoint/StoredArrays.ts"
import { rankFileName } from "../checkpoint/Placement.ts"
import { bytesSegment, type ItemPlace, ItemFiles } from "../checkpoint/ItemFile.ts"
import type { TargetArray, TargetFile } from "../engine/index.ts"
import { volume } from "../tensor/Copy.ts"
import type { DcpMetadata, StoredChunk, StoredObject, StoredTensor } from "../torch/DcpMetadata.ts"
import { objectItem } from "../torch/ObjectItem.ts"
import { EMPTY_UINT8 } from "../torch/PyValue.ts"
import { tensorItem } from "../torch/TensorItem.ts"
import { byFile, type Draft, type DraftObject, type DraftTensor, isWhole, type ItemPiece } from "./Draft.ts"

export interface RelabelPlan {
  /** Data files that stay byte for byte. */
  readonly kept: ReadonlyArray<string>
  /** Names of data files that get new items in place of old ones, and of the file of supplied objects. */
  readonly written: ReadonlyArray<string>
  readonly supplied: number
  /** Bytes of items that are written because their shape changed. */
  readonly moved: number
  readonly metadata: DcpMetadata
  readonly files: ReadonlyArray<TargetFile>
}

/** The chunks that get new items, and the bytes of those. */
export interface MovedChunks {
  readonly chunks: ChunkSelection
  /** Data files that hold some. */
  readonly files: ReadonlySet<string>
  readonly bytes: number
}

/** Every piece that is no longer its whole item needs a new one. */
export const movedChunks = (draft: Draft, directory: string): MovedChunks => {
  const chunks = new ChunkSelection(directory)
  const files = new Set<string>()
  let bytes = 0
  for (const [key, { dtype, pieces }] of draft.tensors) {
    for (const piece of pieces) {
      if (isWhole(piece)) continue
      const { item, sizes } = piece
      files.add(item.file)
      if (volume(sizes) === 0) continue
      bytes += tensorItem(dtype, sizes).dataLength
      chunks.add(key, { dtype, shape: item.sizes, chunks: [{ ...item, offsets: item.sizes.map(() => 0) }] })
    }
  }
  return { chunks, files, bytes }
}

/** A name that no data file has: of rank 0, beside its first file. */
const unusedFile = (names: ReadonlySet<string>): string => {
  for (let number = 1; ; number++) {
    const name = rankFileName({ rank: 0, number })
    if (!names.has(name)) return name
  }
}

/** The data files of the source. */
export interface RelabelSource {
  readonly files: ReadonlyMap<string, number>
  readonly pathOf: (file: string) => string
  /** What a file that is written anew is called; default: as it is. */
  readonly nameOf?: (file: string) => string
}

/**
 * `stored`: the {@link movedChunks}, their headers read. `pathOf`: where a data file lies. `replaced`: objects with new content, by
 * key. A file with a moved chunk is written anew; its other items are copied as they are, so that no dead bytes stay behind.
 */
export const planRelabel = (
  draft: Draft,
  moved: MovedChunks,
  stored: StoredArrays,
  source: RelabelSource,
  replaced: ReadonlyMap<string, Uint8Array>
): RelabelPlan => {
  const touched = moved.files
  const nameOf = source.nameOf ?? ((file: string) => file)
  const outputs = new ItemFiles()
  const copies = new Map<string, ItemPlace>()
  const copied = (key: string, { file, length, offset }: ItemPlace): ItemPlace => {
    const id = JSON.stringify([file, offset, length])
    const known = copies.get(id)
    if (known) return known
    const place = outputs.named(file).verbatim({ path: source.pathOf(file), offset }, key, length)
    copies.set(id, place)
    return place
  }
  const placed = (key: string, tensor: DraftTensor, piece: ItemPiece): StoredChunk => {
    const { item, offsets, sizes } = piece
    if (isWhole(piece)) return { offsets, sizes, ...(touched.has(item.file) ? copied(key, item) : { file: item.file, offset: item.offset, length: item.length }) }
    return { offsets, sizes, ...outputs.named(nameOf(item.file)).tensor(arrayOf(key, tensor, piece, stored), sizes) }
  }

  const beside = unusedFile(new Set(Array.from(source.files.keys(), nameOf)))
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
    if (object instanceof Uint8Array) return supplied(key, object, beside)
    const content = replaced.get(key)
    if (content) return supplied(key, content, touched.has(object.file) ? object.file : beside)
    return touched.has(object.file) ? copied(key, object) : object
  }
  // Items keep the order they have on disk; objects come first, as trainers write them.
  const placedObjects = new Map([...draft.objects].sort(([, x], [, y]) => (isStored(x) && isStored(y) ? byPlace(x, y) : 0))
    .map(([key, object]) => [key, placedObject(key, object)] as const))
  const objects = new Map([...draft.objects.keys()].map((key) => [key, placedObjects.get(key)!]))
  const order = [...draft.tensors].flatMap(([key, tensor]) => tensor.pieces.map((piece, i) => ({ key, tensor, piece, i })))
  const inPlace = [...order].sort((a, b) => byPlace(a.piece.item, b.piece.item))
  const chunks = new Map<ItemPiece, StoredChunk>()
  for (const { key, piece, tensor } of inPlace) chunks.set(piece, placed(key, tensor, piece))
  const tensors = new Map([...draft.tensors].map(([key, tensor]): [string, StoredTensor] => [
    key,
    { dtype: tensor.dtype, shape: tensor.shape, chunks: tensor.pieces.map((piece) => chunks.get(piece)!) }
  ]))
  // A file whose only item was replaced holds nothing any more.
  const used = new Set([...[...tensors.values()].flatMap((t) => t.chunks.map((c) => c.file)), ...[...objects.values()].map((o) => o.file)])
  return {
    kept: [...source.files.keys()].filter((name) => !touched.has(name) && used.has(name)),
    written: outputs.names.toSorted(byFile),
    supplied: count,
    moved: moved.bytes,
    metadata: { className: "torch.distributed.checkpoint.metadata.Metadata", tensors, objects },
    files: outputs.files()
  }
}

const arrayOf = (id: string, { dtype }: DraftTensor, { axes, item, sizes, start }: ItemPiece, stored: StoredArrays): TargetArray =>
  ({ id, dtype, shape: sizes, copies: () => stored.box(item, start, sizes, axes, id) })

const isStored = (object: DraftObject): object is StoredObject => typeof object !== "string" && !(object instanceof Uint8Array)

const byPlace = (a: ItemPlace, b: ItemPlace): number => byFile(a.file, b.file) || a.offset - b.offset
