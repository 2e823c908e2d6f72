/**
 * An array cut down to what one block needs: its copies, indexed by target address, clipped to a range of elements, and
 * divided until every read is of bounded size and mostly useful.
 */
import { Unsupported } from "../../errors.ts"
import { rebase, type Shape, simplify, type View, volume } from "../../tensor/Copy.ts"
import { bitsOf, bytesOf } from "../../tensor/DType.ts"
import { kernelFor, type KernelStep } from "../../tensor/kernels/kernelFor.ts"
import type { SourceArray, SourceCopy, TargetArray } from "./Target.ts"

/** Where a view of a piece is read. */
export interface Origin {
  readonly array: SourceArray
  /** Bytes per element; a half for codes of 4 bits. */
  readonly width: number
}

/** A copy whose target offset counts from the start of the range it was clipped to; source first, operands after it. */
export interface ClippedCopy {
  readonly shape: Shape
  readonly views: ReadonlyArray<Omit<View, "tensor">>
  readonly origins: ReadonlyArray<Origin>
  readonly target: Omit<View, "tensor">
  readonly step: KernelStep | "move"
}

/** Elements from a view's first to its last, both included. */
export const hullOf = (shape: Shape, strides: ReadonlyArray<number>): number => {
  let hull = 1
  for (const [axis, count] of shape.entries()) hull += (count - 1) * strides[axis]!
  return hull
}

interface Indexed {
  readonly copy: SourceCopy
  readonly start: number
  readonly end: number
  readonly origins: ReadonlyArray<Origin>
  readonly step: KernelStep | "move"
}

/** The copies of one array, found by target address. */
export class Pieces {
  readonly array: TargetArray
  readonly width: number
  readonly elements: number
  readonly #copies: ReadonlyArray<Indexed>
  /** The furthest target address among the copies up to each. */
  readonly #reach: ReadonlyArray<number>

  /** Throws {@link Unsupported} where no kernel does what a copy asks, RangeError where a copy leaves its arrays. */
  constructor(array: TargetArray) {
    this.array = array
    this.width = bytesOf(array.dtype)
    this.elements = volume(array.shape)
    const origins = new Map<SourceArray, Origin>()
    this.#copies = array.copies()
      .filter((copy) => copy.shape.every((count) => count > 0))
      .map((copy) => index(array, copy, origins))
      .sort((a, b) => a.start - b.start)
    let reach = 0
    this.#reach = this.#copies.map((c) => reach = Math.max(reach, c.end))
    if (reach > this.elements) throw new RangeError(`a copy leaves ${array.id} [${array.shape}]`)
  }

  /** Where its first elements come from; undefined if it has none. */
  get source(): SourceArray | undefined {
    return this.#copies[0]?.origins[0]!.array
  }

  /** What fills the elements [from, to). Throws RangeError if that is not each of them once. */
  within(from: number, to: number): ReadonlyArray<ClippedCopy> {
    const found: Array<ClippedCopy> = []
    let filled = 0
    for (let i = this.#first(from); i < this.#copies.length && this.#copies[i]!.start < to; i++) {
      const { copy, end, origins, start, step } = this.#copies[i]!
      if (end <= from) continue
      const clipped = start >= from && end <= to
        ? [{ ...copy, target: { ...copy.target, offset: copy.target.offset - from } }]
        : rebase(copy, "target", [this.elements], { offsets: [from], sizes: [to - from] }, copy.target.tensor, [to - from], [0])
      for (const part of clipped) {
        filled += volume(part.shape)
        const { operands = [], shape, source, target } = simplify(inTargetOrder(part))
        found.push({ shape, views: [source, ...operands], origins, target, step })
      }
    }
    if (filled !== to - from) {
      throw new RangeError(`${this.array.id}: ${filled} values for the ${to - from} elements from ${from} on`)
    }
    return found
  }

  /** Index of the first copy that may reach beyond `from`. */
  #first(from: number): number {
    let low = 0
    let high = this.#reach.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#reach[middle]! <= from) low = middle + 1
      else high = middle
    }
    return low
  }
}

