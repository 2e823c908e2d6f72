/**
 * The file of one rank of a `torch` checkpoint (`model_optim_rng.pt`): the pieces of the model's tensors that it holds, where their
 * elements lie, and what else it says. Read, never executed; nothing of the data is read.
 */
import { join } from "node:path"
import { argumentsOf, type TrainingArguments } from "../../arguments/TrainingArguments.ts"
import { FormatError, InvalidFile, invalidFile } from "../../errors.ts"
import { storedState, type Store, type StoredState } from "../../store/Store.ts"
import { bytesOf } from "../../tensor/DType.ts"
import { volume, type Shape } from "../../tensor/Copy.ts"
import type { DType } from "../../tensor/DType.ts"
import type { ChunkView } from "../../torch/DcpMetadata.ts"
import { parseSaved } from "../../torch/parseSaved.ts"
import { PickleDict, PickleObject, type PickleValue } from "../../torch/PickleValue.ts"
import { PyFloat, pyRead, type PyRead, PyTensorView } from "../../torch/PyValue.ts"
import { fromReader, type Ranged, rangesOf } from "../../torch/Ranges.ts"
import type { SavedFile } from "../../torch/SavedFile.ts"
import { isInOrder } from "../../torch/TensorView.ts"
import { ownFile } from "../ownFile.ts"

/** A tensor in a file: elements from `offset` on, as far as `view` says. */
export interface RankTensor {
  readonly dtype: DType
  readonly shape: Shape
  readonly offset: number
  readonly length: number
  readonly view: ChunkView
}

/** A tensor among other values. */
export class PlacedTensor {
  readonly tensor: RankTensor
  constructor(tensor: RankTensor) {
    this.tensor = tensor
  }
}

/** A value that was read, with its tensors placed; what is no container and no tensor stays as it is. */
export type RankValue = Exclude<PyRead, PyTensorView | ReadonlyArray<PyRead> | ReadonlyMap<PyRead, PyRead>> | PlacedTensor | ReadonlyArray<RankValue> | ReadonlyMap<PyRead, RankValue>

/** What stands for a module's state: nothing, an empty tensor, or what only the rank that saved it can use (FP8). */
export type RankState = "none" | "empty" | "filled"

/** The state dict of a model, or of one of its virtual stages. */
export interface RankModel {
  readonly tensors: ReadonlyMap<string, RankTensor>
  readonly states: ReadonlyMap<string, RankState>
}

export interface RankArchive extends StoredState {
  /** Relative to the folder of the iteration. */
  readonly file: string
  readonly path: string
  /** One, or one for each virtual stage. */
  readonly models: ReadonlyArray<RankModel>
  /** Of the run; undefined in what converters write. */
  readonly args: TrainingArguments | undefined
  readonly iteration: number | undefined
  readonly version: number | undefined
  /** What it says of the run, as it was pickled: arguments, schedule, counters. */
  readonly common: PickleDict
  /** The optimizer's entry, its tensors placed; and as it was pickled. */
  readonly optimizer: RankValue | undefined
  readonly pickledOptimizer: PickleValue | undefined
}

/** A number, whether Python had it as an int or a float. */
export const numberOf = (value: PyRead | undefined): number | undefined =>
  value instanceof PyFloat ? value.value : typeof value === "number" ? value : undefined

/** A dict within dicts (models before Megatron-Core) as one with dots in its keys. */
const flat = (value: ReadonlyMap<PyRead, PyRead>, prefix = ""): ReadonlyArray<readonly [string, PyRead]> =>
  [...value].flatMap(([key, item]) => (item instanceof Map ? flat(item as ReadonlyMap<PyRead, PyRead>, `${prefix}${String(key)}.`) : [[`${prefix}${String(key)}`, item] as const]))

const STATE = "_extra_state"

function* placed(saved: SavedFile, found: PyTensorView): Ranged<RankTensor> {
  const { view } = found
  const { crc32, dataLength, dataOffset } = yield* saved.place(view)
  const { dtype, shape, storageOffset } = view
  const width = bytesOf(dtype)
  const elements = dataLength / width - storageOffset
  return {
    dtype,
    shape,
    offset: dataOffset + storageOffset * width,
    length: volume(shape) * width,
    view: { dtype, elements, strides: isInOrder(view) ? undefined : view.strides, storage: { start: dataOffset, end: dataOffset + dataLength, crc32 } }
  }
}

