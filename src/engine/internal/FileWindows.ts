/**
 * A file's segments cut along aligned windows of the file. The window, not the array, is the unit of work: a thousand small
 * arrays cost one write, a large one many, and every write is of whole pages.
 */
import { PAGE, type AddressRange, roundDown } from "./Arena.ts"
import { ArrayProgress } from "./ArrayProgress.ts"
import type { ArrayRange } from "./Fill.ts"
import type { SlotSizes } from "./Slot.ts"
import { Pieces } from "./Pieces.ts"
import { cellsOf, lengthOf } from "./portion.ts"
import { PageBoundary } from "./PageBoundary.ts"
import { isWasteful, spanOf } from "./span.ts"
import type { SourceArray, TargetFile } from "./Target.ts"

/** A seal, and the array whose checksum it takes. */
export interface Seal {
  /** Index among the file's segments. */
  readonly segment: number
  /** Undefined if others assemble some of it. */
  readonly array: ArrayProgress | undefined
  readonly arrayId: string
  /** Where in the file the array is. */
  readonly arrayAt: AddressRange
  readonly length: number
  readonly bytes: (crc32: number) => Uint8Array
}

/** The bytes [position, position + size) of a file. Addresses `at` count from `position`. */
export interface FileWindow {
  readonly position: number
  readonly size: number
  readonly parts: ReadonlyArray<ArrayRange & { readonly array: ArrayProgress }>
  readonly literals: ReadonlyArray<{ readonly at: number; readonly bytes: Uint8Array }>
  readonly seals: ReadonlyArray<{ readonly at: number; readonly seal: Seal; readonly from: number; readonly to: number }>
  /** Where the window before it ends, or this one, within a page. */
  readonly before: PageBoundary | undefined
  readonly after: PageBoundary | undefined
  /** It ends with the file. */
  readonly last: boolean
  /** None of this file follows in the same execution. */
  readonly final: boolean
}

/** A segment with its place in the file. */
type Placed = { readonly start: number; readonly end: number } & (
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "array"; readonly array: ArrayProgress }
  | { readonly kind: "seal"; readonly seal: Seal }
)

/**
 * The windows of a file in order, at least one: of up to `sizes.block` bytes, ending with a page; or larger and ending anywhere
 * where that saves reading. None reaches over a border of cells. `ranges`: only those in these ranges of whole cells. Throws
 * RangeError if the segments do not add up to the file's size.
 */
export const fileWindows = function*(
  file: TargetFile,
  sizes: SlotSizes,
  gap: number,
  begin: (array: ArrayProgress) => void,
  ranges: ReadonlyArray<AddressRange> = [{ start: 0, end: file.size }]
): Generator<FileWindow> {
  const segments = placed(file, ranges, begin)
  /** Segments that are not wholly behind the current window. */
  const near: Array<Placed> = []
  const lookAhead = (end: number) => {
    while (near.length === 0 || near.at(-1)!.end < end || end === file.size) {
      const next = segments.next()
      if (next.done) return
      near.push(next.value)
    }
  }
  const cells = file.excerpt?.cells ?? cellsOf(file, sizes.cell)
  for (const [i, range] of ranges.entries()) {
    let position = range.start
    let before: PageBoundary | undefined
    let cell = cells.findLastIndex((start) => start <= position)
    do {
      while (near.length > 0 && near[0]!.end <= position) near.shift()
      const border = Math.min(cells[cell + 1] ?? file.size, range.end)
      lookAhead(Math.min(position + sizes.block, border))
      const end = Math.min(windowEnd(near, position, border, sizes, gap, lookAhead), border)
      lookAhead(end)
      const last = end === file.size
      const after = last || end % PAGE === 0 ? undefined : new PageBoundary()
      yield { ...cut(near, position, end), before, after, last, final: end === range.end && i === ranges.length - 1 }
      position = end
      before = after
      if (end === border) cell++
    } while (position < range.end)
  }
}

/**
 * A block on, unless an array in it would rather be assembled in another measure: the first such array decides. One that reads
 * more than it uses even as a whole is put together with those behind it that read the same, such as the halves of a
 * transposed matrix.
 */
const windowEnd = (
  near: ReadonlyArray<Placed>,
  position: number,
  border: number,
  { block, wide }: SlotSizes,
  gap: number,
  lookAhead: (end: number) => void
): number => {
  const furthest = Math.min(position + wide, border)
  for (let i = 0; i < near.length; i++) {
    const segment = near[i]!
    if (segment.kind !== "array" || segment.start >= position + block) continue
    const { array: { pieces }, end, start: first } = segment
    const start = Math.max(first, position)
    const base = Math.min(end, position + block) - start
    const wanted = spanOf(pieces, start - first, base, furthest - start, gap)
    if (first >= position && start + wanted === end && isWasteful(pieces, gap)) {
      lookAhead(Math.min(2 * end - first, furthest))
      const together = endOfAlike(near, i, furthest)
      if (together > end) return together
    }
    if (wanted !== base) return start + wanted
  }
  const end = roundDown(position + block, PAGE)
  return end > position ? end : position + block
}