const index = (array: TargetArray, copy: SourceCopy, known: Map<SourceArray, Origin>): Indexed => {
  const origins = [copy.source, ...(copy.operands ?? [])].map((view) => {
    let origin = known.get(view.tensor)
    if (!origin) known.set(view.tensor, origin = { array: view.tensor, width: bitsOf(view.tensor.dtype) / 8 })
    const hull = hullOf(copy.shape, view.strides)
    if (view.offset < 0 || view.offset + hull > volume(origin.array.shape)) {
      throw new RangeError(`a copy for ${array.id} leaves the array [${origin.array.shape}] at byte ${origin.array.offset} of ${origin.array.path}`)
    }
    return origin
  })
  const from = origins[0]!.array.dtype
  const operands = origins.slice(1).map((o) => o.array.dtype)
  const kernel = kernelFor(from, array.dtype, copy.transform, operands)
  if (kernel === undefined) {
    throw new Unsupported({ code: "unsupported/copy",
      what: array.id,
      problem: `no ${copy.transform?.kind ?? "cast"} from ${from} to ${array.dtype}`
    })
  }
  const step = kernel === "move" ? kernel : { source: from, target: array.dtype, ...(copy.transform ? { transform: copy.transform } : {}), operands }
  const start = copy.target.offset
  return { copy, start, end: start + hullOf(copy.shape, copy.target.strides), origins, step }
}

/** The same copy with its axes ordered by target stride, so that neighbouring axes can join. */
const inTargetOrder = (copy: SourceCopy): SourceCopy => {
  const { strides } = copy.target
  if (strides.every((stride, i) => i === 0 || stride <= strides[i - 1]!)) return copy
  const order = strides.map((_, i) => i).sort((a, b) => strides[b]! - strides[a]!)
  const view = <Tensor>(v: View<Tensor>): View<Tensor> => ({ ...v, strides: order.map((i) => v.strides[i]!) })
  return {
    ...copy,
    shape: order.map((i) => copy.shape[i]!),
    source: view(copy.source),
    target: view(copy.target),
    ...(copy.operands ? { operands: copy.operands.map(view) } : {})
  }
}

/** Bounds of a single read, in bytes. */
export interface ReadBounds {
  readonly largest: number
  /** Unwanted bytes up to this many are read along: a further call costs more. */
  readonly gap: number
}

/** Divide a piece until each of its views is read with one call within the bounds. */
export const divide = function*(piece: ClippedCopy, bounds: ReadBounds): Generator<ClippedCopy> {
  const largest = Math.max(bounds.largest / piece.views.length)
  for (const [i, view] of piece.views.entries()) {
    const steps = stepsPerRead(piece.shape, view.strides, piece.origins[i]!.width, largest, bounds.gap)
    if (steps === undefined) continue
    const [axis, count] = steps
    for (let at = 0; at < piece.shape[axis]!; at += count) {
      yield* divide(section(piece, axis, at, Math.min(count, piece.shape[axis]! - at)), bounds)
    }
    return
  }
  yield piece
}

/** The axis to divide along, and how many of its steps go into one part; undefined if one read serves. */
const stepsPerRead = (
  shape: Shape,
  strides: ReadonlyArray<number>,
  width: number,
  largest: number,
  gap: number
): readonly [axis: number, count: number] | undefined => {
  let axis = -1
  for (const [i, stride] of strides.entries()) {
    if (shape[i]! > 1 && stride > 0 && (axis < 0 || stride > strides[axis]!)) axis = i
  }
  if (axis < 0) return undefined
  const stride = strides[axis]!
  const hull = hullOf(shape, strides)
  const inner = hull - (shape[axis]! - 1) * stride
  if ((stride - inner) * width > gap) return [axis, 1]
  if (hull * width <= largest) return undefined
  return [axis, Math.min(shape[axis]! - 1, Math.max(1, Math.floor((largest / width - inner) / stride) + 1))]
}

const section = (piece: ClippedCopy, axis: number, at: number, count: number): ClippedCopy => {
  const advance = (view: Omit<View, "tensor">): Omit<View, "tensor"> => ({ ...view, offset: view.offset + at * view.strides[axis]! })
  return {
    ...piece,
    shape: piece.shape.map((n, i) => i === axis ? count : n),
    views: piece.views.map(advance),
    target: advance(piece.target)
  }
}
