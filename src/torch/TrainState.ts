/**
 * `train_state.pt` and its copy `latest_train_state.pt`: the tracker of Megatron-Bridge, a dict of eight 0-d tensors
 * (Megatron-Bridge 0.7, torch 2.13). For a converted checkpoint all values but the step are zero.
 */
import { FormatError } from "../errors.ts"
import { inPickle } from "./Archive.ts"
import { parseArchive } from "./ObjectItem.ts"
import { PickleDict } from "./PickleValue.ts"
import { PyTensor } from "./PyValue.ts"
import type { PyValue } from "./PyValue.ts"
import { parseBytes } from "./Ranges.ts"
import type { Ranged } from "./Ranges.ts"
import { saveArchive } from "./SaveArchive.ts"
import { placeStorage, tensorView } from "./TensorView.ts"

export interface TrainState {
  readonly step: number
  readonly consumedTrainSamples: number
  readonly skippedTrainSamples: number
  readonly consumedValidSamples: number
  /** Kept as float32 (float64 in some versions). */
  readonly floatingPointOperationsSoFar: number
  readonly doTrain: boolean
  readonly doValid: boolean
  readonly doTest: boolean
}

/** The state of a checkpoint that was converted, not trained. */
export const untrained = (step = 0): TrainState => ({
  step,
  consumedTrainSamples: 0,
  skippedTrainSamples: 0,
  consumedValidSamples: 0,
  floatingPointOperationsSoFar: 0,
  doTrain: false,
  doValid: false,
  doTest: false
})

const int64 = (value: number) => new PyTensor("I64", [], new Uint8Array(BigInt64Array.of(BigInt(value)).buffer))
const float32 = (value: number) => new PyTensor("F32", [], new Uint8Array(Float32Array.of(value).buffer))
const bool = (value: boolean) => new PyTensor("BOOL", [], Uint8Array.of(value ? 1 : 0))

/** The bytes of the file; the copy at the checkpoint's root has the same bytes. */
export const trainStateFile = (state: TrainState): Uint8Array =>
  saveArchive("train_state", new Map<PyValue, PyValue>([
    ["step", int64(state.step)],
    ["consumed_train_samples", int64(state.consumedTrainSamples)],
    ["skipped_train_samples", int64(state.skippedTrainSamples)],
    ["consumed_valid_samples", int64(state.consumedValidSamples)],
    ["floating_point_operations_so_far", float32(state.floatingPointOperationsSoFar)],
    ["do_train", bool(state.doTrain)],
    ["do_valid", bool(state.doValid)],
    ["do_test", bool(state.doTest)]
  ]))

/**
 * Reads the file. Fields that are missing are zero, but the step must be there. Errors: `torch/train-state`, `zip/…`,
 * `pickle/…`, `torch/…`.
 */
export const readTrainState = (bytes: Uint8Array): TrainState => {
  const values = parseBytes(bytes, parseScalars(bytes))
  const step = values.get("step")
  if (step === undefined) throw new FormatError("torch/train-state", "the train state has no step", { field: "step" })
  const number = (name: string) => values.get(name) ?? 0
  return {
    step,
    consumedTrainSamples: number("consumed_train_samples"),
    skippedTrainSamples: number("skipped_train_samples"),
    consumedValidSamples: number("consumed_valid_samples"),
    floatingPointOperationsSoFar: number("floating_point_operations_so_far"),
    doTrain: number("do_train") !== 0,
    doValid: number("do_valid") !== 0,
    doTest: number("do_test") !== 0
  }
}

const FIELDS = 64

function* parseScalars(bytes: Uint8Array): Ranged<ReadonlyMap<string, number>> {
  const { archive, value } = yield* parseArchive(bytes.length)
  if (!(value instanceof PickleDict) || value.size > FIELDS) throw new FormatError("torch/train-state", "not the dict of a train state")
  const scalars = new Map<string, number>()
  for (let i = 0; i < value.entries.length; i += 2) {
    const name = value.entries[i]
    if (typeof name !== "string") continue
    const view = yield* inPickle(archive, () => tensorView(value.entries[i + 1]!))
    if (view.shape.some((size) => size !== 1)) throw new FormatError("torch/train-state", "not a scalar", { field: name })
    const { dataOffset } = yield* placeStorage(archive, view)
    scalars.set(name, scalar(bytes, dataOffset, view, name))
  }
  return scalars
}

const scalar = (bytes: Uint8Array, dataOffset: number, view: ReturnType<typeof tensorView>, field: string): number => {
  const data = new DataView(bytes.buffer, bytes.byteOffset + dataOffset)
  const at = view.storageOffset
  switch (view.dtype) {
    case "I64": return exact(Number(data.getBigInt64(8 * at, true)), field)
    case "I32": return exact(data.getInt32(4 * at, true), field)
    case "F32": return data.getFloat32(4 * at, true)
    case "F64": return data.getFloat64(8 * at, true)
    case "BOOL":
    case "U8": return data.getUint8(at)
    default: throw new FormatError("torch/train-state", `a scalar of ${view.dtype}`, { field })
  }
}

const exact = (value: number, field: string): number => {
  if (!Number.isSafeInteger(value) || value < 0) throw new FormatError("torch/train-state", `${value} is not a count`, { field })
  return value
}
