/**
 * Putting a piece in place: its bits as they are, or, where values change, gathered contiguously, through the kernel, and
 * scattered; in portions that stay in the cache.
 */
import { type Shape, stridesOf } from "../../tensor/Copy.ts"
import type { Kernel } from "../../tensor/kernels/Kernel.ts"
import { kernelOf, type KernelStep } from "../../tensor/kernels/kernelFor.ts"
import type { Memory } from "../../tensor/kernels/Memory.ts"
import { type MemoryLayout, move } from "../../tensor/kernels/move.ts"
import { unpack } from "../../tensor/kernels/unpack.ts"

/** One side of a piece in memory; `width` is that of an element in bytes (a half for codes of 4 bits). */
export interface MemoryView extends MemoryLayout {
  readonly width: number
}

/** A piece with addresses instead of files. Plain data: whoever has the memory can do it. */
export interface Placing {
  readonly shape: Shape
  readonly step: KernelStep | "move"
  /** The source first, operands after it. */
  readonly from: ReadonlyArray<MemoryView>
  readonly to: MemoryView
}

/** Addresses of room for computing. */
export interface WorkRoom {
  readonly work: number
  readonly workEnd: number
}

/** Returns how many elements changed value. */
export const placeCopy = (m: Memory, placing: Placing, room: WorkRoom): number => {
  const { from, shape, step, to } = placing
  if (step !== "move") return compute(m, placing, kernelOf(step), room)
  move(m, to.width, shape, from[0]!, to)
  return 0
}

/** Are the addresses of the axes, in their order, one ascending run? */
export const isContiguous = (shape: Shape, strides: ReadonlyArray<number>): boolean => {
  let step = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== step) return false
    step *= shape[axis]!
  }
  return true
}

/** Rounding of the buffers of one portion, and what a kernel may need beyond its count. */
const SLACK = 256

/** Elements of a portion; more gains nothing. */
const LARGEST_PORTION = 1 << 16

const compute = (m: Memory, { from, shape: whole, to }: Placing, kernel: Kernel, { work, workEnd }: WorkRoom): number => {
  const perElement = from.reduce((sum, side) => sum + Math.ceil(side.width), to.width + kernel.temporary)
  const portion = Math.max(1, Math.min(LARGEST_PORTION, Math.floor((workEnd - work - SLACK) / perElement)))
  let changed = 0
  for (const { origin, shape } of portions(whole, portion)) {
    let free = work
    const room = (bytes: number): number => {
      const start = free
      free = Math.ceil((free + bytes) / 8) * 8
      return start
    }
    const count = shape.reduce((n, extent) => n * extent, 1)
    const run = kernel.elementwise ? 1 : commonRun(from, shape)
    const inputs = from.map(({ at, strides, width }, i) => {
      const start = at + offsetOf(origin, strides) * width
      const box = i === 0 || run === 1 ? shape : outerAxes(shape, run)
      if (width < 1) {
        const unpacked = room(count)
        unpack(m, box, { at: start, strides }, unpacked)
        return unpacked
      }
      if (start % width === 0 && isContiguous(box, strides)) return start
      const gathered = room(count * width)
      move(m, width, box, { at: start, strides }, { at: gathered, strides: stridesOf(box) })
      return gathered
    })
    const outAt = to.at + offsetOf(origin, to.strides) * to.width
    const straight = outAt % to.width === 0 && isContiguous(shape, to.strides)
    const out = straight ? outAt : room(count * to.width)
    const [source, ...operands] = inputs
    changed += kernel.apply(m, { source: source!, operands, out, count, run, temporary: free })
    if (!straight) move(m, to.width, shape, { at: out, strides: stridesOf(shape) }, { at: outAt, strides: to.strides })
  }
  return changed
}

const offsetOf = (origin: ReadonlyArray<number>, strides: ReadonlyArray<number>): number =>
  origin.reduce((sum, index, axis) => sum + index * strides[axis]!, 0)

/** Boxes of at most `most` elements that make up the shape, in C order. */
const portions = function*(shape: Shape, most: number): Generator<{ readonly origin: Array<number>; readonly shape: Array<number> }> {
  let axis = shape.length - 1
  let inner = 1
  while (axis >= 0 && inner * shape[axis]! <= most) inner *= shape[axis--]!
  const origin = shape.map(() => 0)
  if (axis < 0) return yield { origin, shape: [...shape] }
  const step = Math.max(1, Math.floor(most / inner))
  for (;;) {
    for (origin[axis] = 0; origin[axis]! < shape[axis]!; origin[axis]! += step) {
      const count = Math.min(step, shape[axis]! - origin[axis]!)
      yield { origin, shape: shape.map((extent, i) => i < axis ? 1 : i === axis ? count : extent) }
    }
    origin[axis] = 0
    let outer = axis - 1
    for (; outer >= 0; outer--) {
      if (++origin[outer]! < shape[outer]!) break
      origin[outer] = 0
    }
    if (outer < 0) return
  }
}

/** How many elements in a row see the same operands. */
const commonRun = (from: ReadonlyArray<MemoryView>, shape: Shape): number => {
  let run = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && from.slice(1).some((side) => side.strides[axis] !== 0)) break
    run *= shape[axis]!
  }
  return run
}

const outerAxes = (shape: Shape, run: number): Array<number> => {
  const outer = [...shape]
  for (let axis = outer.length - 1, rest = run; rest > 1; axis--) {
    rest /= outer[axis]!
    outer[axis] = 1
  }
  return outer
}