/** Bounded as what was read is. */
export function* placedValue(saved: SavedFile, value: PyRead): Ranged<RankValue> {
  if (value instanceof PyTensorView) return new PlacedTensor(yield* placed(saved, value))
  if (value instanceof Map) {
    const map = new Map<PyRead, RankValue>()
    for (const [key, item] of value as ReadonlyMap<PyRead, PyRead>) map.set(key, yield* placedValue(saved, item))
    return map
  }
  if (!Array.isArray(value)) return value as RankValue
  const list: Array<RankValue> = []
  for (const item of value as ReadonlyArray<PyRead>) list.push(yield* placedValue(saved, item))
  return list
}

function* modelOf(saved: SavedFile, dict: ReadonlyMap<PyRead, PyRead>): Ranged<RankModel> {
  const tensors = new Map<string, RankTensor>()
  const states = new Map<string, RankState>()
  for (const [key, value] of flat(dict)) {
    const isState = key.endsWith(STATE)
    if (isState) states.set(key, value === null ? "none" : value instanceof PyTensorView && volume(value.view.shape) === 0 ? "empty" : "filled")
    else if (value instanceof PyTensorView) tensors.set(key, yield* placed(saved, value))
  }
  return { tensors, states }
}

/** `model`, or `model0`, `model1` … in order. */
const modelDicts = (value: ReadonlyMap<PyRead, PyRead>): ReadonlyArray<ReadonlyMap<PyRead, PyRead>> => {
  const one = value.get("model")
  if (one instanceof Map) return [one as ReadonlyMap<PyRead, PyRead>]
  const dicts: Array<ReadonlyMap<PyRead, PyRead>> = []
  for (let i = 0; ; i++) {
    const next = value.get(`model${i}`)
    if (!(next instanceof Map)) return dicts
    dicts.push(next as ReadonlyMap<PyRead, PyRead>)
  }
}

/** Entries of a rank that are its own, or tensors. */
const OF_RANK = /^(?:model\d*|optimizer|rng_state|rerun_state_machine)$/

const rootOf = (value: PickleValue): PickleDict => (value instanceof PickleDict ? value : value instanceof PickleObject ? value.dict ?? new PickleDict() : new PickleDict())

/** The entries that are the same on every rank, as a common state has them. */
const commonOf = (value: PickleValue): PickleDict => {
  const common = new PickleDict()
  const { entries } = rootOf(value)
  for (let i = 0; i < entries.length; i += 2) {
    const key = entries[i]
    if (typeof key === "string" && !OF_RANK.test(key)) common.extend([key, entries[i + 1]!])
  }
  return common
}

function* parse(length: number): Ranged<Pick<RankArchive, "models" | "args" | "iteration" | "version" | "common" | "optimizer" | "pickledOptimizer">> {
  const saved = yield* parseSaved(length)
  const value = saved.inPickle(() => pyRead(saved.value))
  const dicts = value instanceof Map ? modelDicts(value as ReadonlyMap<PyRead, PyRead>) : []
  if (!(value instanceof Map) || dicts.length === 0) throw new FormatError("checkpoint/rank-file", "holds no model: neither `model` nor `model0` is in it", { offset: 0 })
  const models: Array<RankModel> = []
  for (const dict of dicts) models.push(yield* modelOf(saved, dict))
  const optimizer = value.get("optimizer") as PyRead | undefined
  return {
    models,
    optimizer: optimizer === undefined ? undefined : yield* placedValue(saved, optimizer),
    pickledOptimizer: rootOf(saved.value).get("optimizer"),
    args: argumentsOf(value),
    iteration: numberOf(value.get("iteration") as PyRead | undefined),
    version: numberOf(value.get("checkpoint_version") as PyRead | undefined),
    common: commonOf(saved.value)
  }
}

/** Read a file of `torch.save` that lies in the checkpoint. Errors: InvalidFile (`zip/…`, `pickle/…`, `torch/…`, `file/…`), IoError. */
export const readSavedIn = async <A>(store: Store, directory: string, name: string, parser: (length: number) => Ranged<A>): Promise<A & StoredState & { readonly file: string; readonly path: string }> => {
  const path = await ownFile(store, directory, name)
  if ((await store.stat(path)).kind !== "file") throw new InvalidFile({ path, code: "file/not-regular", problem: "is not a regular file" })
  const file = await store.open(path, "read")
  try {
    const info = await file.info()
    return { ...await fromReader(info.size, rangesOf(file), parser(info.size)), ...storedState(info), file: name, path }
  } catch (error) {
    throw error instanceof FormatError ? invalidFile(path, error) : error
  } finally {
    await file.close()
  }
}

/** Open the file of one rank. Errors: those of {@link readSavedIn}, and `checkpoint/rank-file`. */
export const openRank = (store: Store, directory: string, folder: string, name: string): Promise<RankArchive> => readSavedIn(store, directory, join(folder, name), parse)
