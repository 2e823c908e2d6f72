/** Bytes of two states of one tensor, held against each other. */
import { type Memory, memoryWith } from "../tensor/kernels/Memory.ts"

/** Two runs of bytes, of the same length: are they equal? */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength))

/** Runs of at most `size` bytes in a memory of their own, used again and again. */
export class XorRoom {
  readonly size: number
  readonly #memory: Memory
  readonly #step: number

  /** `runs`: how many are kept at a time. */
  constructor(size: number, runs: number) {
    this.size = size
    this.#step = Math.ceil(size / 8) * 8
    this.#memory = memoryWith(this.#step * runs)
  }

  /** The first bytes of a run: to be filled, or what was made of it. */
  run(number: number, length: number): Uint8Array {
    if (length > this.size) throw new RangeError(`${length} bytes, and there is room for ${this.size}`)
    return this.#memory.u8.subarray(number * this.#step, number * this.#step + length)
  }

  /** One run `^=` another one. */
  xor(into: number, other: number, length: number): void {
    this.#memory.simd.xor(into * this.#step, other * this.#step, length)
  }
}
