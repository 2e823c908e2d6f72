/** How much of an array to assemble at once. */
import { hullOf, type Piece, type Pieces } from "./Pieces.ts"

/** Reading up to this many times what is used needs no remedy. */
const TOLERATED = 1.25

/** A stretch may be cut down to where less is wasted, but not below this part of it. */
const SMALLEST_PART = 1 / 4

/**
 * Bytes to assemble together from the byte `start` of an array on: `base`, unless so little would make the same source bytes be
 * read for block after block, as in a transpose; then as much as helps, up to `most`, preferably to where one transposed
 * matrix ends and the next begins.
 */
export const stretch = (pieces: Pieces, start: number, base: number, most: number, gap: number): number => {
  const rest = pieces.elements * pieces.width - start
  const whole = { length: Math.min(base, rest), waste: wasteOf(pieces, start, Math.min(base, rest), gap) }
  if (whole.waste <= TOLERATED) return whole.length
  let best = { length: whole.length, waste: Infinity }
  for (let size = base;; size *= 2) {
    const length = Math.min(size, most, rest)
    const found = leastWaste(pieces, start, length, gap)
    if (found.waste < 0.9 * best.waste) best = found
    if (best.waste <= TOLERATED || size >= most || length === rest) return best.length
  }
}

/** Bytes read per byte used. */
const wasteOf = (pieces: Pieces, start: number, length: number, gap: number): number => {
  let read = 0
  let used = 0
  for (const piece of piecesOf(pieces, start, length)) {
    read += readBytes(piece, gap)
    used += usedBytes(piece)
  }
  return used === 0 ? 1 : read / used
}

const piecesOf = (pieces: Pieces, start: number, length: number): ReadonlyArray<Piece> => {
  const from = Math.ceil(start / pieces.width)
  const to = Math.floor((start + length) / pieces.width)
  return to > from ? pieces.within(from, to) : []
}

/**
 * Of the stretches that end where a piece ends and are not much shorter, the longest that wastes about the least. To end amid
 * what one read gives costs that read once more.
 */
const leastWaste = (pieces: Pieces, start: number, length: number, gap: number): { readonly length: number; readonly waste: number } => {
  const { width } = pieces
  const from = Math.ceil(start / width)
  const sorted = [...piecesOf(pieces, start, length)].sort((a, b) => a.target.offset - b.target.offset)
  let best = { length, waste: Infinity }
  let [read, used, end] = [0, 0, 0]
  for (const [i, piece] of sorted.entries()) {
    read += readBytes(piece, gap)
    used += usedBytes(piece)
    end = Math.max(end, piece.target.offset + hullOf(piece.shape, piece.target.strides))
    const next = sorted[i + 1]
    const reached = next === undefined ? length : (from + end) * width - start
    if (next !== undefined && (next.target.offset < end || reached < SMALLEST_PART * length)) continue
    const again = continues(piece, next ?? pieces.within(from + end, Math.min(from + end + 1, pieces.elements))[0]) ? readBytes(piece, gap) : 0
    const waste = (read + again) / used
    if (waste <= 1.02 * best.waste) best = { length: reached, waste: Math.min(best.waste, waste) }
  }
  return best
}

/** Does a piece take from amid what the one before it reads? */
const continues = (piece: Piece, next: Piece | undefined): boolean => {
  if (next === undefined || next.origins[0]!.array !== piece.origins[0]!.array) return false
  const [{ offset, strides }] = piece.views as [Piece["views"][number]]
  const at = next.views[0]!.offset
  return at >= offset && at < offset + hullOf(piece.shape, strides)
}

const usedBytes = ({ origins, shape, views }: Piece): number =>
  shape.reduce((n, count, axis) => views[0]!.strides[axis] === 0 ? n : n * count, origins[0]!.width)

/** What reading the source of a piece takes, if gaps up to `gap` bytes are read along. */
const readBytes = ({ origins, shape, views }: Piece, gap: number): number => {
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
