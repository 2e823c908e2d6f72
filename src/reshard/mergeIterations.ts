/**
 * The average of several iterations of a run: the weights of the newest, each replaced by a weighted mean. Optimizer state and random states
 * belong to one iteration and are left out, so the result is loaded as weights are.
 */
import { Effect } from "effect"
import { basename, join } from "node:path"
import { argumentsOf } from "../arguments/TrainingArguments.ts"
import { type Checkpoint, openCheckpoint } from "../space/Checkpoint.ts"
import { requireTorchDist } from "../space/torchDistOnly.ts"
import { entriesOf } from "../space/sortKeys.ts"
import type { ItemsPlace, TensorSpace } from "../space/TensorSpace.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import { editedCommonState } from "../checkpoint/CommonStateEdit.ts"
import { bytesSegment, type ItemPlace } from "../checkpoint/ItemFile.ts"
import { COMMON_FILE, COMMON_STATE, iterationFolder, METADATA, RUN_CONFIG } from "../checkpoint/names.ts"
import { readOwn } from "../checkpoint/ownFile.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { readChunks, type StoredArrays } from "../checkpoint/StoredArrays.ts"
import { filesBelow } from "../convert/filesBelow.ts"
import { dataFileStates } from "../convert/sourceStates.ts"
import { sizeOf } from "../convert/unchanged.ts"
import { atPath } from "../document/decode.ts"
import type { SourceCopy, TargetArray } from "../engine/index.ts"
import { PlanRefused, UsageError } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { roleOf } from "../model/storedKey.ts"
import { CHECKSUMS } from "../publish/integrity/names.ts"
import { known } from "../publish/journal/Fingerprint.ts"
import type { SourceState } from "../publish/sources.ts"
import { RunConfigEdit } from "../runconfig/RunConfigEdit.ts"
import { LARGEST_RUN_CONFIG } from "../runconfig/RunConfigFile.ts"
import { type Box, sameShape } from "../tensor/Copy.ts"
import { isFloat } from "../tensor/DType.ts"
import { encodeMetadata } from "../torch/DcpMetadataWriter.ts"
import type { DcpMetadata, StoredChunk, StoredObject, StoredTensor } from "../torch/DcpMetadata.ts"
import { argumentChanges } from "./argumentChanges.ts"
import { commonChange } from "./commonChange.ts"
import { type PlannedItem, plannedFiles } from "./itemFiles.ts"
import { trackersOf } from "./prepareReshard.ts"
import { type Written, writing } from "./writing.ts"

/** Which iterations are averaged, and how much each counts. */
export interface AverageOptions {
  /** Steps of the iterations, at least two; the greatest gives the result its name and all that is not averaged. */
  readonly iterations: ReadonlyArray<number>
  /** One for each iteration, summing to 1; default: all equal. */
  readonly weights?: ReadonlyArray<number>
}

/** What an average is of, or was made of. */
export interface AverageReport extends Written {
  readonly source: string
  readonly folder: string
  readonly iterations: ReadonlyArray<{ readonly step: number; readonly weight: number }>
  /** Tensors that are averages; tensors that are the newest's, because they hold no floating-point numbers. */
  readonly averaged: number
  readonly taken: ReadonlyArray<string>
  readonly files: ReadonlyArray<{ readonly name: string; readonly bytes: number }>
}

/** More than anyone averages; every one of them is open while the work goes on. */
const MOST_ITERATIONS = 64

/** Weights of the iterations in the order of their steps, oldest first. UsageError for what is none. */
const weighted = ({ iterations, weights }: AverageOptions): ReadonlyArray<{ readonly step: number; readonly weight: number }> => {
  if (iterations.length < 2 || iterations.length > MOST_ITERATIONS) throw new UsageError({ problem: `${iterations.length} iterations: an average is of 2 to ${MOST_ITERATIONS}` })
  if (new Set(iterations).size < iterations.length) throw new UsageError({ problem: "an iteration is named twice" })
  if (weights && weights.length !== iterations.length) throw new UsageError({ problem: `${weights.length} weights for ${iterations.length} iterations` })
  const sum = (weights ?? []).reduce((total, weight) => total + weight, 0)
  if (weights && !(Math.abs(sum - 1) < 1e-6 && weights.every(Number.isFinite))) throw new UsageError({ problem: `the weights sum to ${sum}`, hint: "They must sum to 1." })
  return iterations.map((step, i) => ({ step, weight: weights?.[i] ?? 1 / iterations.length })).sort((a, b) => a.step - b.step)
}

