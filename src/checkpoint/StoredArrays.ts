/**
 * Stored chunks whose headers are read, as arrays in files. A parameter's bytes may be cut into any boxes; its copies are cut along
 * the chunks that they meet and re-addressed inside them. Pure, but for {@link readChunks}.
 */
import { join } from "node:path"
import type { Store } from "../store/Store.ts"
import type { SourceArray, SourceCopy } from "../engine/index.ts"
import { type Box, type Copy, coordinates, rebase, type Shape, stridesOf, volume, wholeBox } from "../tensor/Copy.ts"
import { bytesOf } from "../tensor/DType.ts"
import type { ChunkView, StoredChunk, StoredTensor } from "../torch/DcpMetadata.ts"
import { fillsItsStorage } from "../torch/TensorItem.ts"
import type { ChunkSelection } from "./ChunkSelection.ts"
import { type ChunkSource, itemOf, readItemHeaders } from "./ItemHeaders.ts"
import { type LocatedPart, rowsOf, storedBox } from "./LocatedPart.ts"
import type { Storage } from "./StorageSums.ts"

/** A parameter and where it is stored: all that its way back to HF tensors needs. */
export interface StoredParameter {
  readonly shape: Shape
  /** From HF tensors to it. */
  readonly copies: ReadonlyArray<Copy>
  readonly parts: ReadonlyArray<LocatedPart>
}

/** Where the elements of a chunk lie; `strides` if they are not in C order there: an item may be a view of its storage. */
interface ChunkPlace {
  readonly array: SourceArray
  readonly strides?: ReadonlyArray<number>
}

export class StoredArrays {
  readonly #selection: ChunkSelection

  /** Only {@link readChunks} makes one. */
  constructor(selection: ChunkSelection) {
    this.#selection = selection
  }

  /** A chunk whose elements lie in C order, as an array; undefined if they do not, or there are none. */
  array(chunk: StoredChunk): SourceArray | undefined {
    const place = volume(chunk.sizes) === 0 ? undefined : this.#place(chunk)
    return place && !place.strides ? { ...place.array, shape: chunk.sizes } : undefined
  }

  /** What the chosen chunks are stored in. */
  *storages(): Generator<Storage> {
    for (const [file, sources] of this.#selection.chosen) {
      const path = join(this.#selection.directory, file)
      for (const source of sources.values()) {
        const item = itemRead(source)
        const start = source.chunk.offset + item.dataOffset
        yield { path, key: source.key, start, end: start + item.dataLength, crc32: item.crc32 }
      }
    }
    // Many tensors may be views of one storage.
    const storages = new Map<string, Storage>()
    for (const [{ file, view }, key] of this.#selection.views) storages.set(`${view!.storage.start} ${file}`, { path: join(this.#selection.directory, file), key, ...view!.storage })
    yield* storages.values()
  }

  /** A box of a chunk as the whole of the array `target`; an axis of extent 1 that the chunk lacks has no `axes` entry. */
  box(chunk: StoredChunk, start: ReadonlyArray<number>, sizes: Shape, axes: ReadonlyArray<number | undefined>, target: string): ReadonlyArray<SourceCopy> {
    if (volume(sizes) === 0) return []
    const place = this.#place(chunk)
    const strides = place.strides ?? stridesOf(chunk.sizes)
    return [{
      shape: sizes,
      source: {
        tensor: place.array,
        offset: start.reduce((sum, s, axis) => sum + s * strides[axis]!, 0),
        strides: axes.map((axis) => (axis === undefined ? 0 : strides[axis]!))
      },
      target: { tensor: target, offset: 0, strides: stridesOf(sizes) }
    }]
  }

  /** The copies that assemble a stored tensor under the name `target`. */
  whole(tensor: StoredTensor, target: string): ReadonlyArray<SourceCopy> {
    const strides = stridesOf(tensor.shape)
    return tensor.chunks.filter((c) => volume(c.sizes) > 0).map((chunk) => {
      const place = this.#place(chunk)
      return {
        shape: chunk.sizes,
        source: { tensor: place.array, offset: 0, strides: place.strides ?? stridesOf(chunk.sizes) },
        target: { tensor: target, offset: chunk.offsets.reduce((sum, o, k) => sum + o * strides[k]!, 0), strides }
      }
    })
  }

  /** The copies that assemble a box of a stored tensor under the name `target`. */
  within(tensor: StoredTensor, box: Box, target: string): ReadonlyArray<SourceCopy> {
    const strides = stridesOf(box.sizes)
    return Array.from(this.#selection.meeting(tensor, box), (chunk): SourceCopy => {
      const low = box.offsets.map((o, k) => Math.max(o, chunk.offsets[k]!))
      const place = this.#place(chunk)
      const own = place.strides ?? stridesOf(chunk.sizes)
      return {
        shape: low.map((l, k) => Math.min(box.offsets[k]! + box.sizes[k]!, chunk.offsets[k]! + chunk.sizes[k]!) - l),
        source: { tensor: place.array, offset: low.reduce((sum, l, k) => sum + (l - chunk.offsets[k]!) * own[k]!, 0), strides: own },
        target: { tensor: target, offset: low.reduce((sum, l, k) => sum + (l - box.offsets[k]!) * strides[k]!, 0), strides }
      }
    })
  }

  /**
   * A copy from a stored tensor, addressed in its C order, as copies from the chunks that it meets: along its last axis it may be cut anywhere.
   */
  from(tensor: StoredTensor, copy: Copy): ReadonlyArray<SourceCopy> {
    const { operands: _, source, ...rest } = copy
    const axes = coordinates(rest, source, tensor.shape)
    const hull: Box = {
      offsets: axes.map(({ base }) => base),
      sizes: axes.map(({ digits }) => digits.reduce((reach, { count, step }) => reach + (count - 1) * step, 1))
    }
    const start = tensor.shape.map(() => 0)
    return Array.from(this.#selection.meeting(tensor, hull)).flatMap((chunk) => {
      const { array, strides } = this.#place(chunk)
      return rebase({ ...rest, source: { ...source, tensor: array } }, "source", tensor.shape, chunk, array, chunk.sizes, start, strides)
    })
  }

