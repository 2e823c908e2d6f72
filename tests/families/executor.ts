/**
 * Runs plans in memory, element by element: the plainest reading of a copy, to hold the plans against. Every element is a
 * number of its own, so that one that is lost, doubled or misplaced shows.
 */
import type { SourceArray, SourceCopy, TargetArray } from "../../src/engine/internal/Target.ts"
import { type Shape, type View, volume } from "../../src/tensor/Copy.ts"

/** What arrays in files hold. */
export class Contents {
  readonly #values = new Map<string, Float64Array>()

  put({ offset, path }: Pick<SourceArray, "path" | "offset">, values: Float64Array): void {
    this.#values.set(`${path}:${offset}`, values)
  }

  get({ offset, path }: SourceArray): Float64Array {
    const values = this.#values.get(`${path}:${offset}`)
    if (!values) throw new Error(`nothing is at byte ${offset} of ${path}`)
    return values
  }
}

const add = ({ constant }: { readonly constant: number }, value: number): number => value + constant

/** Addresses of a view in the order of the copy's axes. */
function* addresses(shape: Shape, { offset, strides }: Omit<View, "tensor">): Generator<number> {
  const index = shape.map(() => 0)
  const total = volume(shape)
  for (let i = 0, at = offset; i < total; i++) {
    yield at
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at += strides[axis]!
      if (++index[axis]! < shape[axis]!) break
      at -= strides[axis]! * shape[axis]!
      index[axis] = 0
    }
  }
}

const run = (copy: SourceCopy, contents: Contents, target: Float64Array): void => {
  const { operands = [], shape, source, transform } = copy
  const read = (view: View<SourceArray>) => contents.get(view.tensor)
  const from = read(source)
  const sources = addresses(shape, source)
  const candidates = operands[0] && { values: read(operands[0]), at: addresses(shape, operands[0]) }
  for (const to of addresses(shape, copy.target)) {
    const value = from[sources.next().value!]!
    const result = transform === undefined ? value
      : transform.kind === "add" ? add(transform, value)
      : transform.kind === "restore" ? restored(transform, value, candidates!.values[candidates!.at.next().value!]!)
      : transform.kind === "fill" ? transform.value
      : Number.NaN
    if (to >= target.length || !Number.isNaN(target[to]!)) throw new Error(`${copy.target.tensor} element ${to} is written twice, or outside`)
    target[to] = result
  }
}

/** The original where the step forward gives what is stored, else the step back. */
const restored = (step: Extract<NonNullable<SourceCopy["transform"]>, { kind: "restore" }>, value: number, candidate: number): number =>
  step.forward && add(step.forward, candidate) === value ? candidate : add(step.backward!, value)

/** The array with all its copies run; every element must have been written. */
export const assemble = (array: TargetArray, contents: Contents): Float64Array => {
  const { id, shape } = array
  const values = new Float64Array(volume(shape)).fill(Number.NaN)
  for (const copy of array.copies()) run(copy, contents, values)
  const hole = values.findIndex(Number.isNaN)
  if (hole >= 0) throw new Error(`${id} element ${hole} is never written`)
  return values
}
