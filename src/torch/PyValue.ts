/**
 * Python values as the writers take them and the readers return them. Ints are numbers (bigint beyond 2^53), floats are
 * {@link PyFloat} (a number with a fraction is taken as a float too), dicts are Maps in insertion order, lists and tuples
 * are arrays.
 */
import { FormatError } from "../errors.ts"
import type { DType } from "../tensor/DType.ts"
import { isInstance, PersistentId, PickleDict, PickleGlobal, PickleList, PickleObject, PyFloat } from "./PickleValue.ts"
import type { PickleValue } from "./PickleValue.ts"
import { ORDERED_DICT } from "./Globals.ts"
import { isTensor, tensorView } from "./TensorView.ts"
import type { TensorView } from "./TensorView.ts"

export { PyFloat }

/** A contiguous CPU tensor, to be written, whose bytes are elsewhere. */
export class PyTensorHeader {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  constructor(dtype: DType, shape: ReadonlyArray<number>) {
    this.dtype = dtype
    this.shape = shape
  }
}

/** The same with its bytes. */
export class PyTensor extends PyTensorHeader {
  readonly data: Uint8Array
  constructor(dtype: DType, shape: ReadonlyArray<number>, data: Uint8Array) {
    super(dtype, shape)
    this.data = data
  }
}

/** `torch.empty(0, dtype=torch.uint8)`: what Transformer Engine stores as `_extra_state` when FP8 is off. */
export const EMPTY_UINT8 = new PyTensor("U8", [0], new Uint8Array(0))

export type PyValueOf<T extends PyTensorHeader> =
  | null
  | boolean
  | number
  | bigint
  | string
  | PyFloat
  | T
  | ReadonlyArray<PyValueOf<T>>
  | ReadonlyMap<PyValueOf<T>, PyValueOf<T>>

export type PyValue = PyValueOf<PyTensor>

/** A tensor that was read: a view, not yet its bytes. */
export class PyTensorView {
  readonly view: TensorView
  constructor(view: TensorView) {
    this.view = view
  }
}

/** A value of a class that is not known here (`argparse.Namespace`, enums, numpy arrays, …): its name and inert contents. */
export class PyOpaque {
  readonly module: string
  readonly name: string
  readonly contents: PickleGlobal | PickleObject | PersistentId
  constructor(contents: PickleGlobal | PickleObject | PersistentId) {
    this.module = contents instanceof PersistentId ? "" : contents.module
    this.name = contents instanceof PersistentId ? "" : contents.name
    this.contents = contents
  }
}

export type PyRead =
  | null
  | boolean
  | number
  | bigint
  | string
  | PyFloat
  | PyTensorView
  | PyOpaque
  | ReadonlyArray<PyRead>
  | ReadonlyMap<PyRead, PyRead>

/** Nesting of real values is below 10. */
const MAX_DEPTH = 64
/** Elements of one value; a pickle that shares lists can stand for 10^41. */
const MAX_ELEMENTS = 1_000_000

/**
 * Converts a decoded pickle. What is opaque stays so (its contents are not walked). Error: `pickle/walk` for values that
 * are nested too deeply (or contain themselves) or unfold to too many elements.
 */
export const pyRead = (value: PickleValue): PyRead => {
  let elements = 0
  const walk = (from: PickleValue, depth: number): PyRead => {
    if (depth > MAX_DEPTH) throw new FormatError("pickle/walk", `a value nested more than ${MAX_DEPTH} deep`)
    if (++elements > MAX_ELEMENTS) throw new FormatError("pickle/walk", `a value of more than ${MAX_ELEMENTS} elements`)
    if (from === null || typeof from !== "object" || from instanceof PyFloat) return from
    if (Array.isArray(from)) return from.map((item) => walk(item, depth + 1))
    if (from instanceof PickleList) return from.items.map((item) => walk(item, depth + 1))
    if (from instanceof PickleDict) return dict(from, depth)
    if (isInstance(from, ORDERED_DICT) && from.args.length === 0) return dict(from.dict ?? new PickleDict(), depth)
    if (isTensor(from as PickleObject)) return new PyTensorView(tensorView(from as PickleObject))
    return new PyOpaque(from as PickleGlobal | PickleObject | PersistentId)
  }
  const dict = (from: PickleDict, depth: number): ReadonlyMap<PyRead, PyRead> => {
    const map = new Map<PyRead, PyRead>()
    const { entries } = from
    for (let i = 0; i < entries.length; i += 2) map.set(walk(entries[i]!, depth + 1), walk(entries[i + 1]!, depth + 1))
    return map
  }
  return walk(value, 0)
}
