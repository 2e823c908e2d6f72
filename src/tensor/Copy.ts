/**
 * The one idea: a conversion is a set of copies between two tensor spaces. A {@link Copy} says that a strided box of one
 * tensor is a strided box of another; the opposite direction is the same copy with its sides swapped. Everything here is
 * arithmetic on shapes, in elements; no bytes are touched.
 */
import type { Transform } from "./Transform.ts"

/** Extents in elements, outermost first; `[]` is a scalar. */
export type Shape = ReadonlyArray<number>

/**
 * Element addresses `offset + Σ index[i]·strides[i]` of a tensor. A stride of 0 repeats an element (broadcast operands). `Tensor`: what
 * the tensor is known by, its name in a space or, once it is known where that lies, the array itself.
 */
export interface View<Tensor = string> {
  readonly tensor: Tensor
  readonly offset: number
  readonly strides: ReadonlyArray<number>
}

/** `Source`: what source and operands are known by; a target is always known by its name. */
export interface Copy<Source = string> {
  /** Extent of each axis; both views have one stride per axis. */
  readonly shape: Shape
  readonly source: View<Source>
  readonly target: View
  /** What happens to values on the way; absent: the bytes are the same (or cast, if the dtypes differ). */
  readonly transform?: Transform
  /** Further inputs of the transform (scales, the original of a rounded value), read element by element alongside. */
  readonly operands?: ReadonlyArray<View<Source>>
  /**
   * Fills elements that no source element is the value of: it repeats source elements that another copy moves, or writes a
   * constant. It has no opposite direction.
   */
  readonly echo?: true
}

/** An axis-aligned box of a tensor. */
export interface Box {
  readonly offsets: ReadonlyArray<number>
  readonly sizes: ReadonlyArray<number>
}

export type Side = "source" | "target"

/** Number of elements; 1 for a scalar. Throws beyond 2^53. */
export const volume = (shape: Shape): number => {
  let n = 1
  for (const extent of shape) n *= extent
  if (!Number.isSafeInteger(n)) throw new RangeError(`a tensor of shape [${shape}] has too many elements`)
  return n
}

/** C-order strides in elements. */
export const stridesOf = (shape: Shape): Array<number> => {
  const strides = shape.map(() => 1)
  let step = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step
    step *= shape[axis]!
  }
  return strides
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((n, i) => n === b[i])

export const wholeBox = (shape: Shape): Box => ({ offsets: shape.map(() => 0), sizes: shape })

/** The contiguous view of a whole tensor, or of the rows from `row` on. */
export const viewOf = <Tensor>(tensor: Tensor, shape: Shape, row = 0): View<Tensor> => {
  const strides = stridesOf(shape)
  return { tensor, offset: row * (strides[0] ?? 1), strides }
}

/** The whole of `source` is the whole of `target`. */
export const identity = <Source>(source: Source, target: string, shape: Shape): Copy<Source> => {
  const strides = stridesOf(shape)
  return { shape, source: { tensor: source, offset: 0, strides }, target: { tensor: target, offset: 0, strides } }
}

/** The same copy from what its source and operands are known by otherwise. */
export const readFrom = <From, To>(copy: Copy<From>, of: (tensor: From) => To): Copy<To> => {
  const { operands, source, ...rest } = copy
  const view = (v: View<From>): View<To> => ({ ...v, tensor: of(v.tensor) })
  return { ...rest, source: view(source), ...(operands ? { operands: operands.map(view) } : {}) }
}

/** One axis of a copy, as seen along one axis of a tensor: `count` steps of `step` coordinates. */
export interface Digit {
  readonly axis: number
  readonly count: number
  readonly step: number
}

/** A copy's address along one tensor axis: `base + Σ index[digit.axis]·digit.step`, coarsest digit first. */
export interface Coordinate {
  readonly base: number
  readonly digits: ReadonlyArray<Digit>
}

/** Express a view of a tensor of `shape` axis by axis. Copy axes may subdivide tensor axes, never span several. */
export const coordinates = (copy: Pick<Copy, "shape">, view: Omit<View, "tensor">, shape: Shape): ReadonlyArray<Coordinate> => {
  const strides = stridesOf(shape)
  const digits: Array<Array<Digit>> = shape.map(() => [])
  for (const [axis, count] of copy.shape.entries()) {
    if (count === 1) continue
    const stride = view.strides[axis]!
    const along = strides.findIndex((s, k) => stride >= s && shape[k]! > 1)
    if (along < 0 || stride % strides[along]! !== 0) {
      throw new RangeError(`axis ${axis} of a copy does not lie along one axis of [${shape}]`)
    }
    digits[along]!.push({ axis, count, step: stride / strides[along]! })
  }
  let rest = view.offset
  return shape.map((extent, k) => {
    const base = Math.floor(rest / strides[k]!)
    rest -= base * strides[k]!
    const own = digits[k]!.sort((a, b) => b.step - a.step)
    let reach = base
    for (const d of own) reach += (d.count - 1) * d.step
    if (reach >= extent) throw new RangeError(`a copy leaves its tensor [${shape}] along axis ${k}`)
    return { base, digits: own }
  })
}

