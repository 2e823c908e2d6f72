/**
 * A training checkpoint under another layout: weights, optimizer state and what goes with them, cut anew as a trainer of that layout
 * would have saved them. On disk tensors are global, so what a trainer loads does not change; the files, and who writes which, do.
 */
import { Effect } from "effect"
import { basename } from "node:path"
import { argumentsOf } from "../arguments/TrainingArguments.ts"
import { type Checkpoint, openCheckpoint } from "../space/Checkpoint.ts"
import { requireTorchDist } from "../space/torchDistOnly.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import { editedCommonState } from "../checkpoint/CommonStateEdit.ts"
import { COMMON_FILE, iterationFolder, iterationOf, METADATA, RUN_CONFIG, TRACKER, TRAIN_STATE, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { filesBelow, type SideFile } from "../convert/filesBelow.ts"
import { dataFileStates } from "../convert/sourceStates.ts"
import { sizeOf } from "../convert/unchanged.ts"
import { converting } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { describeLayout } from "../parallel/Layout.ts"
import { CHECKSUMS } from "../publish/integrity/names.ts"
import { known } from "../publish/journal/Fingerprint.ts"
import type { Store } from "../store/Store.ts"
import { readSmall } from "../store/readSmall.ts"
import { encodeMetadata } from "../torch/DcpMetadataWriter.ts"
import type { PreparedReshard, ReshardOptions, ReshardReport } from "./Request.ts"
import { besideIterations, sideFilesOf } from "./sideFiles.ts"
import { type Prepared, preparedState } from "./state.ts"
import { writing } from "./writing.ts"

/** A train state has some KB. */
const LARGEST_SMALL = 64 << 20
/** Written anew, or of files that are not the same. */
const OWN: ReadonlySet<string> = new Set([METADATA, CHECKSUMS, "integrity.json"])

/** What names the iteration, as its own trainer would: Megatron-Bridge's tracker only where it has a train state. */
export const trackersOf = async (store: Store, folder: string, files: ReadonlyArray<SideFile>): Promise<ReadonlyArray<readonly [string, Uint8Array]>> => {
  const state = files.find((f) => f.name === TRAIN_STATE)
  const own: readonly [string, Uint8Array] = [TRACKER, Buffer.from(String(iterationOf(folder) ?? folder))]
  return state ? [[TRAIN_STATE_TRACKER, await readSmall(store, state.path, state.path, LARGEST_SMALL)], own] : [own]
}

const opened = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeInUse
  const checkpoint: Checkpoint = yield* openCheckpoint(path)
  yield* converting(() => requireTorchDist(checkpoint))
  const states = yield* converting(() => dataFileStates(store, checkpoint))
  const { files, folders } = yield* converting(() => filesBelow(store, checkpoint.directory))
  const common = yield* converting(() => readCommonState(store, checkpoint.directory, checkpoint.metadata))
  return { store, checkpoint, states, files, folders, common: common?.value }
})

/** Plan to reshard the checkpoint at `path` (parent or `iter_*` folder). Reads headers, and data where the optimizer's form has to be proved. */
export const prepareReshard = Effect.fnUntraced(function*(path: string, options: ReshardOptions) {
  const { checkpoint, common, files: all, folders, states: dataStates, store } = yield* opened(path)
  const { directory, metadata } = checkpoint
  const args = yield* converting(() => argumentsOf(common))
  const selection = new ChunkSelection(directory)
  const { changes } = options
  const changed = changes && (yield* changes.of(checkpoint))
  const state: Prepared = yield* preparedState(checkpoint, { args, common }, { ...options, changed }, selection)
  const arrays = yield* converting(() => readChunks(store, selection))
  const edited = yield* converting(() => editedCommonState(store, directory, metadata, state.changeCommon))
  const plan = yield* converting(() => state.plan(arrays, edited.item))
  const named = basename(directory)
  const folder = iterationOf(named) !== undefined || named === "release" ? named : iterationFolder(state.iteration)
  const sources = new Map(all.map((file) => [file.name, file]))
  const kept = plan.kept.map(({ name, source }): SideFile => ({ ...sources.get(source)!, name }))
  const small = new Map<string, Uint8Array>([
    [METADATA, encodeMetadata(plan.metadata)],
    ...(state.runConfig === undefined ? [] : [[RUN_CONFIG, Buffer.from(state.runConfig)] as const]),
    ...(edited.file ? [[COMMON_FILE, edited.file] as const] : [])
  ])
  const layout = describeLayout(state.layout)
  const files = all.filter((f) => !checkpoint.fileSizes.has(f.name) && !OWN.has(f.name) && !small.has(f.name))
  const side = sideFilesOf({ files, folders }, { before: state.facts.before, layout: options.layout && layout, onlyModel: options.onlyModel })
  const beside = side.files
  const others = yield* converting(() => besideIterations(store, directory))
  const trackers = yield* converting(() => trackersOf(store, folder, all))
  const report: ReshardReport = {
    ...state.facts,
    source: directory,
    form: checkpoint.form,
    folder,
    layout,
    notes: [...state.facts.notes, ...side.notes, ...others],
    tensors: plan.metadata.tensors.size,
    dropped: metadata.tensors.size + metadata.objects.size - Iterator.from([...metadata.tensors.keys(), ...metadata.objects.keys()]).filter((key) => plan.metadata.tensors.has(key) || plan.metadata.objects.has(key)).toArray().length,
    recut: plan.recut,
    files: [...plan.files.map(({ name, size }) => ({ name, bytes: size })), ...kept.map(({ name, size }) => ({ name, bytes: size }))].sort((a, b) => (a.name < b.name ? -1 : 1)),
    kept: kept.map(({ name }) => name),
    linked: 0,
    cloned: 0,
    writtenBytes: sizeOf(plan.files) + sizeOf(beside) + sizeOf(kept)
  }
  const { forecast, run } = writing<ReshardReport>({
    directory, folder, folders: side.folders, kept, beside, changed: small, trackers,
    dataStates: [...dataStates, ...changes?.states ?? []],
    read: changes?.sources ?? [],
    files: plan.files,
    sums: () => new StorageSums(arrays.storages()),
    ingredients: [known("the layout", JSON.stringify([report.layout, options.dropOptimizer, options.onlyModel, report.rng])), ...changes?.ingredients ?? []],
    report
  })
  return { report, forecast, run } satisfies PreparedReshard
})
