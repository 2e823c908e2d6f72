/** A copy of a tensor that another copy makes, as copies of what that one reads. */
import { type Box, type Copy, coordinates, type Digit, rebase, type Shape } from "./Copy.ts"

interface Step {
  readonly offset: number
  /** Of the index of the inner copy's axis. */
  readonly axis: number
  readonly index: number
}

/** All places of the digits that are counted one by one, with the distance of each along the tensor's axis. */
const placesOf = (digits: ReadonlyArray<Digit>): ReadonlyArray<ReadonlyArray<Step>> =>
  digits.reduce<ReadonlyArray<ReadonlyArray<Step>>>((places, { axis, count, step }) =>
    places.flatMap((place) => Array.from({ length: count }, (_, index) => [...place, { offset: index * step, axis, index }])), [[]])

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((a, b) => a + b, 0)

/** Boxes of the tensor between two copies, and where and by which strides the first copy reads each. */
interface Window {
  readonly box: Box
  readonly offset: number
  readonly strides: ReadonlyArray<number>
}

/** The first copy, box by box: within one, neighbours in the tensor are at a fixed distance in what is read. */
const windows = <Source>(inner: Copy<Source>, shape: Shape): ReadonlyArray<Window> => {
  const axes = coordinates(inner, inner.target, shape).map(({ base, digits }) => {
    const last = digits.at(-1)
    const run = last?.step === 1 ? last : undefined
    return { run, places: placesOf(run ? digits.slice(0, -1) : digits).map((place) => ({ at: base + sum(place.map(({ offset }) => offset)), place })) }
  })
  let found: ReadonlyArray<Window> = [{ box: { offsets: [], sizes: [] }, offset: inner.source.offset, strides: [] }]
  for (const { places, run } of axes) {
    found = found.flatMap(({ box, offset, strides }) => places.map(({ at, place }): Window => ({
      box: { offsets: [...box.offsets, at], sizes: [...box.sizes, run?.count ?? 1] },
      offset: offset + sum(place.map(({ axis, index }) => index * inner.source.strides[axis]!)),
      strides: [...strides, run ? inner.source.strides[run.axis]! : 0]
    })))
  }
  return found
}

/**
 * `outer` reads a tensor of `shape` that `inner` fills, of one array or several: the same elements, read where `inner` reads them. What
 * `outer` does to values it still does; `inner` changes none.
 */
export const compose = <Source>(inner: Copy<Source>, outer: Copy, shape: Shape): ReadonlyArray<Copy<Source>> => {
  if (inner.transform || outer.operands) throw new RangeError("copies that change values, or read beside, are not composed")
  const start = shape.map(() => 0)
  return windows(inner, shape).flatMap(({ box, offset, strides }) =>
    rebase<Source, "source">(outer as unknown as Copy<Source>, "source", shape, box, inner.source.tensor, shape, start, strides)
      .map((copy) => ({ ...copy, source: { ...copy.source, offset: copy.source.offset + offset } })))
}
