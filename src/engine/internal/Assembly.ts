/** Puts windows of files together in memory, and keeps the account of their arrays. */
import type { ArrayProgress } from "./ArrayProgress.ts"
import type { OpenSeal } from "./OpenSeal.ts"
import { type ResumeRecord, readRecorded, type WrittenWindow } from "./ResumeRecord.ts"
import type { FileWindow } from "./FileWindows.ts"
import { fill, type FillContext } from "./Fill.ts"
import type { Slot } from "./Slot.ts"
import type { SourceFiles } from "./SourceFiles.ts"
import { joined, type RangeSum, sumsOf } from "./WindowSums.ts"

/** What is known of an array once all of its bytes are assembled. */
export interface ArrayDone {
  /** Of the stored bytes; present if the segment or a seal asked for it. */
  readonly crc32?: number
  /** Elements whose value the opposite direction does not give back: rounded, overflowed, not restored. */
  readonly changed: number
}

export class Assembly {
  readonly #context: FillContext
  readonly #summing: boolean
  readonly #onArray: (id: string, done: ArrayDone) => void
  readonly #live = new Set<ArrayProgress>()
  /** Arrays that are complete, and the sum of their changed elements. */
  arrays = 0
  changed = 0

  /** `summing`: every byte of a window is summed, not only those of arrays that ask for it. */
  constructor(context: FillContext, summing: boolean, onArray: (id: string, done: ArrayDone) => void) {
    this.#context = context
    this.#summing = summing
    this.#onArray = onArray
  }

  /** An array of which windows will follow. */
  begin(array: ArrayProgress): void {
    this.#live.add(array)
    this.#completed(array)
  }

  /** Seals wait for arrays that will now never be complete. */
  fail(error: unknown): void {
    for (const array of this.#live) array.fail(error)
  }

  /** Put a window together at the address `at`. */
  async assemble(window: FileWindow, at: number, slot: Slot): Promise<WrittenWindow> {
    const { literals, parts, position, seals, size } = window
    const bytes = this.#context.memory.u8.subarray(at, at + size)
    const changed = await fill(this.#context, parts, at, slot)
    const sums: Array<RangeSum> = []
    const sum = (start: number, length: number): void => {
      sums.push(...sumsOf(bytes.subarray(start, start + length), position + start))
    }
    const summed = parts.filter(({ array }) => array.checksum || this.#summing)
    const found = await this.#context.workers.sum(summed.map(({ at: start, end, start: from }) => ({ at: at + start, length: end - from, position: position + start })))
    const sumsOfPart = new Map(summed.map((part, i) => [part, found[i]!]))
    for (const [i, part] of parts.entries()) {
      const { array, end, start: from } = part
      const own = sumsOfPart.get(part)
      if (own) sums.push(...own)
      array.add(from, end - from, own ? joined(own) : 0, changed[i]!)
      this.#completed(array)
    }
    for (const { at: start, bytes: literal } of literals) {
      bytes.set(literal, start)
      if (this.#summing) sum(start, literal.byteLength)
    }
    const open: Array<OpenSeal> = []
    for (const { at: start, from, seal, to } of seals) {
      if (seal.array === undefined) {
        bytes.fill(0, start, start + to - from)
        open.push({ segment: seal.segment, array: seal.arrayAt, from, to, position: position + start })
        continue
      }
      const sealed = seal.bytes(await seal.array.whenComplete())
      if (sealed.byteLength !== seal.length) throw new RangeError(`a seal of ${seal.arrayId} has ${sealed.byteLength} bytes, not ${seal.length}`)
      bytes.set(sealed.subarray(from, to), start)
      if (this.#summing) sum(start, to - from)
    }
    sums.sort((a, b) => a.position - b.position)
    return { position, size, crc32: open.length > 0 ? 0 : joined(sums), changed, sums, found: false, open }
  }

  /** Read a window to the address `at` as an earlier execution wrote it; undefined if it did not, or it is not intact. */
  async find(earlier: ResumeRecord, written: SourceFiles, file: { readonly name: string; readonly path: string }, window: FileWindow, at: number): Promise<WrittenWindow | undefined> {
    const record = earlier.find(file.name, window.position)
    const bytes = this.#context.memory.u8.subarray(at, at + window.size)
    const found = record && await readRecorded(written, file.path, window, record, bytes)
    if (!found) return undefined
    for (const [i, { array, at: start, end, start: from }] of window.parts.entries()) {
      array.add(from, end - from, joined(sumsOf(bytes.subarray(start, start + end - from), 0)), found.changed[i]!)
      this.#completed(array)
    }
    return found
  }

  #completed(array: ArrayProgress): void {
    if (!array.complete) return
    const { changed, crc } = array
    this.#live.delete(array)
    this.arrays++
    this.changed += changed
    this.#onArray(array.pieces.array.id, { ...(crc === undefined ? {} : { crc32: crc }), changed })
  }
}
