/** The pickle of a contiguous tensor, opcode for opcode as torch 2.13 writes it. */
import { FormatError } from "../errors.ts"
import { bytesOf, torchName } from "../tensor/DType.ts"
import type { DType } from "../tensor/DType.ts"
import { ORDERED_DICT, REBUILD_V2, REBUILD_V3, storageGlobal, UNTYPED_STORAGE } from "./Globals.ts"
import { PickleWriter } from "./PickleWriter.ts"
import { MAX_RANK } from "./TensorView.ts"

/** Bytes of the tensor. Errors: `torch/dtype` (torch has no such dtype), `torch/shape`. */
export const tensorLength = (dtype: DType, shape: ReadonlyArray<number>): number => {
  if (torchName(dtype) === undefined) throw new FormatError("torch/dtype", `torch has no dtype ${dtype}`)
  const length = shape.reduce((a, b) => a * b, 1) * bytesOf(dtype)
  if (shape.length > MAX_RANK || !shape.every((n) => Number.isSafeInteger(n) && n >= 0) || !Number.isSafeInteger(length)) {
    throw new FormatError("torch/shape", `[${shape}] is not the shape of a tensor`)
  }
  return length
}

/** Appends the tensor whose bytes are the record `data/<key>`, remembered under `memoKey`. */
export const writeTensor = (
  pickle: PickleWriter,
  dtype: DType,
  shape: ReadonlyArray<number>,
  key: string,
  memoKey?: unknown
): void => {
  const legacy = storageGlobal(dtype)
  const elements = tensorLength(dtype, shape) / bytesOf(dtype)
  pickle.sharedGlobal(legacy ? REBUILD_V2 : REBUILD_V3).mark()
    .mark()
    .sharedText("storage").sharedGlobal(legacy ?? UNTYPED_STORAGE).text(key).memoise().sharedText("cpu")
    .int(legacy ? elements : elements * bytesOf(dtype))
    .tuple().memoise().persistentId()
    .int(0)
  writeSizes(pickle, shape)
  writeSizes(pickle, contiguousStrides(shape))
  pickle.boolean(false).sharedGlobal(ORDERED_DICT).emptyTuple().reduce().memoise()
  if (!legacy) pickle.sharedGlobal(`torch ${torchName(dtype)}`)
  pickle.tuple().memoise().reduce().memoise(memoKey)
}

/** In elements, row-major; an axis of size 0 counts as 1. */
export const contiguousStrides = (shape: ReadonlyArray<number>): Array<number> => {
  const strides = shape.map(() => 1)
  for (let i = shape.length - 2; i >= 0; i--) strides[i] = strides[i + 1]! * Math.max(1, shape[i + 1]!)
  return strides
}

const writeSizes = (pickle: PickleWriter, sizes: ReadonlyArray<number>) => {
  if (sizes.length === 0) return pickle.emptyTuple()
  if (sizes.length > 3) pickle.mark()
  for (const size of sizes) pickle.int(size)
  if (sizes.length > 3) pickle.tuple()
  else pickle.tupleOf(sizes.length as 1 | 2 | 3)
  return pickle.memoise()
}

/** `data.pkl` of an archive that holds one tensor. */
export const tensorPickle = (dtype: DType, shape: ReadonlyArray<number>): Uint8Array => {
  const pickle = new PickleWriter()
  writeTensor(pickle, dtype, shape, "0")
  return pickle.stop()
}
