/**
 * How the rows and columns of a parameter are those of HF matrices. A low-rank delta `B·A` of a parameter is divided among its HF
 * tensors as the parameter itself is: rows of B as rows of the parameter, columns of A as its columns. Both follow from the copies of
 * the parameter's mapping row; there is no second table. Pure.
 */
import type { BoundParameter } from "../bridge/Conversion.ts"
import { type Copy, coordinates, type Digit, type Shape, stridesOf, type View } from "../tensor/Copy.ts"

/** Positions along one axis: `offset + Σ index[i]·strides[i]`. */
export type Positions = Omit<View, "tensor">

/** Rows (or columns) of an HF matrix and which rows (columns) of a parameter they are. */
export interface Strip {
  readonly shape: Shape
  readonly hf: Positions
  readonly parameter: Positions
  /** Rows of the parameter that repeat those of the HF matrix; the opposite direction leaves them out. */
  readonly echo?: true
}

/** All positions of an axis, as they are. */
export const wholeAxis = (count: number, hfOffset = 0): Strip => ({ shape: [count], hf: { offset: hfOffset, strides: [1] }, parameter: { offset: 0, strides: [1] } })

/** An HF tensor, or one expert's slice of it, as a matrix. */
export interface HfMatrix {
  readonly tensor: string
  /** Of the tensor. */
  readonly shape: Shape
  readonly rows: number
  readonly columns: number
  /** Which slice of the first axis it is. */
  readonly expert?: { readonly index: number; readonly of: number }
  /** Columns are on an axis in front of the rows: `[in, out]`. */
  readonly transposed: boolean
}

/** What a parameter and an HF matrix have in common: these rows, of these columns. */
export interface Factor {
  readonly matrix: HfMatrix
  readonly rows: ReadonlyArray<Strip>
  readonly columns: ReadonlyArray<Strip>
}

/** A weight of a linear layer: a matrix `[out, in]` that is stored as `<module>.weight`, no table over a vocabulary's tokens. */
export const isLinearWeight = ({ parameter: { integer, name, parts, shape } }: BoundParameter): boolean =>
  shape.length === 2 && !integer && /\.weight(?:\.[^.]+)?$/.test(parts[0]!.key) && !/(^|\.)(?:word|position|token)_embeddings?\.weight$/.test(name)

/** The axis of a tensor that columns lie on: that of the copies' digits, or, of matrices of one column, the last. */
const columnAxisOf = (copies: ReadonlyArray<Divided>, rank: number): number =>
  copies.flatMap(({ columns }) => columns).map(({ hfAxis }) => hfAxis).find((axis) => axis !== undefined) ?? rank - 1

interface Axis {
  /** Of the copy. */
  readonly digit: Digit
  readonly hfAxis: number | undefined
  readonly hfStep: number
}

/** A copy, its axes divided into those of rows and those of columns. */
interface Divided {
  readonly copy: Copy
  readonly base: ReadonlyArray<number>
  readonly hfBase: ReadonlyArray<number>
  readonly rows: ReadonlyArray<Axis>
  readonly columns: ReadonlyArray<Axis>
}

const divide = (copy: Copy, shape: Shape, hfShape: Shape): Divided => {
  const target = coordinates(copy, copy.target, shape)
  // Repeated elements have a stride of 0: they are no steps along the HF tensor.
  const moving = copy.shape.map((n, axis) => (copy.source.strides[axis] === 0 ? 1 : n))
  const source = coordinates({ shape: moving }, copy.source, hfShape)
  const hfOf = new Map(source.flatMap(({ digits }, hfAxis) => digits.map((digit) => [digit.axis, { hfAxis, hfStep: digit.step }] as const)))
  const axes = (digits: ReadonlyArray<Digit>): ReadonlyArray<Axis> =>
    digits.map((digit) => ({ digit, ...(hfOf.get(digit.axis) ?? { hfAxis: undefined, hfStep: 0 }) }))
  return {
    copy,
    base: target.map(({ base }) => base),
    hfBase: source.map(({ base }) => base),
    rows: axes(target[0]!.digits),
    columns: axes(target[1]!.digits)
  }
}

/** Strips of digits: `stepOf` says how far a step along an HF axis goes among the rows (or columns). */
const stripOf = (axes: ReadonlyArray<Axis>, base: number, hfBase: number, stepOf: (hfAxis: number) => number, echo: boolean): Strip => ({
  shape: axes.map(({ digit }) => digit.count),
  hf: { offset: hfBase, strides: axes.map(({ hfAxis, hfStep }) => (hfAxis === undefined ? 0 : hfStep * stepOf(hfAxis))) },
  parameter: { offset: base, strides: axes.map(({ digit }) => digit.step) },
  ...(echo ? { echo: true } : {})
})

const unique = (strips: ReadonlyArray<Strip>): ReadonlyArray<Strip> => [...new Map(strips.map((strip) => [JSON.stringify(strip), strip])).values()]

/** The HF tensors of a linear weight, with the rows and columns that each gives it. RangeError for a row that mixes both. */
export const factorsOf = ({ copies, parameter: { expert, shape }, tensors }: BoundParameter): ReadonlyArray<Factor> =>
  [...new Map(tensors.map((t) => [t.name, t])).values()].map(({ name, shape: hfShape }): Factor => {
    const divided = copies.filter(({ source, transform }) => source.tensor === name && transform?.kind !== "fill").map((copy) => divide(copy, shape, hfShape))
    const columnAxis = columnAxisOf(divided, hfShape.length)
    const packed = expert !== undefined && hfShape.length > 2
    const rowAxes = hfShape.map((_, axis) => axis).filter((axis) => axis !== columnAxis && !(packed && axis === 0))
    const rowSteps = new Map(stridesOf(rowAxes.map((axis) => hfShape[axis]!)).map((step, i) => [rowAxes[i]!, step]))
    const rowStep = (axis: number): number => {
      const step = rowSteps.get(axis)
      if (step === undefined) throw new RangeError(`${name}: rows and columns of a matrix are mixed`)
      return step
    }
    const rows = unique(divided.map(({ base, copy, hfBase, rows: own }) =>
      stripOf(own, base[0]!, rowAxes.reduce((sum, axis) => sum + hfBase[axis]! * rowSteps.get(axis)!, 0), rowStep, copy.echo === true)))
    const columns = unique(divided.map(({ base, columns: own, hfBase }) => stripOf(own, base[1]!, hfBase[columnAxis]!, () => 1, false)))
    if (divided.length !== rows.length * columns.length) throw new RangeError(`${name}: its rows do not all have the same columns`)
    return {
      matrix: {
        tensor: name,
        shape: hfShape,
        rows: rowAxes.reduce((n, axis) => n * hfShape[axis]!, 1),
        columns: hfShape[columnAxis]!,
        transposed: rowAxes.length > 0 && columnAxis < rowAxes[0]!,
        ...(packed ? { expert } : {})
      },
      rows,
      columns
    }
  })

/** Rows of a parameter that hold a constant, for no HF matrix has them. */
export const blankRows = ({ copies, parameter: { shape } }: BoundParameter): ReadonlyArray<Strip> =>
  unique(copies.filter(({ transform }) => transform?.kind === "fill").map((copy) => {
    const [rows] = coordinates(copy, copy.target, shape)
    return {
      shape: rows!.digits.map(({ count }) => count),
      hf: { offset: 0, strides: rows!.digits.map(() => 0) },
      parameter: { offset: rows!.base, strides: rows!.digits.map(({ step }) => step) },
      echo: true
    }
  }))
