/**
 * A tensor space, opened: named tensors, and where the bytes of each are. Hugging Face weights, a Megatron checkpoint, a single data file
 * or archive are all this; whatever reads tensors says so of this type. Only headers are read to open one.
 */
import { join } from "node:path"
import type { SourceArray, SourceCopy } from "../engine/index.ts"
import { UsageError, Unsupported } from "../errors.ts"
import { type KeyRole, roleOf } from "../model/storedKey.ts"
import { type BlockLayout, fromBlocks } from "../quantized/blocks.ts"
import { type Copy, identity, readFrom, rebase, type Shape, volume, wholeBox } from "../tensor/Copy.ts"
import { compose } from "../tensor/compose.ts"
import { bitsOf, type DType } from "../tensor/DType.ts"
import type { StoredChunk, StoredTensor } from "../torch/DcpMetadata.ts"

/** Where the elements of a tensor are. Offsets and lengths in bytes; `file` is relative to `directory`. */
export type FilePlace = RangePlace | ViewPlace | ComposedPlace | CodesPlace

/** One range of a file, in C order. */
export interface RangePlace {
  readonly kind: "range"
  readonly directory: string
  readonly file: string
  readonly offset: number
  readonly length: number
}

/** Elements of a storage in a `torch.save` archive, from `offset` of the file on. */
export interface ViewPlace {
  readonly kind: "view"
  readonly directory: string
  readonly file: string
  readonly offset: number
  /** From there to the end of the storage. */
  readonly elements: number
  /** In elements; undefined where they lie in C order. */
  readonly strides: ReadonlyArray<number> | undefined
  /** The archive, or the storage in it. */
  readonly item: { readonly offset: number; readonly length: number }
  /** The storage, and the CRC-32 stored with it. */
  readonly storage: { readonly start: number; readonly end: number; readonly crc32: number }
}

/** One range of a file whose elements stand in another order. */
export interface ComposedPlace {
  readonly kind: "composed"
  readonly directory: string
  readonly file: string
  readonly offset: number
  readonly length: number
  /** How they make the tensor. */
  readonly copy: Copy<SourceArray>
}

/** BF16 values that codes and scales in files stand for. */
export interface CodesPlace {
  readonly kind: "codes"
  /** For people, e.g. `FP8 E4M3, 128×128 blocks`. */
  readonly form: string
  readonly layout: BlockLayout<SourceArray>
}

/** Items of the data files of a Megatron checkpoint; their headers say where in them the elements lie. */
export interface ItemsPlace {
  readonly kind: "items"
  readonly directory: string
  /** What the index says of the tensor, its chunks included. */
  readonly stored: StoredTensor
}

export type TensorPlace = FilePlace | ItemsPlace

export interface SpaceTensor<P extends TensorPlace = TensorPlace> {
  readonly name: string
  readonly dtype: DType
  /** Global shape. */
  readonly shape: Shape
  /** What it takes in its files, without the overhead of items. */
  readonly bytes: number
  readonly role: KeyRole
  readonly place: P
}

export interface TensorSpace<P extends TensorPlace = TensorPlace> {
  readonly tensors: ReadonlyMap<string, SpaceTensor<P>>
}

/** Bytes of the elements; sub-byte dtypes are rounded up. */
export const bytesOfTensor = (dtype: DType, shape: Shape): number => Math.ceil((volume(shape) * bitsOf(dtype)) / 8)

/** Whether the elements of a tensor are in such a place. */
export const isIn = <K extends TensorPlace["kind"]>(kind: K) => (tensor: SpaceTensor): tensor is SpaceTensor<Extract<TensorPlace, { kind: K }>> => tensor.place.kind === kind

/** An entry of the index of the checkpoint in `directory`. */
export const itemsTensor = (directory: string, name: string, stored: StoredTensor, role = roleOf(name)): SpaceTensor<ItemsPlace> => {
  const { dtype, shape } = stored
  return { name, dtype, shape, bytes: bytesOfTensor(dtype, shape), role, place: { kind: "items", directory, stored } }
}

