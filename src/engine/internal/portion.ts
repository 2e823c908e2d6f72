/**
 * Files cut among processes that write them beside each other. A file is a row of cells; a process writes whole cells. Where the cells
 * begin follows from the file alone, so the windows of any number of processes are the same, and one number can go on where another
 * number ended.
 */
import { volume } from "../../tensor/Copy.ts"
import { bytesOf } from "../../tensor/DType.ts"
import { PAGE, type AddressRange, roundDown } from "./Arena.ts"
import type { Segment, TargetFile } from "./Target.ts"

/** Bytes: small enough that some dozens of processes get equal shares of ten gigabytes, large enough that its ends cost nothing. */
export const CELL = 64 << 20

/** What one process writes: ranges of whole cells, ascending, by the name of the file. */
export type Portion = ReadonlyMap<string, ReadonlyArray<AddressRange>>

export const lengthOf = (segment: Segment): number =>
  segment.kind === "bytes" ? segment.bytes.byteLength : segment.kind === "seal" ? segment.length : volume(segment.array.shape) * bytesOf(segment.array.dtype)

/**
 * Where the cells of a file begin: within each {@link CELL} bytes in the page where the first array starts, as an array that is cut in
 * two may have to be read twice; in their first page if none does.
 */
export const cellsOf = (file: TargetFile, cell = CELL): ReadonlyArray<number> => {
  const starts = [0]
  if (file.size <= cell) return starts
  let at = 0
  for (const segment of file.segments) {
    const start = at
    at += lengthOf(segment)
    for (let next = starts.length * cell; next < at && next < file.size; next = starts.length * cell) {
      const isHere = segment.kind === "array" && start >= next && start < next + cell
      // Still to come: an array may start in the rest of these bytes.
      if (!isHere && at < next + cell && at < file.size) break
      starts.push(isHere ? Math.max(next, roundDown(start, PAGE)) : next)
    }
  }
  return starts
}

/** Equal portions of all bytes, in the order of the files; some are empty when there are fewer cells. */
export const portionsOf = (files: ReadonlyArray<TargetFile>, count: number, cell = CELL): ReadonlyArray<Portion> => {
  const total = files.reduce((sum, { size }) => sum + size, 0)
  const portions = Array.from({ length: count }, () => new Map<string, Array<AddressRange>>())
  let before = 0
  for (const file of files) {
    const starts = cellsOf(file, cell)
    for (const [i, start] of starts.entries()) {
      const end = starts[i + 1] ?? file.size
      const middle = before + (start + end) / 2
      const own = portions[Math.min(count - 1, Math.floor((middle * count) / Math.max(1, total)))]!
      const ranges = own.get(file.name) ?? []
      own.set(file.name, ranges)
      const last = ranges.at(-1)
      if (last?.end === start) ranges[ranges.length - 1] = { start: last.start, end }
      else ranges.push({ start, end })
    }
    before += file.size
  }
  return portions
}