/** Where the last of the arrays ends that follow the array `near[i]`, are filled from the same tensor and end by `furthest`. */
const endOfAlike = (near: ReadonlyArray<Placed>, i: number, furthest: number): number => {
  let together = near[i]!.end
  const source = sourceOf(near[i]!)
  for (const segment of near.slice(i + 1)) {
    if (segment.kind !== "array") continue
    if (!isSame(sourceOf(segment), source) || segment.end > furthest) break
    together = segment.end
  }
  return together
}

const sourceOf = (segment: Placed): SourceArray | undefined => (segment.kind === "array" ? segment.array.pieces.source : undefined)

const isSame = (a: SourceArray | undefined, b: SourceArray | undefined): boolean => a?.path === b?.path && a?.offset === b?.offset

const cut = (near: ReadonlyArray<Placed>, position: number, end: number): Omit<FileWindow, "before" | "after" | "last" | "final"> => {
  const window = { position, size: end - position, parts: [], literals: [], seals: [] } as {
    -readonly [K in "parts" | "literals" | "seals"]: Array<FileWindow[K][number]>
  } & { position: number; size: number }
  for (const segment of near) {
    const start = Math.max(segment.start, position)
    const stop = Math.min(segment.end, end)
    if (stop <= start) continue
    const [from, to, at] = [start - segment.start, stop - segment.start, start - position]
    switch (segment.kind) {
      case "bytes":
        window.literals.push({ at, bytes: segment.bytes.subarray(from, to) })
        break
      case "array":
        window.parts.push({ pieces: segment.array.pieces, array: segment.array, start: from, end: to, at })
        break
      case "seal":
        window.seals.push({ at, seal: segment.seal, from, to })
        break
    }
  }
  return window
}

const placed = function*(file: TargetFile, ranges: ReadonlyArray<AddressRange>, begin: (array: ArrayProgress) => void): Generator<Placed> {
  const { excerpt } = file
  let at = excerpt?.start ?? 0
  let previous: Pick<Seal, "array" | "arrayAt" | "arrayId"> | undefined
  const named = sealedFromAfar(file)
  for (const [i, segment] of file.segments.entries()) {
    const start = at
    const end = at += lengthOf(segment)
    const own = ranges.reduce((sum, range) => sum + Math.max(0, Math.min(end, range.end) - Math.max(start, range.start)), 0)
    switch (segment.kind) {
      case "bytes":
        if (own > 0) yield { kind: "bytes", start, end, bytes: segment.bytes }
        break
      case "array": {
        const isWhole = own === end - start
        const sealing = { arrayId: segment.array.id, arrayAt: { start, end } }
        previous = { ...sealing, array: undefined }
        if (own === 0 && !isWhole) break
        const sealed = isWhole && (segment.crc || sealFollows(file, i))
        const array = new ArrayProgress(new Pieces(segment.array), sealed, own)
        if (isWhole) previous = { ...sealing, array }
        if (isWhole && named.has(start)) named.set(start, array)
        begin(array)
        yield { kind: "array", start, end, array }
        break
      }
      case "seal":
        if (previous === undefined) throw new RangeError(`a seal of ${file.name} has no array before it`)
        if (own > 0) {
          const sealed = segment.of ? { arrayId: `bytes ${segment.of.start}–${segment.of.end} of ${file.name}`, arrayAt: segment.of, array: named.get(segment.of.start) } : previous
          yield { kind: "seal", start, end, seal: { ...sealed, segment: i + (excerpt?.first ?? 0), length: segment.length, bytes: segment.bytes } }
        }
        break
    }
  }
  const wanted = excerpt ? Math.max(...ranges.map(({ end }) => end)) : file.size
  if (excerpt ? at < wanted : at !== wanted) throw new RangeError(`the segments of ${file.name} have ${at} bytes, not ${wanted}`)
}

/** Where the arrays begin whose checksums are asked for by seals that name them; what is known of each once it begins. */
const sealedFromAfar = ({ segments }: TargetFile): Map<number, ArrayProgress | undefined> =>
  new Map(segments.flatMap((segment) => (segment.kind === "seal" && segment.of ? [[segment.of.start, undefined] as const] : [])))

/** Is there a seal between this array and the next? */
const sealFollows = (file: TargetFile, index: number): boolean => {
  for (let i = index + 1; i < file.segments.length; i++) {
    const { kind } = file.segments[i]!
    if (kind !== "bytes") return kind === "seal"
  }
  return false
}
