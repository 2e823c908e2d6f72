/**
 * The stored chunks of a checkpoint as source arrays. A parameter's bytes may be cut into any boxes; its copies are cut along
 * the chunks that they meet and re-addressed inside them. Pure, except {@link readChunkHeaders}.
 */
import { join } from "node:path"
import type { SourceArray, Sources } from "../engine/Target.ts"
import { PlanRefused, quote } from "../errors.ts"
import { shapesExplained } from "../recognise/instead.ts"
import type { DiskCalls } from "../io/Disk.ts"
import type { Part } from "../model/Parameter.ts"
import { type Box, type Copy, rebase, sameShape, type Shape, stridesOf, volume, wholeBox } from "../tensor/Copy.ts"
import { bytesOf } from "../tensor/DType.ts"
import type { StoredChunk, StoredTensor } from "../torch/DcpMetadata.ts"
import { isContiguous } from "../torch/TensorItem.ts"
import { ChunkFinder } from "./ChunkFinder.ts"
import { type ChunkSource, itemOf, readItemHeaders } from "./ItemHeaders.ts"
import type { Storage } from "./StorageSums.ts"

/** Items are told apart by where they lie. */
export const chunkId = (chunk: StoredChunk): string => `${chunk.file}:${chunk.offset}`

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
  const own = part.key === key ? part : { ...part, key }
  const form = tensors.has(key) ? own : otherLayerForm(own, tensors)
  const tensor = form && tensors.get(form.key)
  if (!tensor) return undefined
  if (sameShape(tensor.shape, form.shape)) return { part: form, tensor }
  // Padded vocabularies have more rows; the model's own come first.
  const fits = ragged && tensor.shape.length === form.shape.length && tensor.shape.every((n, k) => (k === 0 ? n >= form.shape[k]! : n === form.shape[k]))
  if (!fits) {
    const hint = shapesExplained([{ name: form.key, implied: form.shape, stored: tensor.shape }])
    throw new PlanRefused({
      code: "plan/shape",
      problem: "a stored tensor contradicts config.json",
      names: [`${form.key} (config.json implies [${form.shape}], ${where} has [${tensor.shape}]${spot(tensor)})`],
      ...(hint === undefined ? {} : { hint })
    })
  }
  return { part: { ...form, shape: tensor.shape }, tensor }
}

/** Where a tensor begins. */
const spot = ({ chunks: [first] }: StoredTensor): string => (first === undefined ? "" : ` in ${quote(first.file)}, byte ${first.offset}`)

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

const otherLayerForm = (part: Part, tensors: ReadonlyMap<string, StoredTensor>): Part | undefined => {
  const { at, key, shape } = part
  const indexed = /^(.*\blayers)\.(\d+)\.(.*)$/.exec(key)
  if (indexed) {
    const stacked = `${indexed[1]}.${indexed[3]}`
    const count = tensors.get(stacked)?.shape[0]
    return count === undefined || Number(indexed[2]) >= count ? undefined : { ...part, key: stacked, shape: [count, ...shape], at: [Number(indexed[2]), ...at] }
  }
  const position = key.search(/\blayers\.(?!\d)/)
  if (position < 0) return undefined
  const split = position + "layers.".length
  return { ...part, key: `${key.slice(0, split)}${at[0]}.${key.slice(split)}`, shape: shape.slice(1), at: at.slice(1) }
}

/** A parameter and where it is stored: all that its way back to HF tensors needs. */
export interface StoredParameter {
  readonly shape: Shape
  /** From HF tensors to it. */
  readonly copies: ReadonlyArray<Copy>
  readonly parts: ReadonlyArray<LocatedPart>
}

/** The rows of a parameter that a part holds, in the parameter's own coordinates. */
const rowsOf = (shape: Shape, { rows }: Part): Box => ({
  offsets: shape.map((_, k) => (k === 0 ? rows?.[0] ?? 0 : 0)),
  sizes: rows ? shape.with(0, rows[1] - rows[0]) : shape
})

/** The same elements in the stored tensor. */
const storedBox = ({ at, shape }: Part, { sizes }: Box): Box => ({
  offsets: at,
  sizes: [...new Array<number>(shape.length - sizes.length).fill(1), ...sizes]
})

/** Collects the chunks that copies need and hands out their ids. */
export class StoredChunks implements Sources {
  readonly #finders = new Map<StoredTensor, ChunkFinder>()
  /** By file and offset. */
  readonly #used = new Map<string, Map<number, ChunkSource>>()
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  /** The chunks in use, by file. */
  get used(): ReadonlyMap<string, ReadonlyMap<number, ChunkSource>> {
    return this.#used
  }

  /** Once the headers are read. */
  get(id: string): SourceArray | undefined {
    const source = this.#find(id)
    const item = source && itemOf(source)
    if (!item) return undefined
    const { chunk, dtype } = source
    const width = bytesOf(dtype)
    const elements = isContiguous(item) ? volume(chunk.sizes) : item.storageLength / width - item.storageOffset
    return { path: join(this.directory, chunk.file), offset: chunk.offset + item.dataOffset + item.storageOffset * width, dtype, shape: [elements] }
  }

  /** Of the chunks in use, once their headers are read. */
  *storages(): Generator<Storage> {
    for (const [file, sources] of this.#used) {
      const path = join(this.directory, file)
      for (const source of sources.values()) {
        const item = itemOf(source)
        if (!item) continue
        const start = source.chunk.offset + item.dataOffset
        yield { path, key: source.key, start, end: start + item.dataLength, crc32: item.crc32 }
      }
    }
  }

