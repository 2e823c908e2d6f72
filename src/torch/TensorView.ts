/**
 * A tensor as its pickle describes it: a strided view of a storage record. Views (offsets, transposed or repeated strides,
 * storages larger than the tensor) are legal; reaching outside the storage is not.
 */
import { FormatError, quote } from "../errors.ts"
import { bytesOf } from "../tensor/DType.ts"
import type { DType } from "../tensor/DType.ts"
import type { Archive } from "./Archive.ts"
import { dtypeOfGlobal, dtypeOfStorage, REBUILD_PARAMETER, REBUILD_PARAMETER_STATE, REBUILD_TYPED, REBUILD_V2, REBUILD_V3, SIZE, UNTYPED_STORAGE } from "./Globals.ts"
import { isInstance, PersistentId, PickleGlobal, PickleObject } from "./PickleValue.ts"
import type { PickleValue } from "./PickleValue.ts"
import type { Ranged } from "./Ranges.ts"
import { contentOffset } from "./Zip.ts"

export interface TensorView {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  /** In elements. */
  readonly strides: ReadonlyArray<number>
  /** In elements. */
  readonly storageOffset: number
  /** Names the storage's record, `data/<key>`. */
  readonly key: string
  /** Bytes of the storage. */
  readonly storageLength: number
}

/** Where the bytes of a storage are. */
export interface StoragePlace {
  /** From the start of the item. */
  readonly dataOffset: number
  readonly dataLength: number
  /** Of the whole storage; 0 = not computed. */
  readonly crc32: number
}

/** torch itself stops at 64 dimensions. */
export const MAX_RANK = 64

const fail = (code: string, problem: string): never => {
  throw new FormatError(`torch/${code}`, problem, { record: "data.pkl" })
}

const REBUILDERS: ReadonlySet<string> = new Set([REBUILD_V2, REBUILD_V3, REBUILD_PARAMETER, REBUILD_PARAMETER_STATE, REBUILD_TYPED])

/** A parameter with attributes that holds a parameter: deeper than torch writes. */
const DEEPEST_CALL = 3

/**
 * The call that builds the tensor itself, out of those that make it a parameter or give it attributes
 * (`_rebuild_from_type_v2(function, type, arguments, attributes)`).
 */
const innermost = (value: PickleValue): PickleValue => {
  let call = value
  for (let i = 0; i < DEEPEST_CALL; i++) {
    if (isInstance(call, REBUILD_PARAMETER) || isInstance(call, REBUILD_PARAMETER_STATE)) call = call.args[0]!
    else if (isInstance(call, REBUILD_TYPED) && call.args[0] instanceof PickleGlobal && Array.isArray(call.args[2])) call = new PickleObject(call.args[0], call.args[2])
    else break
  }
  return call
}

export const isTensor = (value: PickleValue): value is PickleObject =>
  value instanceof PickleObject && REBUILDERS.has(value.global.id)

/** Errors: `torch/tensor` (not the form torch writes), `torch/dtype`, `torch/bounds`. */
export const tensorView = (value: PickleValue): TensorView => {
  const call = innermost(value)
  const v3 = isInstance(call, REBUILD_V3)
  if (!(v3 || isInstance(call, REBUILD_V2))) return fail("tensor", "the archive holds something that is not a tensor")
  const [storage, offset, shape, strides, , , last, more] = call.args
  const tail = v3 ? more : last
  if (tail !== undefined && tail !== null) fail("tensor", "a tensor with extra state (conjugate or negative view)")
  const { dtype, elements, key } = storageOf(storage, v3 ? last : undefined)
  const view: TensorView = {
    dtype,
    shape: indices(shape),
    strides: indices(strides),
    storageOffset: index(offset),
    key,
    storageLength: product([elements, v3 ? 1 : bytesOf(dtype)])
  }
  if (view.shape.length !== view.strides.length) fail("tensor", "a tensor with more sizes than strides, or fewer")
  checkBounds(view)
  return view
}

