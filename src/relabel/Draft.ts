/**
 * A checkpoint being relabelled: every stored tensor as pieces of the items that exist. Rules rename keys, cut pieces along an
 * axis, drop and add axes of extent one; nothing is read or written. A piece that still is its whole item, in the item's own
 * shape, stays where it lies; any other needs a new item, because an item records its shape.
 */
import { PlanRefused } from "../errors.ts"
import { rankOf } from "../checkpoint/names.ts"
import { modelKeyOf, type ModelKey } from "../model/storedKey.ts"

export { modelKeyOf }
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import type { DcpMetadata, StoredChunk, StoredObject } from "../torch/DcpMetadata.ts"

export interface ItemPiece {
  /** Box in the tensor. */
  readonly offsets: ReadonlyArray<number>
  readonly sizes: ReadonlyArray<number>
  readonly item: StoredChunk
  /** First element taken along each axis of the item. */
  readonly start: ReadonlyArray<number>
  /** The item's axis behind each axis of the piece; undefined: an axis of extent 1 that the item does not have. */
  readonly axes: ReadonlyArray<number | undefined>
}

export interface DraftTensor {
  readonly dtype: DType
  readonly shape: Shape
  readonly pieces: ReadonlyArray<ItemPiece>
}

/** An object that exists, or one to be supplied: `torch.save([empty uint8 tensor])`, `torch.save([None])`, or an item given whole. */
export type DraftObject = StoredObject | "empty" | "none" | Uint8Array

export interface Draft {
  readonly tensors: ReadonlyMap<string, DraftTensor>
  readonly objects: ReadonlyMap<string, DraftObject>
  /** Changes of `content_metadata`, by which loaders decide which keys they ask for; null removes an entry. */
  readonly content: ReadonlyMap<string, boolean | null>
  readonly notes: ReadonlyArray<string>
}

/** Flat fragments of an old core are left out: they are no slices of their tensor, so no rule can cut or name them. */
export const draftOf = (metadata: DcpMetadata): Draft => ({
  tensors: new Map([...metadata.tensors].filter(([key]) => !metadata.flattened?.has(key)).map(([key, { chunks, dtype, shape }]) => [key, {
    dtype,
    shape,
    pieces: chunks.map((item): ItemPiece => ({
      offsets: item.offsets,
      sizes: item.sizes,
      item,
      start: item.sizes.map(() => 0),
      axes: item.sizes.map((_, axis) => axis)
    }))
  }])),
  objects: metadata.objects,
  content: new Map(),
  notes: metadata.flattened
    ? [`${metadata.flattened.size} optimizer tensors in flat fragments are left behind: Megatron-Core up to 0.15 wrote them, and no later one reads them`]
    : []
})

/** The piece is its whole item, in its shape. A view of a storage is no item. */
export const isWhole = ({ axes, item, sizes, start }: ItemPiece): boolean =>
  item.view === undefined && item.itemSizes === undefined && axes.length === item.sizes.length && axes.every((axis, k) => axis === k && sizes[k] === item.sizes[k] && start[k] === 0)

const replaced = <A>(list: ReadonlyArray<A>, at: number, value: A): Array<A> => list.map((old, k) => (k === at ? value : old))
const without = <A>(list: ReadonlyArray<A>, at: number): Array<A> => list.filter((_, k) => k !== at)
const inserted = <A>(list: ReadonlyArray<A>, at: number, value: A): Array<A> => [...list.slice(0, at), value, ...list.slice(at)]

/** The part of a piece whose coordinates along `axis` lie in [low, high), counted from `low`; undefined if there is none. */
export const cut = (piece: ItemPiece, axis: number, low: number, high: number): ItemPiece | undefined => {
  const begin = Math.max(low, piece.offsets[axis]!)
  const end = Math.min(high, piece.offsets[axis]! + piece.sizes[axis]!)
  if (begin >= end) return undefined
  const own = piece.axes[axis]
  return {
    ...piece,
    offsets: replaced(piece.offsets, axis, begin - low),
    sizes: replaced(piece.sizes, axis, end - begin),
    start: own === undefined ? piece.start : replaced(piece.start, own, piece.start[own]! + begin - piece.offsets[axis]!)
  }
}

/** Slice `index` along `axis` of a tensor, without that axis. */
export const sliceAt = (tensor: DraftTensor, axis: number, index: number): DraftTensor => ({
  dtype: tensor.dtype,
  shape: without(tensor.shape, axis),
  pieces: tensor.pieces.flatMap((piece) => {
    const own = cut(piece, axis, index, index + 1)
    return own
      ? [{ ...own, offsets: without(own.offsets, axis), sizes: without(own.sizes, axis), axes: without(own.axes, axis) }]
      : []
  })
})

/** Rows [low, high) along `axis`. */
export const range = (tensor: DraftTensor, axis: number, low: number, high: number): DraftTensor => ({
  dtype: tensor.dtype,
  shape: replaced(tensor.shape, axis, high - low),
  pieces: tensor.pieces.flatMap((piece) => cut(piece, axis, low, high) ?? [])
})

