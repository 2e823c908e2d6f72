/**
 * The stored chunks of a checkpoint as source arrays. A parameter's bytes may be cut into any boxes; its copies are cut along
 * the chunks that they meet and re-addressed inside them. Pure, except {@link readChunkHeaders}.
 */
import { join } from "node:path"
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { SourceArray, Sources } from "../engine/Target.ts"
import { FormatError, invalidFile, type Place, PlanRefused } from "../errors.ts"
import { type DiskCalls, type DiskFile, readFully } from "../io/Disk.ts"
import type { Part } from "../model/Parameter.ts"
import { type Box, type Copy, rebase, sameShape, stridesOf, volume, wholeBox } from "../tensor/Copy.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"
import { isContiguous, readTensorItem, tensorItem } from "../torch/TensorItem.ts"
import type { StoredChunk, StoredTensor } from "../torch/DcpMetadata.ts"
import type { Storage } from "./StorageSums.ts"

/** A chunk that copies refer to by `id`. */
export interface ChunkSource {
  readonly id: string
  readonly key: string
  readonly chunk: StoredChunk
  readonly dtype: DType
}

/** Items are told apart by where they lie. */
export const chunkId = (chunk: StoredChunk): string => `${chunk.file}:${chunk.offset}`

/** Finds the chunks of one tensor that meet a box. Chunks of real checkpoints differ along one leading axis at a time. */
class ChunkFinder {
  readonly chunks: ReadonlyArray<StoredChunk>
  readonly #axis: number
  readonly #starts: ReadonlyArray<number>
  readonly #longest: number

  constructor(tensor: StoredTensor) {
    const rank = tensor.shape.length
    const chunks = tensor.chunks.filter((c) => volume(c.sizes) > 0)
    // The axis along which the chunks have most distinct offsets tells them apart best.
    let axis = 0
    let most = 0
    for (let k = 0; k < rank; k++) {
      const distinct = new Set(chunks.map((c) => c.offsets[k])).size
      if (distinct > most) [axis, most] = [k, distinct]
    }
    this.#axis = axis
    this.chunks = rank === 0 ? chunks : chunks.sort((a, b) => a.offsets[axis]! - b.offsets[axis]!)
    this.#starts = this.chunks.map((c) => c.offsets[axis] ?? 0)
    this.#longest = this.chunks.reduce((n, c) => Math.max(n, c.sizes[axis] ?? 1), 1)
  }