  /** The copies of a parameter that fill the HF tensor `name`, turned round: from stored chunks to it. */
  toHf({ copies, parts, shape }: StoredParameter, name: string): ReadonlyArray<SourceCopy> {
    const wanted = copies.filter((copy) => !copy.echo && copy.source.tensor === name)
    const out: Array<SourceCopy> = []
    for (const { part, tensor } of parts) {
      const own = rowsOf(shape, part)
      const stored = storedBox(part, own)
      const lead = part.shape.length - shape.length
      for (const chunk of this.#selection.meeting(tensor, stored)) {
        const { array, strides } = this.#place(chunk)
        // The meeting of part and chunk, in the parameter's coordinates and in the chunk's.
        const low = stored.offsets.map((o, k) => Math.max(o, chunk.offsets[k]!))
        const high = stored.offsets.map((o, k) => Math.min(o + stored.sizes[k]!, chunk.offsets[k]! + chunk.sizes[k]!))
        const box: Box = {
          offsets: own.offsets.map((o, k) => o + low[k + lead]! - stored.offsets[k + lead]!),
          sizes: own.sizes.map((_, k) => high[k + lead]! - low[k + lead]!)
        }
        const at = low.map((l, k) => l - chunk.offsets[k]!)
        for (const copy of wanted) {
          for (const { source: hf, target: megatron, operands: _, ...rest } of rebase(copy, "target", shape, box, part.key, chunk.sizes, at)) {
            const turned: SourceCopy = { ...rest, source: { ...megatron, tensor: array }, target: hf }
            if (!strides) out.push(turned)
            else out.push(...rebase(turned, "source", chunk.sizes, wholeBox(chunk.sizes), array, chunk.sizes, chunk.sizes.map(() => 0), strides))
          }
        }
      }
    }
    return out
  }

  #place(chunk: StoredChunk): ChunkPlace {
    if (chunk.view) return viewPlace(join(this.#selection.directory, chunk.file), chunk, chunk.view)
    const source = this.#selection.chosen.get(chunk.file)?.get(chunk.offset)
    if (!source) throw new RangeError(`the item at byte ${chunk.offset} of ${chunk.file} was not chosen`)
    const { dtype } = source
    const item = itemRead(source)
    const width = bytesOf(dtype)
    const contiguous = fillsItsStorage(item)
    const elements = contiguous ? volume(source.chunk.sizes) : item.storageLength / width - item.storageOffset
    const array = {
      path: join(this.#selection.directory, chunk.file),
      offset: source.chunk.offset + item.dataOffset + item.storageOffset * width,
      dtype,
      shape: [elements]
    }
    return contiguous ? { array } : { array, strides: [...new Array<number>(chunk.sizes.length - item.strides.length).fill(0), ...item.strides] }
  }
}

const viewPlace = (path: string, { offset, sizes }: StoredChunk, { dtype, elements, strides }: ChunkView): ChunkPlace =>
  strides ? { array: { path, offset, dtype, shape: [elements] }, strides } : { array: { path, offset, dtype, shape: [volume(sizes)] } }

const itemRead = (source: ChunkSource) => {
  const item = itemOf(source)
  if (!item) throw new RangeError(`the header of ${source.key} is not read`)
  return item
}

/**
 * Read the header of every chosen chunk and check it against `.metadata` (dtype, shape, strides).
 *
 * @throws InvalidFile naming file, tensor and byte offset.
 */
export const readChunks = async (store: Store, selection: ChunkSelection): Promise<StoredArrays> => {
  for (const [name, sources] of selection.chosen) {
    const file = await store.open(join(selection.directory, name), "read")
    try {
      await readItemHeaders(file, sources.values())
    } finally {
      await file.close()
    }
  }
  return new StoredArrays(selection)
}