const modelTensors = (checkpoint: Checkpoint): TensorSpace<ItemsPlace>["tensors"] =>
  new Map(Iterator.from(entriesOf(checkpoint).tensors).filter(([, { role }]) => role === "model" || role === "carried"))

/** All iterations must hold the same tensors. PlanRefused `average/unlike`, naming the first few that differ. */
const requireAlike = (newest: TensorSpace["tensors"], others: ReadonlyArray<TensorSpace & { readonly name: string }>): void => {
  const names = others.flatMap(({ name, tensors }) => {
    const unlike = [...newest].filter(([key, { dtype, shape }]) => {
      const own = tensors.get(key)
      return !own || own.dtype !== dtype || !sameShape(own.shape, shape)
    })
    const more = [...tensors.keys()].filter((key) => !newest.has(key))
    return [...unlike.map(([key]) => key), ...more].map((key) => `${key} (${name})`)
  })
  if (names.length > 0) throw new PlanRefused({ code: "average/unlike", problem: "the iterations do not hold the same tensors", names })
}

interface Opened extends TensorSpace<ItemsPlace> {
  readonly arrays: StoredArrays
  readonly selection: ChunkSelection
}

const common = (a: Box, b: Box): Box => {
  const offsets = a.offsets.map((o, k) => Math.max(o, b.offsets[k]!))
  return { offsets, sizes: offsets.map((o, k) => Math.min(a.offsets[k]! + a.sizes[k]!, b.offsets[k]! + b.sizes[k]!) - o) }
}

/** The mean of a box: cut so that every part of it lies in one chunk of each iteration. */
const meanCopies = (key: string, box: Box, opened: ReadonlyArray<Opened>, weights: ReadonlyArray<number>): ReadonlyArray<SourceCopy> => {
  const parts = opened.reduce<ReadonlyArray<Box>>((boxes, { selection, tensors }) =>
    boxes.flatMap((part) => Array.from(selection.meeting(tensors.get(key)!.place.stored, part), (chunk) => common(part, chunk))), [box])
  return parts.map((part) => {
    const [first, ...others] = opened.map(({ arrays, tensors }) => arrays.within(tensors.get(key)!.place.stored, part, key)[0]!)
    const start = part.offsets.reduce((sum, o, k) => sum + (o - box.offsets[k]!) * box.sizes.slice(k + 1).reduce((n, extent) => n * extent, 1), 0)
    const strides = box.sizes.map((_, k) => box.sizes.slice(k + 1).reduce((n, extent) => n * extent, 1))
    return { shape: part.sizes, source: first!.source, operands: others.map(({ source }) => source), target: { tensor: key, offset: start, strides }, transform: { kind: "mean" as const, weights } }
  })
}

interface Iteration extends TensorSpace<ItemsPlace> {
  readonly checkpoint: Checkpoint
  readonly states: ReadonlyArray<SourceState>
  readonly name: string
}

const openAt = Effect.fnUntraced(function*(parent: string, step: number) {
  const store = yield* storeInUse
  const checkpoint: Checkpoint = yield* openCheckpoint(join(parent, iterationFolder(step)))
  yield* converting(() => requireTorchDist(checkpoint))
  const states = yield* converting(() => dataFileStates(store, checkpoint))
  return { checkpoint, states, tensors: modelTensors(checkpoint), name: iterationFolder(step) } satisfies Iteration
})

/** The data files: the newest's, each tensor of floating-point numbers in them replaced by the mean. */
const mergedFiles = ({ checkpoint: { directory, metadata }, tensors: newest }: Iteration, opened: ReadonlyArray<Opened>, weights: ReadonlyArray<number>, commonItem: Uint8Array | undefined) => {
  const tensors = new Map<string, StoredTensor & { readonly chunks: Array<StoredChunk> }>()
  const objects = new Map<string, StoredObject>()
  const items: Array<PlannedItem> = []
  for (const [key, object] of metadata.objects) {
    if (roleOf(key) !== "model" && key !== COMMON_STATE) continue
    const bytes = key === COMMON_STATE ? commonItem : undefined
    items.push({ key, file: object.file, isTensor: false, from: bytes ? { bytes: bytesSegment(bytes) } : { stored: object }, settle: (place: ItemPlace) => objects.set(key, place) })
  }
  for (const [key, { dtype, place: { stored: { chunks } }, shape }] of newest) {
    const own = { dtype, shape, chunks: new Array<StoredChunk>() }
    tensors.set(key, own)
    for (const { file, length, offset, offsets, sizes } of chunks) {
      const array: TargetArray = { id: key, dtype, shape: sizes, copies: () => meanCopies(key, { offsets, sizes }, opened, weights) }
      items.push({
        key,
        file,
        isTensor: true,
        from: isFloat(dtype) ? { array, sizes } : { stored: { file, offset, length } },
        settle: (place) => own.chunks.push({ offsets, sizes, ...place })
      })
    }
  }
  const { files } = plannedFiles(items, metadata, (file) => join(directory, file))
  return { files, index: { className: metadata.className, objects, tensors } satisfies DcpMetadata }
}

