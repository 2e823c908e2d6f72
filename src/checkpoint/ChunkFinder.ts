/** Which chunks of a stored tensor hold elements of a box. */
import { type Box, type Shape, stridesOf, volume } from "../tensor/Copy.ts"

/** The address of the element at `offsets`. */
const addressOf = (offsets: Shape, strides: Shape): number => {
  let address = 0
  for (let axis = 0; axis < strides.length; axis++) address += offsets[axis]! * strides[axis]!
  return address
}

/** Elements from the first of a box to its last, both included. */
const hullOf = (sizes: Shape, strides: Shape): number => {
  let hull = 1
  for (let axis = 0; axis < strides.length; axis++) hull += (sizes[axis]! - 1) * strides[axis]!
  return hull
}

/**
 * Chunks are found by the address of their first element: those of real checkpoints are one layer or expert each, or a slice of
 * one, and therefore short.
 */
export class ChunkFinder<C extends Box> {
  /** Those with elements, by the address of the first one. */
  readonly #chunks: ReadonlyArray<C>
  readonly #starts: Float64Array
  readonly #longest: number
  readonly #strides: Shape

  constructor({ chunks, shape }: { readonly chunks: ReadonlyArray<C>; readonly shape: Shape }) {
    const strides = stridesOf(shape)
    const start = (c: C) => addressOf(c.offsets, strides)
    this.#chunks = chunks.filter((c) => volume(c.sizes) > 0).sort((a, b) => start(a) - start(b))
    this.#starts = Float64Array.from(this.#chunks, start)
    this.#longest = this.#chunks.reduce((longest, c) => Math.max(longest, hullOf(c.sizes, strides)), 0)
    this.#strides = strides
  }

  *meeting(box: Box): Generator<C> {
    const first = addressOf(box.offsets, this.#strides)
    const end = first + hullOf(box.sizes, this.#strides)
    for (let i = this.#firstAfter(first - this.#longest); i < this.#chunks.length && this.#starts[i]! < end; i++) {
      const chunk = this.#chunks[i]!
      if (box.offsets.every((o, k) => chunk.offsets[k]! < o + box.sizes[k]! && o < chunk.offsets[k]! + chunk.sizes[k]!)) yield chunk
    }
  }

  /** Position of the first chunk that begins after `address`. */
  #firstAfter(address: number): number {
    let low = 0
    for (let high = this.#starts.length; low < high;) {
      const middle = (low + high) >>> 1
      if (this.#starts[middle]! <= address) low = middle + 1
      else high = middle
    }
    return low
  }
}
