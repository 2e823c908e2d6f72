/**
 * Copies from a tensor whose values are codes times scales, one scale per block: each is cut and re-shaped until the scale of
 * an element is a strided view like any other (stride 0 inside a block). Blocks are `[R/B, B, C/D, D]`; what begins or
 * ends inside one, rows of a head or a ragged edge, becomes a copy of its own.
 */
import { type Coordinate, coordinates, type Copy, type Digit, type Shape, type View } from "../tensor/Copy.ts"
import type { Dequantize } from "../tensor/Transform.ts"

/** How a tensor of some shape is stored: where codes and scales of its elements lie, in elements of theirs, axis by axis. */
export interface BlockLayout<Tensor> {
  readonly shape: Shape
  readonly codes: { readonly tensor: Tensor; readonly strides: ReadonlyArray<number> }
  /** `strides`: from one block to the next along an axis; 0 where all share a scale. `blocks`: elements per block. */
  readonly scales: { readonly tensor: Tensor; readonly strides: ReadonlyArray<number>; readonly blocks: ReadonlyArray<number> }
  readonly transform: Dequantize
}

/** Part of a copy's axis: `count` steps of `every` indices from `start` on, the scale moving by `scaleStep` at each. */
interface AxisSection {
  readonly digit: Digit
  readonly start: number
  readonly count: number
  readonly every: number
  readonly scaleStep: number
}

/** Elements along one axis of the tensor whose scales are a strided view that begins at `scale`. */
interface Run {
  readonly sections: ReadonlyArray<AxisSection>
  readonly scale: number
}

const whole = (digit: Digit, scaleStep = 0): AxisSection => ({ digit, start: 0, count: digit.count, every: 1, scaleStep })

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))

/** Cut the digits of one axis (coarsest first) along blocks of `size`, `stride` apart in the scales. */
const runs = (base: number, digits: ReadonlyArray<Digit>, size: number, stride: number): Array<Run> => {
  const [digit, ...rest] = digits
  const scale = Math.floor(base / size) * stride
  if (stride === 0 || digit === undefined) return [{ sections: digits.map((d) => whole(d)), scale }]
  const { count, step } = digit
  if (rest.length === 0 && size % step === 0) {
    // Steps until the first border; then whole blocks; then what is left.
    const each = size / step
    const first = Math.min(count, Math.ceil((size - (base % size)) / step))
    const head = first === each ? 0 : first
    const middle = Math.floor((count - head) / each)
    const cut: Array<Run> = []
    if (head > 0) cut.push({ sections: [{ ...whole(digit), count: head }], scale })
    if (middle > 0) {
      cut.push({
        sections: [
          { digit, start: head, count: middle, every: each, scaleStep: stride },
          { digit, start: 0, count: each, every: 1, scaleStep: 0 }
        ],
        scale: Math.floor((base + head * step) / size) * stride
      })
    }
    const done = head + middle * each
    if (done < count) {
      cut.push({ sections: [{ ...whole(digit), start: done, count: count - done }], scale: Math.floor((base + done * step) / size) * stride })
    }
    return cut
  }
  // After `period` steps the digit is at the same place of another block.
  const period = size / gcd(step, size)
  return Array.from({ length: Math.min(period, count) }, (_, i) => {
    const section = { digit, start: i, count: Math.ceil((count - i) / period), every: period, scaleStep: ((period * step) / size) * stride }
    return runs(base + i * step, rest, size, stride).map((run) => ({ ...run, sections: [section, ...run.sections] }))
  }).flat()
}

/** The axes of a copy that repeat a source element lie along no axis of the tensor. */
const withoutRepeats = (copy: Copy): Copy => ({ ...copy, shape: copy.shape.map((n, axis) => (copy.source.strides[axis] === 0 ? 1 : n)) })

/** The copies that read codes and scales in place of a copy from the tensor of `layout`. */
export const fromBlocks = <Tensor>(copy: Copy, layout: BlockLayout<Tensor>): Array<Copy<Tensor>> => {
  const { codes, scales, shape, transform } = layout
  if (copy.shape.includes(0)) return []
  const axes: ReadonlyArray<Coordinate> = coordinates(withoutRepeats(copy), copy.source, shape)
  let parts: Array<Run> = [{ sections: [], scale: 0 }]
  for (const [k, { base, digits }] of axes.entries()) {
    const found = runs(base, digits, scales.blocks[k]!, scales.strides[k]!)
    parts = parts.flatMap((part) => found.map((run) => ({ sections: [...part.sections, ...run.sections], scale: part.scale + run.scale })))
  }
  const codesOf = new Map<number, number>()
  let codesAt = 0
  for (const [k, { base, digits }] of axes.entries()) {
    codesAt += base * codes.strides[k]!
    for (const { axis, step } of digits) codesOf.set(axis, step * codes.strides[k]!)
  }
  return parts.map(({ scale, sections }) => {
    const cut = copy.shape.flatMap((count, axis) => {
      const own = sections.filter((s) => s.digit.axis === axis)
      return own.length > 0 ? own.map((s) => ({ axis, ...s })) : [{ axis, start: 0, count, every: 1, scaleStep: 0 }]
    })
    const view = <T>(tensor: T, offset: number, stride: (axis: number) => number): View<T> => ({
      tensor,
      offset: cut.reduce((at, s) => at + s.start * stride(s.axis), offset),
      strides: cut.map((s) => s.every * stride(s.axis))
    })
    return {
      ...copy,
      shape: cut.map((s) => s.count),
      source: view(codes.tensor, codesAt, (axis) => codesOf.get(axis) ?? 0),
      target: view(copy.target.tensor, copy.target.offset, (axis) => copy.target.strides[axis]!),
      transform,
      operands: [{ tensor: scales.tensor, offset: scale, strides: cut.map((s) => s.scaleStep) }]
    }
  })
}