/**
 * What a persistent id says of a storage: its class, the name of its data, its length in elements of the class. Before the archives
 * of torch 1.6 ids had a sixth element: null, or a view of another storage, which no torch since 0.4 has written.
 */
export const storageId = (id: PickleValue | undefined): { readonly kind: PickleGlobal; readonly key: string; readonly elements: PickleValue } => {
  if (!Array.isArray(id) || (id.length !== 5 && id.length !== 6) || id[0] !== "storage" || !(id[1] instanceof PickleGlobal)) {
    return fail("tensor", "a tensor without a storage")
  }
  const [, kind, key, , elements, parent = null] = id
  if (parent !== null) fail("tensor", "a storage that is a view of another")
  if (typeof key !== "string" || !/^[0-9]{1,20}$/.test(key)) return fail("tensor", "the key of a storage is not a number")
  return { kind, key, elements: elements! }
}

/** The elements lie side by side in row-major order, wherever in the storage. */
export const isInOrder = ({ shape, strides }: Pick<TensorView, "shape" | "strides">): boolean => {
  let step = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis]! > 1 && strides[axis] !== step) return false
    step *= Math.max(1, shape[axis]!)
  }
  return true
}

const storageOf = (value: PickleValue | undefined, dtype: PickleValue | undefined) => {
  const id = value instanceof PersistentId ? value.id : undefined
  const { elements, key, kind } = storageId(id)
  const named = dtype instanceof PickleGlobal ? dtype : kind
  if (dtype !== undefined && kind.id !== UNTYPED_STORAGE) fail("tensor", `a storage of ${quote(kind.id)} for an explicit dtype`)
  const known = dtype === undefined ? dtypeOfStorage(kind.id) : dtypeOfGlobal(named.id)
  if (known === undefined) return fail("dtype", `${quote(named.id.replace(" ", "."))} is not a dtype that is supported here`)
  return { dtype: known, elements: index(elements), key }
}

/** The last element a view reaches must be in its storage. */
const checkBounds = (view: TensorView) => {
  const elements = Math.floor(view.storageLength / bytesOf(view.dtype))
  let last = view.storageOffset
  let empty = false
  view.shape.forEach((size, i) => {
    empty ||= size === 0
    if (size > 1) last += (size - 1) * view.strides[i]!
  })
  product(view.shape)
  if (view.storageOffset > elements || (!empty && !(last < elements))) {
    fail("bounds", `a view of [${view.shape}] with strides [${view.strides}] from element ${view.storageOffset} leaves its storage of ${elements} elements`)
  }
}

/** Finds the record behind a view. Errors: `torch/no-data`, `torch/data-size`, those of `zip/…`. */
export function* placeStorage(archive: Archive, view: TensorView): Ranged<StoragePlace> {
  const name = `${archive.root}/data/${view.key}`
  const record = archive.records.get(name)
  if (record === undefined) return fail("no-data", `the record ${quote(name)} is missing`)
  if (record.size !== view.storageLength) {
    fail("data-size", `the record ${quote(name)} has ${record.size} bytes, the tensor's storage ${view.storageLength}`)
  }
  return { dataOffset: yield* contentOffset(record), dataLength: record.size, crc32: record.crc32 }
}

const index = (value: PickleValue | undefined): number =>
  typeof value === "number" && value >= 0 ? value : fail("tensor", "a size, stride or offset is not a non-negative integer")

const indices = (value: PickleValue | undefined): ReadonlyArray<number> => {
  const list = isInstance(value, SIZE) ? value.args[0] : value
  if (!Array.isArray(list) || list.length > MAX_RANK) return fail("tensor", "sizes and strides are not tuples of at most 64 integers")
  return list.map(index)
}

const product = (factors: ReadonlyArray<number>): number => {
  // One zero makes any tensor empty, whatever the other sizes are.
  const result = factors.includes(0) ? 0 : factors.reduce((a, b) => a * b, 1)
  return Number.isSafeInteger(result) ? result : fail("tensor", `a tensor of ${result} elements`)
}