  *meeting(box: Box): Generator<StoredChunk> {
    const low = (box.offsets[this.#axis] ?? 0) - this.#longest
    const high = (box.offsets[this.#axis] ?? 0) + (box.sizes[this.#axis] ?? 1)
    let first = 0
    for (let last = this.#starts.length; first < last;) {
      const middle = (first + last) >> 1
      if (this.#starts[middle]! <= low) first = middle + 1
      else last = middle
    }
    for (let i = first; i < this.chunks.length && this.#starts[i]! < high; i++) {
      const chunk = this.chunks[i]!
      if (box.offsets.every((o, k) => chunk.offsets[k]! < o + box.sizes[k]! && o < chunk.offsets[k]! + chunk.sizes[k]!)) yield chunk
    }
  }
}

/** A part of a parameter as it is stored in this checkpoint, which may name or shape it differently. */
export interface LocatedPart {
  readonly part: Part
  readonly tensor: StoredTensor
}

/**
 * Find where a part is stored. A checkpoint may have been written by another Megatron version or with other flags: layers under one stacked key or
 * one key each; the vocabulary padded. Returns undefined if the key is absent in every form; throws if the shape does not fit.
 */
export const locatePart = (
  key: string,
  part: Part,
  ragged: boolean,
  tensors: ReadonlyMap<string, StoredTensor>,
  where = "the checkpoint"
): LocatedPart | undefined => {
  for (const form of [{ ...part, key }, ...otherLayerForms(key, part, tensors)]) {
    const tensor = tensors.get(form.key)
    if (!tensor) continue
    const fits = sameShape(tensor.shape, form.shape) ||
      // Padded vocabularies have more rows; the model's own come first.
      (ragged && tensor.shape.length === form.shape.length && tensor.shape.every((n, k) => (k === 0 ? n >= form.shape[k]! : n === form.shape[k])))
    if (!fits) {
      throw new PlanRefused({
        code: "plan/shape",
        problem: "a stored tensor contradicts config.json",
        names: [`${form.key} (config.json implies [${form.shape}], ${where} has [${tensor.shape}])`]
      })
    }
    return { part: { ...form, shape: tensor.shape }, tensor }
  }
  return undefined
}

/** Of every stack of layers, by the key in front of the layer (`decoder.layers`): has each layer keys of its own? */
export const layerForms = (keys: Iterable<string>): ReadonlyMap<string, "indexed" | "stacked"> => {
  const forms = new Map<string, "indexed" | "stacked">()
  for (const key of keys) {
    const match = /^(.*\blayers)\.(\d+\.)?/.exec(key)
    if (match) forms.set(match[1]!, match[2] ? "indexed" : "stacked")
  }
  return forms
}

/** The key of a part as a checkpoint of these forms would have it. */
export const keyInForm = (key: string, part: Part, forms: ReadonlyMap<string, "indexed" | "stacked">): string => {
  const [, stack, layer, rest] = /^(.*\blayers)\.(\d+\.)?(.*)$/.exec(key) ?? []
  if (stack === undefined) return key
  const form = forms.get(stack)
  if (form === "indexed" && layer === undefined) return `${stack}.${part.at[0]}.${rest}`
  return form === "stacked" && layer !== undefined ? `${stack}.${rest}` : key
}

const otherLayerForms = (key: string, part: Part, tensors: ReadonlyMap<string, StoredTensor>): ReadonlyArray<Part> => {
  const indexed = /^(.*\blayers)\.(\d+)\.(.*)$/.exec(key)
  if (indexed) {
    const stacked = `${indexed[1]}.${indexed[3]}`
    const count = tensors.get(stacked)?.shape[0]
    return count === undefined || Number(indexed[2]) >= count ? [] : [{ ...part, key: stacked, shape: [count, ...part.shape], at: [Number(indexed[2]), ...part.at] }]
  }
  const position = key.search(/\blayers\.(?!\d)/)
  if (position < 0) return []
  const split = position + "layers.".length
  return [{ ...part, key: `${key.slice(0, split)}${part.at[0]}.${key.slice(split)}`, shape: part.shape.slice(1), at: part.at.slice(1) }]
}

/** Collects the chunks that copies need and hands out their ids. */
export class StoredChunks implements Sources {
  readonly #finders = new Map<StoredTensor, ChunkFinder>()
  readonly #used = new Map<string, ChunkSource>()
  readonly #arrays = new Map<string, SourceArray>()
  readonly #views = new Map<string, ReadonlyArray<number>>()
  /** Of the chunks in use, once their headers are read. */
  readonly storages: Array<Storage> = []
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  get used(): Iterable<ChunkSource> {
    return this.#used.values()
  }

  get(id: string): SourceArray | undefined {
    return this.#arrays.get(id)
  }

  /** All chunks of a stored tensor as copies that assemble it under the name `target`. */
  whole(key: string, tensor: StoredTensor, target: string): ReadonlyArray<Copy> {
    const strides = stridesOf(tensor.shape)
    return tensor.chunks.filter((c) => volume(c.sizes) > 0).map((chunk) => ({
      shape: chunk.sizes,
      source: { tensor: this.#use(key, tensor, chunk).id, offset: 0, strides: stridesOf(chunk.sizes) },
      target: { tensor: target, offset: chunk.offsets.reduce((sum, o, k) => sum + o * strides[k]!, 0), strides }
    }))
  }

  /** The copies of a parameter, turned round: from stored chunks to HF tensors. */
  toHf(bound: BoundParameter, parts: ReadonlyArray<LocatedPart>): ReadonlyArray<Copy> {
    const { copies, parameter } = bound
    const out: Array<Copy> = []
    for (const { part, tensor } of parts) {
      const lead = part.shape.length - parameter.shape.length
      const rowOffset = part.rows?.[0] ?? 0
      const own: Box = {
        offsets: parameter.shape.map((_, k) => (k === 0 ? rowOffset : 0)),
        sizes: parameter.shape.map((n, k) => (k === 0 && part.rows ? part.rows[1] - part.rows[0] : n))
      }
      const stored: Box = { offsets: part.at, sizes: [...new Array<number>(lead).fill(1), ...own.sizes] }
      for (const chunk of this.#finder(tensor).meeting(stored)) {
        const source = this.#use(part.key, tensor, chunk)
        // The meeting of part and chunk, in the parameter's coordinates and in the chunk's.
        const low = stored.offsets.map((o, k) => Math.max(o, chunk.offsets[k]!))
        const high = stored.offsets.map((o, k) => Math.min(o + stored.sizes[k]!, chunk.offsets[k]! + chunk.sizes[k]!))
        const box: Box = {
          offsets: own.offsets.map((o, k) => o + low[k + lead]! - stored.offsets[k + lead]!),
          sizes: own.sizes.map((_, k) => high[k + lead]! - low[k + lead]!)
        }
        const at = low.map((l, k) => l - chunk.offsets[k]!)
        for (const copy of copies) {
          if (copy.echo) continue
          for (const piece of rebase(copy, "target", parameter.shape, box, source.id, chunk.sizes, at)) {
            const { source: hf, target: megatron, ...rest } = piece
            out.push({ ...rest, source: megatron, target: hf })
          }
        }
      }
    }
    return out
  }

  #finder(tensor: StoredTensor): ChunkFinder {
    let finder = this.#finders.get(tensor)
    if (!finder) this.#finders.set(tensor, finder = new ChunkFinder(tensor))
    return finder
  }

  #use(key: string, tensor: StoredTensor, chunk: StoredChunk): ChunkSource {
    const id = chunkId(chunk)
    let source = this.#used.get(id)
    if (!source) this.#used.set(id, source = { id, key, chunk, dtype: tensor.dtype })
    return source
  }

  /** Set where a chunk's data lies; {@link readChunkHeaders} calls it. `strides`: of a view that is not in C order. */
  resolve(id: string, array: SourceArray, strides?: ReadonlyArray<number>): void {
    this.#arrays.set(id, array)
    if (strides) this.#views.set(id, strides)
  }

  /** Address the data as it really lies, once the headers are known: stored tensors may be strided views of their storage. */
  settle(copies: ReadonlyArray<Copy>): ReadonlyArray<Copy> {
    if (this.#views.size === 0) return copies
    return copies.flatMap((copy) => {
      const { tensor } = copy.source
      const strides = this.#views.get(tensor)
      if (!strides) return [copy]
      const { sizes } = this.#used.get(tensor)!.chunk
      return rebase(copy, "source", sizes, wholeBox(sizes), tensor, sizes, sizes.map(() => 0), strides)
    })
  }
}

const CONCURRENT_HEADERS = 32

/**
 * Read the header of every chunk in use, check it against `.metadata` (dtype, shape, strides) and resolve where the data lies.
 *
 * @throws InvalidFile naming file, tensor and byte offset.
 */
export const readChunkHeaders = async (disk: DiskCalls, chunks: StoredChunks): Promise<void> => {
  const byFile = new Map<string, Array<ChunkSource>>()
  for (const source of chunks.used) {
    const list = byFile.get(source.chunk.file)
    if (list) list.push(source)
    else byFile.set(source.chunk.file, [source])
  }
  for (const [name, sources] of byFile) {
    const path = join(chunks.directory, name)
    const file = await disk.open(path, "read")
    try {
      const queue = sources.sort((a, b) => a.chunk.offset - b.chunk.offset).values()
      const worker = async () => {
        for (const source of queue) {
          const { array, storage, strides } = await readChunk(file, path, source)
          chunks.resolve(source.id, array, strides)
          chunks.storages.push(storage)
        }
      }
      await Promise.all(Array.from({ length: CONCURRENT_HEADERS }, worker))
    } finally {
      await file.close()
    }
  }
}

interface ReadChunk {
  readonly array: SourceArray
  readonly strides?: ReadonlyArray<number>
  readonly storage: Storage
}

const readChunk = async (file: DiskFile, path: string, { chunk, dtype, key }: ChunkSource): Promise<ReadChunk> => {
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(length)
    await readFully(file, bytes, chunk.offset + offset)
    return bytes
  }
  const refuse = (code: string, problem: string, { offset = 0, record }: Place = {}) =>
    invalidFile(path, new FormatError(code, problem, { tensor: key, record, offset: chunk.offset + offset }))
  try {
    const item = await readTensorItem(chunk.length, read, tensorItem(dtype, chunk.sizes))
    if (item.dtype !== dtype) throw refuse("checkpoint/dtype", `.metadata says ${dtype}, the stored tensor is ${item.dtype}`)
    if (!sameShape(item.shape, chunk.sizes)) {
      throw refuse("checkpoint/chunk-shape", `.metadata says [${chunk.sizes}], the stored tensor is [${item.shape}]`)
    }
    const width = bytesOf(dtype)
    const inOrder = isContiguous(item)
    const elements = inOrder ? volume(chunk.sizes) : item.storageLength / width - item.storageOffset
    return {
      array: { path, offset: chunk.offset + item.dataOffset + item.storageOffset * width, dtype, shape: [elements] },
      storage: { path, key, start: chunk.offset + item.dataOffset, end: chunk.offset + item.dataOffset + item.dataLength, crc32: item.crc32 },
      ...(inOrder ? {} : { strides: item.strides })
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw refuse(error.code, error.message, error.place)
  }
}
