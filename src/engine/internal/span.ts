/** How much of an array to assemble at once. */
import { hullOf, type ClippedCopy, type Pieces } from "./Pieces.ts"

/** Reading up to this many times what is used needs no remedy. */
const TOLERATED = 1.25

/** A span may be cut down to where less is wasted, but not below this part of it. */
const SMALLEST_PART = 1 / 4

/** How many ends are tried. Pieces are much of a size, so the last ones tell. */
const MOST_ENDS = 3

/**
 * Bytes to assemble together from the byte `start` of an array on: `base`, unless so little would make the same source bytes be
 * read for block after block, as in a transpose; then as much as helps, up to `most`, preferably to where one transposed
 * matrix ends and the next begins.
 */
export const spanOf = (pieces: Pieces, start: number, base: number, most: number, gap: number): number => {
  const rest = pieces.elements * pieces.width - start
  const usual = Math.min(base, rest)
  if (wasteOf(trafficOf(pieces, start, usual, gap)) <= TOLERATED) return usual
  let best: Span = { length: usual, waste: Infinity }
  for (let size = base;; size *= 2) {
    const length = Math.min(size, most, rest)
    const found = leastWaste(pieces, start, length, gap)
    if (found.waste < 0.9 * best.waste) best = found
    if (best.waste <= TOLERATED || size >= most || length === rest) return best.length
  }
}

/** Does reading a whole array take much more than its bytes? */
export const isWasteful = (pieces: Pieces, gap: number): boolean =>
  wasteOf(trafficOf(pieces, 0, pieces.elements * pieces.width, gap)) > TOLERATED

interface Span {
  /** Bytes. */
  readonly length: number
  readonly waste: number
}

interface Traffic {
  readonly read: number
  readonly used: number
}

const trafficOf = (pieces: Pieces, start: number, length: number, gap: number): Traffic => {
  let read = 0
  let used = 0
  for (const piece of piecesOf(pieces, start, length)) {
    read += readBytes(piece, gap)
    used += usedBytes(piece)
  }
  return { read, used }
}

/** Bytes read per byte used. */
const wasteOf = (...parts: ReadonlyArray<Traffic>): number => {
  const used = parts.reduce((sum, part) => sum + part.used, 0)
  return used === 0 ? 1 : parts.reduce((sum, part) => sum + part.read, 0) / used
}

const piecesOf = (pieces: Pieces, start: number, length: number): ReadonlyArray<ClippedCopy> => {
  const from = Math.ceil(start / pieces.width)
  const to = Math.min(Math.floor((start + length) / pieces.width), pieces.elements)
  return to > from ? pieces.within(from, to) : []
}

/**
 * Of the spans of up to `length` bytes that end where a piece ends and are not much shorter, the one that wastes least,
 * together with an equally long one after it: what is cut off here is read there.
 */
const leastWaste = (pieces: Pieces, start: number, length: number, gap: number): Span => {
  let best: Span = { length, waste: Infinity }
  for (const end of endsOf(pieces, start, length)) {
    const waste = wasteOf(trafficOf(pieces, start, end, gap), trafficOf(pieces, start + end, end, gap))
    if (waste < 0.98 * best.waste) best = { length: end, waste }
  }
  return best
}

/** The whole length, and the last few shorter ones at which a piece ends and none is cut. */
const endsOf = (pieces: Pieces, start: number, length: number): ReadonlyArray<number> => {
  const first = Math.ceil(start / pieces.width) * pieces.width - start
  const sorted = [...piecesOf(pieces, start, length)].sort((a, b) => a.target.offset - b.target.offset)
  const ends: Array<number> = []
  let end = 0
  for (const [i, piece] of sorted.entries()) {
    end = Math.max(end, piece.target.offset + hullOf(piece.shape, piece.target.strides))
    const next = sorted[i + 1]
    const reached = first + end * pieces.width
    if (next !== undefined && next.target.offset >= end && reached >= SMALLEST_PART * length) ends.push(reached)
  }
  return [length, ...ends.slice(-MOST_ENDS).reverse()]
}

const usedBytes = ({ origins, shape, views }: ClippedCopy): number =>
  shape.reduce((n, count, axis) => views[0]!.strides[axis] === 0 ? n : n * count, origins[0]!.width)

/** What reading the source of a piece takes, if gaps up to `gap` bytes are read along. */
const readBytes = ({ origins, shape, views }: ClippedCopy, gap: number): number => {
  const width = origins[0]!.width
  const axes = views[0]!.strides
    .map((stride, i) => ({ stride, count: shape[i]! }))
    .filter(({ count, stride }) => stride > 0 && count > 1)
    .sort((a, b) => b.stride - a.stride)
  let calls = 1
  while (axes.length > 0) {
    const [outer, ...inner] = axes
    const hull = hullOf(inner.map((a) => a.count), inner.map((a) => a.stride))
    if ((outer!.stride - hull) * width <= gap) break
    calls *= outer!.count
    axes.shift()
  }
  return calls * hullOf(axes.map((a) => a.count), axes.map((a) => a.stride)) * width
}
