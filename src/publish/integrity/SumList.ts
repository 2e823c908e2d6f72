/** The sums of one file in a few bytes each: 100 GB have more than a hundred thousand. */
import type { Sum } from "../../engine/WindowSums.ts"
import { crc32Combine } from "../../torch/Crc32.ts"

export class SumList implements Iterable<Sum> {
  #positions = new Float64Array(16)
  #lengths = new Uint32Array(16)
  #sums = new Uint32Array(16)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Keeps them in the order of their positions; cheap where they come nearly in order. */
  add({ crc32, length, position }: Sum): void {
    if (this.#size === this.#positions.length) this.#grow()
    let at = this.#size++
    while (at > 0 && this.#positions[at - 1]! > position) at--
    if (at < this.#size - 1) {
      for (const column of [this.#positions, this.#lengths, this.#sums]) column.copyWithin(at + 1, at, this.#size - 1)
    }
    this.#positions[at] = position
    this.#lengths[at] = length
    this.#sums[at] = crc32
  }

  position(index: number): number {
    return this.#positions[index]!
  }

  /** The CRC-32 of the bytes of the sums [from, to), which follow one another. */
  joined(from: number, to: number): number {
    let crc = 0
    for (let i = from; i < to; i++) crc = crc32Combine(crc, this.#sums[i]!, this.#lengths[i]!)
    return crc
  }

  *[Symbol.iterator](): Generator<Sum> {
    for (let i = 0; i < this.#size; i++) yield { position: this.#positions[i]!, length: this.#lengths[i]!, crc32: this.#sums[i]! }
  }

  #grow(): void {
    const [positions, lengths, sums] = [new Float64Array(2 * this.#size), new Uint32Array(2 * this.#size), new Uint32Array(2 * this.#size)]
    positions.set(this.#positions)
    lengths.set(this.#lengths)
    sums.set(this.#sums)
    this.#positions = positions
    this.#lengths = lengths
    this.#sums = sums
  }
}
