/** The sums of one file in a few bytes each: 100 GB have more than a hundred thousand. */
import type { RangeSum } from "../../engine/index.ts"
import { crc32Combine } from "../../torch/Crc32.ts"

export class SumList implements Iterable<RangeSum> {
  #positions = new Float64Array(16)
  #lengths = new Uint32Array(16)
  #sums = new Uint32Array(16)
  #size = 0
  #sorted = true
  #bytes = 0

  get size(): number {
    return this.#size
  }

  /** Of all sums together. */
  get bytes(): number {
    return this.#bytes
  }

  /** In any order; sorted when they are asked for. */
  add({ crc32, length, position }: RangeSum): void {
    if (this.#size === this.#positions.length) this.#grow()
    const at = this.#size++
    this.#bytes += length
    if (at > 0 && this.#positions[at - 1]! > position) this.#sorted = false
    this.#positions[at] = position
    this.#lengths[at] = length
    this.#sums[at] = crc32
  }

  position(index: number): number {
    this.#sort()
    return this.#positions[index]!
  }

  /** The CRC-32 of the bytes of the sums [from, to), which follow one another. */
  joined(from: number, to: number): number {
    this.#sort()
    let crc = 0
    for (let i = from; i < to; i++) crc = crc32Combine(crc, this.#sums[i]!, this.#lengths[i]!)
    return crc
  }

  /** Of the bytes [start, end), at which sums begin and end. */
  crcOf(start: number, end: number): number {
    return this.joined(this.#firstFrom(start), this.#firstFrom(end))
  }

  *[Symbol.iterator](): Generator<RangeSum> {
    this.#sort()
    for (let i = 0; i < this.#size; i++) yield { position: this.#positions[i]!, length: this.#lengths[i]!, crc32: this.#sums[i]! }
  }

  /** Index of the first sum from a position on. */
  #firstFrom(position: number): number {
    this.#sort()
    let low = 0
    for (let high = this.#size; low < high;) {
      const middle = (low + high) >>> 1
      if (this.#positions[middle]! < position) low = middle + 1
      else high = middle
    }
    return low
  }

  #sort(): void {
    if (this.#sorted) return
    this.#sorted = true
    const order = Uint32Array.from({ length: this.#size }, (_, i) => i).sort((a, b) => this.#positions[a]! - this.#positions[b]!)
    for (const column of [this.#positions, this.#lengths, this.#sums]) {
      const before = column.slice(0, this.#size)
      for (const [i, from] of order.entries()) column[i] = before[from]!
    }
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
