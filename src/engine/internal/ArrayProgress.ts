/** One target array on its way: which of its bytes are done, their CRC-32, how many values changed. */
import { crc32Combine } from "../../torch/Crc32.ts"
import type { Pieces } from "./Pieces.ts"

export class ArrayProgress {
  readonly pieces: Pieces
  /** Bytes that are assembled here: all, unless others assemble the rest. */
  readonly length: number
  /** Its CRC-32 was asked for. */
  readonly checksum: boolean
  readonly #sums: Array<{ readonly start: number; readonly length: number; readonly crc: number }> = []
  readonly #whole = Promise.withResolvers<number>()
  #done = 0
  #changed = 0
  #crc: number | undefined

  constructor(pieces: Pieces, checksum: boolean, length: number) {
    this.pieces = pieces
    this.length = length
    this.checksum = checksum
    // A failed run rejects it, whether or not anybody waits.
    this.#whole.promise.catch(() => {})
    if (this.length === 0) this.#complete()
  }

  get complete(): boolean {
    return this.#done === this.length
  }

  /** Elements whose value the opposite direction does not give back. */
  get changed(): number {
    return this.#changed
  }

  /** Of the whole array, once it is complete and if it was asked for; never of one that others have a part in. */
  get crc(): number | undefined {
    return this.checksum ? this.#crc : undefined
  }

  /** Resolves to the CRC-32 when every byte has been added. */
  whenComplete(): Promise<number> {
    return this.#whole.promise
  }

  fail(error: unknown): void {
    this.#whole.reject(error)
  }

  /** `length` bytes of the array from `start` on are done, with this CRC-32. In any order, each byte once. */
  add(start: number, length: number, crc: number, changed: number): void {
    if (this.checksum) this.#sums.push({ start, length, crc })
    this.#changed += changed
    this.#done += length
    if (this.complete) this.#complete()
  }

  #complete(): void {
    this.#sums.sort((a, b) => a.start - b.start)
    this.#crc = this.#sums.reduce((sum, next) => crc32Combine(sum, next.crc, next.length), 0)
    this.#sums.length = 0
    this.#whole.resolve(this.#crc)
  }
}
