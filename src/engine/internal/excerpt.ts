/** Files cut down to the segments that a portion of them needs, for those who have not planned them. */
import type { AddressRange } from "./Arena.ts"
import { CELL, cellsOf, lengthOf } from "./portion.ts"
import type { TargetFile } from "./Target.ts"

/** Index of the first of ascending `numbers` for which `isThere` holds; their count if it holds for none. */
const firstOf = (numbers: Float64Array, isThere: (n: number) => boolean): number => {
  let low = 0
  for (let high = numbers.length; low < high;) {
    const middle = (low + high) >>> 1
    if (isThere(numbers[middle]!)) high = middle
    else low = middle + 1
  }
  return low
}

/**
 * What can be cut out of a file: for ranges of whole cells, ascending, the same file with the segments that they need. An execution writes
 * of it what it would write of the whole file. The segments are gone over once, however many excerpts are made.
 */
export const excerptsOf = (file: TargetFile, cell = CELL): (ranges: ReadonlyArray<AddressRange>) => TargetFile => {
  const { name, segments, size } = file
  const ends = new Float64Array(segments.length)
  let at = 0
  for (const [i, segment] of segments.entries()) ends[i] = at += lengthOf(segment)
  const startOf = (index: number): number => (index === 0 ? 0 : ends[index - 1]!)
  const cells = cellsOf(file, cell)
  return (ranges) => {
    const [start, end] = [ranges[0]!.start, ranges.at(-1)!.end]
    let first = firstOf(ends, (n) => n > start)
    // A seal takes the checksum of the array before it.
    if (segments[first]?.kind !== "array") while (first > 0 && segments[first]?.kind !== "array") first--
    const last = end === size ? segments.length : Math.min(segments.length, firstOf(ends, (n) => n >= end) + 1)
    return {
      name,
      size,
      segments: segments.slice(first, last),
      excerpt: { start: startOf(first), first, cells: cells.filter((border) => border >= start && border < end) }
    }
  }
}