  /** All chunks of a stored tensor as copies that assemble it under the name `target`. */
  whole(key: string, tensor: StoredTensor, target: string): ReadonlyArray<Copy> {
    const strides = stridesOf(tensor.shape)
    return tensor.chunks.filter((c) => volume(c.sizes) > 0).map((chunk) => ({
      shape: chunk.sizes,
      source: { tensor: this.#use(key, tensor, chunk), offset: 0, strides: stridesOf(chunk.sizes) },
      target: { tensor: target, offset: chunk.offsets.reduce((sum, o, k) => sum + o * strides[k]!, 0), strides }
    }))
  }

  /** Note all chunks of a stored tensor, so that their headers are read. */
  useAll(key: string, tensor: StoredTensor): void {
    for (const chunk of tensor.chunks) if (volume(chunk.sizes) > 0) this.#use(key, tensor, chunk)
  }

  /** The copies that assemble a box of a stored tensor under the name `target`. */
  within(tensor: StoredTensor, box: Box, target: string): ReadonlyArray<Copy> {
    const strides = stridesOf(box.sizes)
    return Array.from(this.#finder(tensor).meeting(box), (chunk): Copy => {
      const low = box.offsets.map((o, k) => Math.max(o, chunk.offsets[k]!))
      const own = stridesOf(chunk.sizes)
      return {
        shape: low.map((l, k) => Math.min(box.offsets[k]! + box.sizes[k]!, chunk.offsets[k]! + chunk.sizes[k]!) - l),
        source: { tensor: chunkId(chunk), offset: low.reduce((sum, l, k) => sum + (l - chunk.offsets[k]!) * own[k]!, 0), strides: own },
        target: { tensor: target, offset: low.reduce((sum, l, k) => sum + (l - box.offsets[k]!) * strides[k]!, 0), strides }
      }
    })
  }

  /** Note the chunks of a parameter, so that their headers are read. */
  use(shape: Shape, parts: ReadonlyArray<LocatedPart>): void {
    for (const { part, tensor } of parts) {
      for (const chunk of this.#finder(tensor).meeting(storedBox(part, rowsOf(shape, part)))) this.#use(part.key, tensor, chunk)
    }
  }

  /** The copies of a parameter that fill the HF tensor `name`, turned round: from stored chunks to it. */
  toHf({ copies, parts, shape }: StoredParameter, name: string): ReadonlyArray<Copy> {
    const wanted = copies.filter((copy) => !copy.echo && copy.source.tensor === name)
    const out: Array<Copy> = []
    for (const { part, tensor } of parts) {
      const own = rowsOf(shape, part)
      const stored = storedBox(part, own)
      const lead = part.shape.length - shape.length
      for (const chunk of this.#finder(tensor).meeting(stored)) {
        const id = chunkId(chunk)
        // The meeting of part and chunk, in the parameter's coordinates and in the chunk's.
        const low = stored.offsets.map((o, k) => Math.max(o, chunk.offsets[k]!))
        const high = stored.offsets.map((o, k) => Math.min(o + stored.sizes[k]!, chunk.offsets[k]! + chunk.sizes[k]!))
        const box: Box = {
          offsets: own.offsets.map((o, k) => o + low[k + lead]! - stored.offsets[k + lead]!),
          sizes: own.sizes.map((_, k) => high[k + lead]! - low[k + lead]!)
        }
        const at = low.map((l, k) => l - chunk.offsets[k]!)
        for (const copy of wanted) {
          for (const piece of rebase(copy, "target", shape, box, id, chunk.sizes, at)) {
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

  #use(key: string, { dtype }: StoredTensor, chunk: StoredChunk): string {
    let sources = this.#used.get(chunk.file)
    if (!sources) this.#used.set(chunk.file, sources = new Map())
    if (!sources.has(chunk.offset)) sources.set(chunk.offset, { key, chunk, dtype, header: undefined })
    return chunkId(chunk)
  }

  #find(id: string): ChunkSource | undefined {
    const end = id.lastIndexOf(":")
    return this.#used.get(id.slice(0, end))?.get(Number(id.slice(end + 1)))
  }

  /** Address the data as it really lies, once the headers are known: stored tensors may be strided views of their storage. */
  settle(copies: ReadonlyArray<Copy>): ReadonlyArray<Copy> {
    const isStrided = ({ source }: Copy): boolean => typeof this.#find(source.tensor)?.header === "object"
    if (!copies.some(isStrided)) return copies
    return copies.flatMap((copy) => {
      const { tensor } = copy.source
      const source = this.#find(tensor)
      const item = source && itemOf(source)
      if (!item || isContiguous(item)) return [copy]
      const { sizes } = source.chunk
      return rebase(copy, "source", sizes, wholeBox(sizes), tensor, sizes, sizes.map(() => 0), item.strides)
    })
  }
}

/**
 * Read the header of every chunk in use, check it against `.metadata` (dtype, shape, strides) and keep where the data lies.
 *
 * @throws InvalidFile naming file, tensor and byte offset.
 */
export const readChunkHeaders = async (disk: DiskCalls, chunks: StoredChunks): Promise<void> => {
  for (const [name, sources] of chunks.used) {
    const file = await disk.open(join(chunks.directory, name), "read")
    try {
      await readItemHeaders(file, sources.values())
    } finally {
      await file.close()
    }
  }
}