/** Tensors of equal shape and dtype under one key, along a new first axis. The opposite of {@link sliceAt} along axis 0. */
export const stack = (tensors: ReadonlyArray<DraftTensor>): DraftTensor => ({
  dtype: tensors[0]!.dtype,
  shape: [tensors.length, ...tensors[0]!.shape],
  pieces: inDiskOrder(tensors.flatMap(({ pieces }, i) =>
    pieces.map((piece) => restored({
      ...piece,
      offsets: inserted(piece.offsets, 0, i),
      sizes: inserted(piece.sizes, 0, 1),
      axes: inserted(piece.axes, 0, undefined)
    }))))
})

/** Tensors joined along an axis that they have. The opposite of {@link range}. */
export const concatenate = (tensors: ReadonlyArray<DraftTensor>, axis: number): DraftTensor => {
  let offset = 0
  const pieces: Array<ItemPiece> = []
  for (const tensor of tensors) {
    for (const piece of tensor.pieces) pieces.push({ ...piece, offsets: replaced(piece.offsets, axis, piece.offsets[axis]! + offset) })
    offset += tensor.shape[axis]!
  }
  return { dtype: tensors[0]!.dtype, shape: replaced(tensors[0]!.shape, axis, offset), pieces: inDiskOrder(pieces) }
}

/** Rank by rank, as trainers list the chunks of a tensor. */
const inDiskOrder = (pieces: ReadonlyArray<ItemPiece>): ReadonlyArray<ItemPiece> =>
  [...pieces].sort((a, b) => byFile(a.item.file, b.item.file) || a.item.offset - b.item.offset)

/** Data files by rank and number, others by name. */
export const byFile = (a: string, b: string): number => {
  const [x, y] = [rankOf(a), rankOf(b)]
  return x && y ? x.rank - y.rank || x.number - y.number : a < b ? -1 : a > b ? 1 : 0
}

/** An added axis that stands where the item has an axis of extent 1 is that axis: the item then fits as it is. */
const restored = (piece: ItemPiece): ItemPiece => {
  const { axes, item, sizes } = piece
  if (axes.length !== item.sizes.length) return piece
  const fits = axes.every((axis, k) => axis === k || (axis === undefined && sizes[k] === 1 && item.sizes[k] === 1))
  return fits ? { ...piece, axes: axes.map((_, k) => k) } : piece
}

const collision = (key: string): never => {
  throw new PlanRefused({ code: "relabel/collision", problem: "two entries would have the same key", names: [key] })
}

/** Entries that replace one of the draft's; the key is that of the model, its space is kept. */
export type Replacement<A> = ReadonlyArray<readonly [key: string, entry: A]>

/**
 * Replace entries in place, so that the order of the checkpoint is kept. A rule that returns undefined leaves its entry.
 */
export const rewrite = (
  draft: Draft,
  rule: {
    readonly tensor?: (key: string, tensor: DraftTensor, space: string) => Replacement<DraftTensor> | undefined
    readonly object?: (key: string, object: DraftObject) => Replacement<DraftObject> | undefined
  }
): Draft => {
  const tensors = new Map<string, DraftTensor>()
  const objects = new Map<string, DraftObject>()
  const put = <A>(into: Map<string, A>, key: string, entry: A) => {
    if (tensors.has(key) || objects.has(key)) collision(key)
    into.set(key, entry)
  }
  for (const [full, tensor] of draft.tensors) {
    const own = modelKeyOf(full)
    const found = own && rule.tensor?.(own.key, tensor, own.space)
    if (!found) put(tensors, full, tensor)
    else for (const [key, entry] of found) put(tensors, own.space + key, entry)
  }
  for (const [full, object] of draft.objects) {
    const own = modelKeyOf(full)
    const found = own && rule.object?.(own.key, object)
    if (!found) put(objects, full, object)
    else for (const [key, entry] of found) put(objects, own.space + key, entry)
  }
  return { ...draft, tensors, objects }
}

/** Give the entries of the model, and what an optimizer has of them, other keys. */
export const moveKeys = (draft: Draft, to: (own: ModelKey) => ModelKey): Draft => {
  const moved = (full: string): string => {
    const own = modelKeyOf(full)
    if (!own) return full
    const { key, space } = to(own)
    return space + key
  }
  const tensors = new Map<string, DraftTensor>()
  const objects = new Map<string, DraftObject>()
  const free = (key: string): string => (tensors.has(key) || objects.has(key) ? collision(key) : key)
  for (const [key, tensor] of draft.tensors) tensors.set(free(moved(key)), tensor)
  for (const [key, object] of draft.objects) objects.set(free(moved(key)), object)
  return { ...draft, tensors, objects }
}

/** Rename the keys of tensors and module states, the same in every space. */
export const rename = (draft: Draft, to: (key: string) => string): Draft => moveKeys(draft, ({ key, space }) => ({ space, key: to(key) }))

/** Keys of the model's own tensors, without optimizer states. */
export const modelKeys = (draft: Draft): ReadonlyArray<string> =>
  [...draft.tensors.keys()].filter((key) => modelKeyOf(key)?.space === "")

export const noted = (draft: Draft, note: string): Draft => ({ ...draft, notes: [...draft.notes, note] })

export const withContent = (draft: Draft, field: string, value: boolean | null): Draft =>
  ({ ...draft, content: new Map(draft.content).set(field, value) })