/** Plan an average of iterations of the run in `parent`. Reads headers only. */
export const prepareAverage = Effect.fnUntraced(function*(parent: string, options: AverageOptions) {
  const store = yield* storeInUse
  const chosen = yield* converting(() => weighted(options))
  const all: Array<Iteration> = []
  for (const { step } of chosen) all.push(yield* openAt(parent, step))
  const newest = all.at(-1)!
  const { checkpoint: { directory, metadata } } = newest
  yield* converting(() => requireAlike(newest.tensors, all.slice(0, -1)))
  const opened: Array<Opened> = []
  for (const { checkpoint, tensors } of all) {
    const selection = new ChunkSelection(checkpoint.directory)
    for (const [key, tensor] of tensors) if (isFloat(tensor.dtype)) selection.add(key, tensor.place.stored)
    opened.push({ selection, tensors, arrays: yield* converting(() => readChunks(store, selection)) })
  }
  const weights = chosen.map(({ weight }) => weight)
  const args = yield* converting(async () => argumentsOf((await readCommonState(store, directory, metadata))?.value))
  const edited = yield* converting(() => editedCommonState(store, directory, metadata, commonChange({
    args: args && argumentChanges(args, undefined, { optimizer: false, rng: false, hasExperts: false, numLayers: 0, fullyReshardable: false }),
    dropsRerun: true,
    dropsOptimizer: true,
    converted: false,
    optimizer: (old) => old
  })))
  const { files, index } = mergedFiles(newest, opened, weights, edited.item)
  const folder = basename(directory)
  const { files: side, folders } = yield* converting(() => filesBelow(store, directory))
  const runConfig = side.some(({ name }) => name === RUN_CONFIG) ? yield* converting(async () => {
    const bytes = await readOwn(store, directory, RUN_CONFIG, LARGEST_RUN_CONFIG)
    return atPath(join(directory, RUN_CONFIG), () => {
      const edit = new RunConfigEdit(bytes)
      edit.toSaved({ optimizer: false, rng: false })
      return edit.toString()
    })
  }) : undefined
  const changed = new Map<string, Uint8Array>([
    [METADATA, encodeMetadata(index)],
    ...(runConfig === undefined ? [] : [[RUN_CONFIG, Buffer.from(runConfig)] as const]),
    ...(edited.file ? [[COMMON_FILE, edited.file] as const] : [])
  ])
  const beside = side.filter((f) => !newest.checkpoint.fileSizes.has(f.name) && !changed.has(f.name) && f.name !== CHECKSUMS && f.name !== "integrity.json")
  const report: AverageReport = {
    source: parent,
    folder,
    iterations: chosen,
    averaged: [...newest.tensors.values()].filter(({ dtype }) => isFloat(dtype)).length,
    taken: [...newest.tensors].flatMap(([key, { dtype }]) => (isFloat(dtype) ? [] : [key])),
    files: files.map(({ name, size }) => ({ name, bytes: size })),
    linked: 0,
    cloned: 0,
    writtenBytes: sizeOf(files) + sizeOf(beside),
    notes: ["sums are taken in F32, and rounded once to the dtype of each tensor, to nearest, ties to even", "optimizer state and random states are of one iteration and left out: train on with a fresh optimizer, or export"]
  }
  const trackers = yield* converting(() => trackersOf(store, folder, side))
  return {
    report,
    ...writing<AverageReport>({
      directory, folder, folders, files, kept: [], beside, changed, trackers, report,
      dataStates: all.flatMap(({ states }) => states),
      sums: () => new StorageSums(opened.flatMap(({ arrays }) => [...arrays.storages()])),
      ingredients: [known("the weights", JSON.stringify(chosen))]
    })
  }
})
