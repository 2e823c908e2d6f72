/**
 * A file's segments cut along aligned windows of the file. The window, not the array, is the unit of work: a thousand small
 * arrays cost one write, a large one many, and every write starts on a page.
 */
import { ArrayProgress } from "./ArrayProgress.ts"
import type { Part } from "./Fill.ts"
import { Pieces } from "./Pieces.ts"
import type { Sources, TargetFile } from "./Target.ts"

/** A seal, and the array whose checksum it takes. */
export interface Seal {
  readonly array: ArrayProgress
  readonly length: number
  readonly bytes: (crc32: number) => Uint8Array
}

/** The bytes [position, position + size) of a file. Addresses `at` count from the window's start. */
export interface FileWindow {
  readonly position: number
  readonly size: number
  readonly parts: ReadonlyArray<Part & { readonly array: ArrayProgress }>
  readonly literals: ReadonlyArray<{ readonly at: number; readonly bytes: Uint8Array }>
  readonly seals: ReadonlyArray<{ readonly at: number; readonly seal: Seal; readonly from: number; readonly to: number }>
  readonly last: boolean
}

/** A segment with its place in the file. */
type Placed = { readonly start: number; readonly end: number } & (
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "array"; readonly array: ArrayProgress }
  | { readonly kind: "seal"; readonly seal: Seal }
)

/** The windows of a file in order, at least one; throws RangeError if the segments do not add up to its size. */
export const fileWindows = function*(
  file: TargetFile,
  sources: Sources,
  windowSize: number,
  begin: (array: ArrayProgress) => void
): Generator<FileWindow> {
  const segments = placed(file, sources, begin)
  let current = segments.next()
  for (let position = 0; position === 0 || position < file.size; position += windowSize) {
    const size = Math.min(windowSize, file.size - position)
    const end = position + size
    const parts = []
    const literals = []
    const seals = []
    while (!current.done && current.value.start < end) {
      const segment = current.value
      const start = Math.max(segment.start, position)
      const stop = Math.min(segment.end, end)
      const [from, to, at] = [start - segment.start, stop - segment.start, start - position]
      if (stop > start) {
        switch (segment.kind) {
          case "bytes":
            literals.push({ at, bytes: segment.bytes.subarray(from, to) })
            break
          case "array":
            parts.push({ pieces: segment.array.pieces, array: segment.array, start: from, end: to, at })
            break
          case "seal":
            seals.push({ at, seal: segment.seal, from, to })
            break
        }
      }
      if (segment.end > end) break
      current = segments.next()
    }
    // Empty segments at the very end.
    while (end === file.size && !current.done && current.value.end === end) current = segments.next()
    yield { position, size, parts, literals, seals, last: end === file.size }
  }
  if (!current.done) throw new RangeError(`the segments of ${file.name} are longer than its ${file.size} bytes`)
}

const placed = function*(file: TargetFile, sources: Sources, begin: (array: ArrayProgress) => void): Generator<Placed> {
  let at = 0
  let previous: ArrayProgress | undefined
  for (const [i, segment] of file.segments.entries()) {
    const start = at
    switch (segment.kind) {
      case "bytes":
        at += segment.bytes.byteLength
        yield { kind: "bytes", start, end: at, bytes: segment.bytes }
        break
      case "array": {
        const sealed = segment.crc || sealFollows(file, i)
        const array = new ArrayProgress(new Pieces(segment.array, sources), sealed)
        at += array.length
        previous = array
        begin(array)
        yield { kind: "array", start, end: at, array }
        break
      }
      case "seal":
        if (previous === undefined) throw new RangeError(`a seal of ${file.name} has no array before it`)
        at += segment.length
        yield { kind: "seal", start, end: at, seal: { array: previous, length: segment.length, bytes: segment.bytes } }
        break
    }
  }
  if (at !== file.size) throw new RangeError(`the segments of ${file.name} have ${at} bytes, not ${file.size}`)
}

/** Is there a seal between this array and the next? */
const sealFollows = (file: TargetFile, index: number): boolean => {
  for (let i = index + 1; i < file.segments.length; i++) {
    const { kind } = file.segments[i]!
    if (kind !== "bytes") return kind === "seal"
  }
  return false
}
