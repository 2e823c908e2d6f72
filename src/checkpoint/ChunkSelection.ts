/**
 * The stored chunks of a checkpoint that a plan reads. Where the data of an item lies is known once its header is read: `readChunks`
 * turns a selection into arrays, of which there can be copies.
 */
import { type Box, type Shape, volume } from "../tensor/Copy.ts"
import type { StoredChunk, StoredTensor } from "../torch/DcpMetadata.ts"
import { ChunkFinder } from "./ChunkFinder.ts"
import type { ChunkSource } from "./ItemHeaders.ts"
import { type LocatedPart, rowsOf, storedBox } from "./LocatedPart.ts"

export class ChunkSelection {
  readonly #finders = new Map<StoredTensor, ChunkFinder<StoredChunk>>()
  /** By file and offset. */
  readonly #chosen = new Map<string, Map<number, ChunkSource>>()
  /** Chunks that are no items, and the tensor of each. */
  readonly #views = new Map<StoredChunk, string>()
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  /** By file and byte offset. */
  get chosen(): ReadonlyMap<string, ReadonlyMap<number, ChunkSource>> {
    return this.#chosen
  }

  /** Chosen chunks that are no items: where they lie is known already. */
  get views(): ReadonlyMap<StoredChunk, string> {
    return this.#views
  }

  /** All chunks of a stored tensor. */
  add(key: string, tensor: StoredTensor): void {
    for (const chunk of tensor.chunks) if (volume(chunk.sizes) > 0) this.#add(key, tensor, chunk)
  }

  /** The chunks that a parameter of this shape needs. */
  addParts(shape: Shape, parts: ReadonlyArray<LocatedPart>): void {
    for (const { part, tensor } of parts) {
      for (const chunk of this.meeting(tensor, storedBox(part, rowsOf(shape, part)))) this.#add(part.key, tensor, chunk)
    }
  }

  /** The chunks of a stored tensor that hold elements of a box. */
  meeting(tensor: StoredTensor, box: Box): Iterable<StoredChunk> {
    let finder = this.#finders.get(tensor)
    if (!finder) this.#finders.set(tensor, finder = new ChunkFinder(tensor))
    return finder.meeting(box)
  }

  #add(key: string, { dtype }: StoredTensor, chunk: StoredChunk): void {
    if (chunk.view) {
      this.#views.set(chunk, key)
      return
    }
    let sources = this.#chosen.get(chunk.file)
    if (!sources) this.#chosen.set(chunk.file, sources = new Map())
    if (!sources.has(chunk.offset)) sources.set(chunk.offset, { key, chunk, dtype, header: undefined })
  }
}
