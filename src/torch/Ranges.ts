/**
 * Parsers that ask for byte ranges: a generator yields the range it needs and receives the bytes, so one parser serves a
 * buffer in memory and a file that is read as it goes. Offsets are relative to the start of the item, not of the file.
 */
import { FormatError } from "../errors.ts"
import { readFully, type StoredFile } from "../store/Store.ts"

export interface Range {
  readonly offset: number
  /** Bytes; never 0. */
  readonly length: number
}

/** A parser; it only asks for ranges inside the item. */
export type Ranged<A> = Generator<Range, A, Uint8Array>

/** Reads `length` bytes at `offset`. The bytes must stay untouched until the whole parse has ended. */
export type RangeReader = (offset: number, length: number) => Promise<Uint8Array>

/** Ranges of an open file, counted from `start`. */
export const rangesOf = (file: Pick<StoredFile, "path" | "read">, start = 0): RangeReader => async (offset, length) => {
  const bytes = new Uint8Array(length)
  await readFully(file, bytes, start + offset)
  return bytes
}

/** Small requests become reads of this size: an archive's head or tail is then one read. */
const WINDOW = 4096

/** Runs a parser over bytes in memory. Error: `zip/short-read` if it asks for more than there is. */
export const parseBytes = <A>(bytes: Uint8Array, parser: Ranged<A>): A => {
  let step = parser.next()
  while (!step.done) {
    const { length, offset } = step.value
    step = parser.next(exactly(bytes.subarray(offset, offset + length), offset, length))
  }
  return step.value
}

/**
 * Runs a parser over an item of `length` bytes. Error: `zip/short-read` if the reader returns fewer bytes than asked.
 */
export const fromReader = async <A>(length: number, read: RangeReader, parser: Ranged<A>): Promise<A> => {
  const windows: Array<{ readonly offset: number; readonly bytes: Uint8Array }> = []
  const fetch = async (range: Range): Promise<Uint8Array> => {
    const end = range.offset + range.length
    for (const { bytes, offset } of windows) {
      if (range.offset >= offset && end <= offset + bytes.length) return bytes.subarray(range.offset - offset, end - offset)
    }
    const start = Math.min(range.offset, Math.max(0, length - WINDOW))
    const count = Math.max(end, Math.min(length, start + WINDOW)) - start
    const bytes = exactly(await read(start, count), start, count)
    // The tail and the head of an archive: two windows are enough.
    windows.unshift({ offset: start, bytes })
    if (windows.length > 2) windows.pop()
    return bytes.subarray(range.offset - start, end - start)
  }
  let step = parser.next()
  while (!step.done) step = parser.next(await fetch(step.value))
  return step.value
}

const exactly = (bytes: Uint8Array, offset: number, length: number): Uint8Array => {
  if (bytes.length !== length) {
    throw new FormatError("zip/short-read", `${length} bytes were expected, the file has ${bytes.length}`, { offset })
  }
  return bytes
}
