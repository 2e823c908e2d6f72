/**
 * A mapping as a picture: rectangles of source tensors and the rectangles of the target they become, from the very copies that a
 * conversion runs. Tensors are drawn as planes: leading axes as rows, the others as columns.
 */
import { type Copy, coordinates, type Shape, simplify, type View, volume } from "../../tensor/Copy.ts"

export interface Plane {
  readonly shape: Shape
  readonly rows: number
  readonly columns: number
}

/** A rectangle: first row, first column, rows, columns. */
export type Rectangle = readonly [y: number, x: number, height: number, width: number]

export interface Band {
  /** Index of the source. */
  readonly source: number
  readonly from: Rectangle
  readonly to: Rectangle
  /** The values change on the way. */
  readonly changes: boolean
}

/** Equal layers and experts share a picture. */
export interface Picture {
  readonly sources: ReadonlyArray<Plane>
  readonly target: Plane
  readonly bands: ReadonlyArray<Band>
  /** The number of bands; of a mapping with very many not all are listed. */
  readonly total: number
}

/** Nobody tells more than this apart. */
const MOST_BANDS = 192

/** The last axis that some copy has only a part of; -1 if all are whole. */
const lastPartial = (shape: Shape, views: ReadonlyArray<readonly [Copy, View]>): number => {
  let last = -1
  for (const [copy, view] of views) {
    for (const [k, { base, digits }] of coordinates(copy, view, shape).entries()) {
      const count = digits.reduce((n, d) => n * d.count, 1)
      if ((base !== 0 || count !== shape[k]!) && k > last) last = k
    }
  }
  return last
}

const planeOf = (shape: Shape, views: ReadonlyArray<readonly [Copy, View]>): Plane => {
  if (shape.length < 2) return { shape, rows: shape[0] ?? 1, columns: 1 }
  const lead = Math.min(shape.length - 1, Math.max(1, lastPartial(shape, views) + 1))
  return { shape, rows: volume(shape.slice(0, lead)), columns: volume(shape.slice(lead)) }
}

/** The rectangle of axes with these extents and strides from an offset; undefined if they fill none. */
const rectangle = (axes: ReadonlyArray<readonly [extent: number, stride: number]>, offset: number, width: number): Rectangle | undefined => {
  const [y, x] = [Math.floor(offset / width), offset % width]
  let [height, columns, elements] = [1, 1, 1]
  for (const [extent, stride] of axes) {
    elements *= extent
    const perRow = stride < width ? Math.min(extent, Math.ceil(width / stride)) : 1
    if (stride < width && perRow < extent && (width % stride !== 0 || extent % perRow !== 0)) return undefined
    columns += (perRow - 1) * stride
    height += stride < width ? extent / perRow - 1 : (extent - 1) * (stride / width)
    if (stride >= width && stride % width !== 0) return undefined
  }
  return height * columns === elements && x + columns <= width ? [y, x, height, columns] : undefined
}

/** The rectangles of one copy on both sides, as many as are wanted. */
const bandsOf = (given: Copy, from: Plane, to: Plane, source: number, most: number): { readonly bands: ReadonlyArray<Band>; readonly total: number } => {
  const copy = simplify(given)
  const axis = (view: View, k: number) => [copy.shape[k]!, view.strides[k]!] as const
  const inner = (view: View, first: number) => copy.shape.map((_, k) => axis(view, k)).slice(first)
  let first = copy.shape.length
  while (first > 0) {
    const [a, b] = [rectangle(inner(copy.source, first - 1), copy.source.offset, from.columns), rectangle(inner(copy.target, first - 1), copy.target.offset, to.columns)]
    if (!a || !b) break
    first--
  }
  const outer = copy.shape.slice(0, first)
  const total = volume(outer)
  const bands: Array<Band> = []
  for (let n = 0; n < Math.min(total, most); n++) {
    let [rest, s, t] = [n, copy.source.offset, copy.target.offset]
    for (let k = first - 1; k >= 0; k--) {
      const at = rest % outer[k]!
      rest = Math.floor(rest / outer[k]!)
      s += at * copy.source.strides[k]!
      t += at * copy.target.strides[k]!
    }
    const one: Rectangle = [0, 0, 1, 1]
    bands.push({
      source,
      from: rectangle(inner(copy.source, first), s, from.columns) ?? one.with(0, Math.floor(s / from.columns)) as unknown as Rectangle,
      to: rectangle(inner(copy.target, first), t, to.columns) ?? one.with(0, Math.floor(t / to.columns)) as unknown as Rectangle,
      changes: copy.transform !== undefined
    })
  }
  return { bands, total }
}

/**
 * `copies` run from `sources` to a tensor of `target`'s shape.
 *
 * @throws RangeError if a copy leaves its tensor
 */
export const pictureOf = (copies: ReadonlyArray<Copy>, sources: ReadonlyArray<{ readonly name: string; readonly shape: Shape }>, target: Shape): Picture => {
  const to = planeOf(target, copies.map((copy) => [copy, copy.target]))
  const own = sources.map(({ name }) => copies.filter((copy) => copy.source.tensor === name))
  const planes = sources.map(({ shape }, k) => planeOf(shape, own[k]!.map((copy) => [copy, copy.source])))
  const bands: Array<Band> = []
  let total = 0
  for (const [k, plane] of planes.entries()) {
    for (const copy of own[k]!) {
      const found = bandsOf(copy, plane, to, k, MOST_BANDS - bands.length)
      bands.push(...found.bands)
      total += found.total
    }
  }
  return { sources: planes, target: to, bands, total }
}