/** A range of every digit of one coordinate. */
type AxisRanges = ReadonlyArray<readonly [start: number, count: number]>

/** The parts of a mixed-radix coordinate that fall into [low, high): at most two partial ones per digit, and a full middle. */
const within = ({ base, digits }: Coordinate, low: number, high: number, level = 0): Array<AxisRanges> => {
  const digit = digits[level]
  if (digit === undefined) return base >= low && base < high ? [[]] : []
  let inner = 1
  for (const d of digits.slice(level + 1)) inner += (d.count - 1) * d.step
  if (inner > digit.step) throw new RangeError("the axes of a copy interleave")
  const first = Math.max(0, Math.floor((low - base - inner) / digit.step) + 1)
  const last = Math.min(digit.count - 1, Math.ceil((high - base) / digit.step) - 1)
  const out: Array<AxisRanges> = []
  for (let i = first; i <= last;) {
    const start = base + i * digit.step
    const fits = start >= low && start + inner <= high
    if (!fits) {
      for (const rest of within({ base: start, digits }, low, high, level + 1)) out.push([[i, 1], ...rest])
      i++
      continue
    }
    const lastFit = Math.min(last, Math.floor((high - inner - base) / digit.step))
    out.push([[i, lastFit - i + 1], ...digits.slice(level + 1).map((d) => [0, d.count] as const)])
    i = lastFit + 1
  }
  return out
}

/**
 * Cut a copy to the part whose `side` lies in `box` of a tensor of shape `from`, and re-address that side as the same box at
 * `at` of a tensor `tensor` of shape `to` (and strides `toStrides`, if it is not in C order). `to` may have further leading
 * axes (a layer or expert axis), fixed at `at`.
 * Returns no copy if they do not meet; the other side and the operands follow.
 */
export const rebase = <Source, S extends Side>(
  copy: Copy<Source>,
  side: S,
  from: Shape,
  box: Box,
  tensor: S extends "source" ? Source : string,
  to: Shape,
  at: ReadonlyArray<number>,
  toStrides: ReadonlyArray<number> = stridesOf(to)
): Array<Copy<Source>> => {
  const lead = to.length - from.length
  const axes = coordinates(copy, copy[side], from)
  let pieces: Array<ReadonlyArray<readonly [axis: number, start: number, count: number]>> = [[]]
  for (const [k, coordinate] of axes.entries()) {
    const low = box.offsets[k]!
    const ranges = within(coordinate, low, low + box.sizes[k]!)
    if (ranges.length === 0) return []
    pieces = pieces.flatMap((piece) =>
      ranges.map((r) => [...piece, ...r.map(([start, count], i) => [coordinate.digits[i]!.axis, start, count] as const)])
    )
  }
  // Strides of the re-addressed side depend on the digits only, not on the piece.
  const strides = copy.shape.map(() => 0)
  let fixed = 0
  for (let k = 0; k < lead; k++) fixed += at[k]! * toStrides[k]!
  for (const [k, { base, digits }] of axes.entries()) {
    fixed += (base - box.offsets[k]! + at[k + lead]!) * toStrides[k + lead]!
    for (const d of digits) strides[d.axis] = d.step * toStrides[k + lead]!
  }
  return pieces.map((ranges) => {
    const shape = [...copy.shape]
    const start = copy.shape.map(() => 0)
    for (const [axis, s, n] of ranges) {
      start[axis] = s
      shape[axis] = n
    }
    const advance = <Tensor>(view: View<Tensor>): View<Tensor> => ({
      ...view,
      offset: view.strides.reduce((sum, stride, axis) => sum + stride * start[axis]!, view.offset)
    })
    return {
      ...copy,
      shape,
      source: side === "source" ? advance({ tensor: tensor as Source, offset: fixed, strides }) : advance(copy.source),
      target: side === "target" ? advance({ tensor: tensor as string, offset: fixed, strides }) : advance(copy.target),
      ...(copy.operands ? { operands: copy.operands.map(advance) } : {})
    }
  })
}

/** Drop axes of extent 1 and join neighbours that are one run on every view. The address sequence stays the same. */
export const simplify = <Source>(copy: Copy<Source>): Copy<Source> => {
  const views = [copy.source, copy.target, ...(copy.operands ?? [])]
  const shape: Array<number> = []
  const strides: Array<Array<number>> = views.map(() => [])
  for (const [axis, extent] of copy.shape.entries()) {
    if (extent === 1) continue
    const last = shape.length - 1
    const joins = last >= 0 &&
      views.every((v, i) => strides[i]![last] === v.strides[axis]! * extent)
    if (joins) {
      shape[last]! *= extent
      views.forEach((v, i) => { strides[i]![last] = v.strides[axis]! })
    } else {
      shape.push(extent)
      views.forEach((v, i) => { strides[i]!.push(v.strides[axis]!) })
    }
  }
  return {
    ...copy,
    shape,
    source: { ...copy.source, strides: strides[0]! },
    target: { ...copy.target, strides: strides[1]! },
    ...(copy.operands ? { operands: copy.operands.map((v, i) => ({ ...v, strides: strides[2 + i]! })) } : {})
  }
}