/** The boxes in which a tensor is stored, and the byte range of each; none for values that codes stand for. */
export const chunksOf = ({ place, shape }: SpaceTensor): ReadonlyArray<StoredChunk> => {
  switch (place.kind) {
    case "items": return place.stored.chunks
    case "composed":
    case "range": return [{ offsets: shape.map(() => 0), sizes: shape, file: place.file, offset: place.offset, length: place.length }]
    case "view": return [{ offsets: shape.map(() => 0), sizes: shape, file: place.file, ...place.item }]
    case "codes": return []
  }
}

/** A tensor that lies in one range, as an array. */
export const rangeArray = ({ dtype, place, shape }: SpaceTensor<RangePlace>): SourceArray =>
  ({ path: join(place.directory, place.file), offset: place.offset, dtype, shape })

/** A copy from a tensor, as copies from what is in the files. Throws Unsupported for arithmetic on values that are codes. */
export const copiesFrom = (tensor: SpaceTensor<FilePlace>, copy: Copy): ReadonlyArray<SourceCopy> => {
  const { dtype, name, place, shape } = tensor
  switch (place.kind) {
    case "range": return [readFrom(copy, () => ({ path: join(place.directory, place.file), offset: place.offset, dtype, shape }))]
    case "view": {
      const array = { path: join(place.directory, place.file), offset: place.offset, dtype, shape: place.strides ? [place.elements] : shape }
      const own = readFrom(copy, () => array)
      return place.strides ? rebase(own, "source", shape, wholeBox(shape), array, shape, shape.map(() => 0), place.strides) : [own]
    }
    case "composed": return copy.transform?.kind === "fill" ? [readFrom(copy, () => place.copy.source.tensor)] : compose(place.copy, copy, shape)
    case "codes": {
      // A constant does not depend on what is read.
      if (copy.transform?.kind === "fill") return [readFrom(copy, () => place.layout.codes.tensor)]
      if (copy.transform) {
        throw new Unsupported({ code: "unsupported/quantised", what: name, problem: `is quantised (${place.form}), and its values would have to be changed once more (${copy.transform.kind})` })
      }
      return fromBlocks(copy, place.layout)
    }
  }
}

/** A copy from a tensor of the space, as copies from what is in the files. Throws RangeError for a name that it does not have. */
export const readSpace = ({ tensors }: TensorSpace<FilePlace>) => (copy: Copy): ReadonlyArray<SourceCopy> => {
  const tensor = tensors.get(copy.source.tensor)
  if (!tensor) throw new RangeError(`there is no tensor ${copy.source.tensor}`)
  return copiesFrom(tensor, copy)
}

/** The copies that give a whole tensor, under the name `target`. */
export const wholeTensor = (tensor: SpaceTensor<FilePlace>, target = tensor.name): ReadonlyArray<SourceCopy> =>
  volume(tensor.shape) === 0 ? [] : copiesFrom(tensor, identity(tensor.name, target, tensor.shape))

/** The same tensors, each name behind a prefix. */
export const prefixed = <P extends TensorPlace>({ tensors }: TensorSpace<P>, prefix: string): TensorSpace<P> =>
  ({ tensors: new Map(Array.from(tensors.values(), (tensor) => [prefix + tensor.name, { ...tensor, name: prefix + tensor.name }] as const)) })

/** The tensors of both, those of `a` first. @throws UsageError for a name that both have */
export const union = <P extends TensorPlace, Q extends TensorPlace>(a: TensorSpace<P>, b: TensorSpace<Q>): TensorSpace<P | Q> => {
  const tensors = new Map<string, SpaceTensor<P | Q>>(a.tensors)
  for (const [name, tensor] of b.tensors) {
    if (tensors.has(name)) throw new UsageError({ problem: `both of the spaces to be joined have a tensor ${name}` })
    tensors.set(name, tensor)
  }
  return { tensors }
}
