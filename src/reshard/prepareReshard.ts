/**
 * A training checkpoint under another layout: weights, optimizer state and what goes with them, cut anew as a trainer of that layout
 * would have saved them. On disk tensors are global, so what a trainer loads does not change; the files, and who writes which, do.
 */
import { Unsupported } from "../errors.ts"
import { Effect } from "effect"
import { basename, dirname, join } from "node:path"
import { argumentsOf } from "../arguments/TrainingArguments.ts"
import { type Checkpoint, openCheckpoint } from "../checkpoint/Checkpoint.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import { editedCommonState } from "../checkpoint/CommonStateEdit.ts"
import { COMMON_FILE, iterationFolder, iterationOf, METADATA, RUN_CONFIG, TRACKER, TRAIN_STATE, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { filesBelow, type SideFile } from "../convert/filesBelow.ts"
import { produce } from "../convert/produce.ts"
import { dataFileStates } from "../convert/sourceStates.ts"
import { forecastOf, placeUnchanged, sizeOf, type UnchangedFiles, unlinkedNotes } from "../convert/unchanged.ts"
import { wholeFile } from "../engine/index.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { describeLayout } from "../parallel/Layout.ts"
import { commit } from "../publish/commit.ts"
import { CHECKSUMS } from "../publish/integrity/names.ts"
import { known, linkedFile, sourceFile } from "../publish/journal/Fingerprint.ts"
import type { Publication } from "../publish/Publication.ts"
import { readSmall } from "../store/readSmall.ts"
import { encodeMetadata } from "../torch/DcpMetadataWriter.ts"
import type { PreparedReshard, ReshardOptions, ReshardReport, ReshardRun } from "./Request.ts"
import { type Prepared, preparedState } from "./state.ts"

/** A train state has some KB. */
const LARGEST_SMALL = 64 << 20
/** Written anew, or of files that are not the same. */
const OWN: ReadonlySet<string> = new Set([METADATA, CHECKSUMS, "integrity.json"])

/** The trackers beside the source's folder, for the result: those that are there, naming this iteration. */
const trackersOf = async (disk: DiskCalls, directory: string, folder: string, trainState: Uint8Array | undefined): Promise<ReadonlyArray<readonly [string, Uint8Array]>> => {
  const own: readonly [string, Uint8Array] = [TRACKER, Buffer.from(String(iterationOf(folder) ?? folder))]
  const beside = trainState ?? (await disk.list(dirname(directory)).then((names) => names.includes(TRAIN_STATE_TRACKER), () => false)
    ? await readSmall(disk, join(dirname(directory), TRAIN_STATE_TRACKER), TRAIN_STATE_TRACKER, LARGEST_SMALL)
    : undefined)
  return beside ? [[TRAIN_STATE_TRACKER, beside], own] : [own]
}

const opened = Effect.fnUntraced(function*(path: string) {
  const disk = yield* Disk
  const checkpoint: Checkpoint = yield* openCheckpoint(path)
  if (checkpoint.ranks) {
    return yield* new Unsupported({ code: "unsupported/legacy", what: checkpoint.directory, problem: "holds a folder for each rank (the torch format), which only their own layout can load", hint: "relabel --to torch-dist writes it in the format that any layout loads; what is to be cut anew is then cut from that." })
  }
  const states = yield* converting(() => dataFileStates(disk, checkpoint))
  const { files, folders } = yield* converting(() => filesBelow(disk, checkpoint.directory))
  const common = yield* converting(() => readCommonState(disk, checkpoint.directory, checkpoint.metadata))
  return { disk, checkpoint, states, files, folders, common: common?.value }
})

/** Plan to reshard the checkpoint at `path` (parent or `iter_*` folder). Reads headers, and data where the optimizer's form has to be proved. */
export const prepareReshard = Effect.fnUntraced(function*(path: string, options: ReshardOptions) {
  const { checkpoint, common, disk, files: all, folders, states: dataStates } = yield* opened(path)
  const store = yield* storeInUse
  const { directory, metadata } = checkpoint
  const args = yield* converting(() => argumentsOf(common))
  const selection = new ChunkSelection(directory)
  const state: Prepared = yield* preparedState(checkpoint, { args, common }, options, selection)
  const arrays = yield* converting(() => readChunks(store, selection))
  const edited = yield* converting(() => editedCommonState(disk, directory, metadata, state.changeCommon))
  const plan = yield* converting(() => state.plan(arrays, edited.item))
  const named = basename(directory)
  const folder = iterationOf(named) !== undefined || named === "release" ? named : iterationFolder(state.iteration)
  const sources = new Map(all.map((file) => [file.name, file]))
  const kept = plan.kept.map(({ name, source }): SideFile => ({ ...sources.get(source)!, name }))
  const changed = new Map<string, Uint8Array>([
    [METADATA, encodeMetadata(plan.metadata)],
    ...(state.runConfig === undefined ? [] : [[RUN_CONFIG, Buffer.from(state.runConfig)] as const]),
    ...(edited.file ? [[COMMON_FILE, edited.file] as const] : [])
  ])
  const beside = all.filter((f) => !checkpoint.fileSizes.has(f.name) && !OWN.has(f.name) && !changed.has(f.name))
  const trainStateFile = all.find((f) => f.name === TRAIN_STATE)
  const trackers = yield* converting(async () =>
    trackersOf(disk, directory, folder, trainStateFile && await readSmall(disk, trainStateFile.path, trainStateFile.path, LARGEST_SMALL)))
  const unchanged: UnchangedFiles = { directory, files: kept, others: sizeOf(plan.files) + sizeOf(beside) }
  const report: ReshardReport = {
    ...state.facts,
    source: directory,
    form: checkpoint.form,
    folder,
    layout: describeLayout(state.layout),
    tensors: plan.metadata.tensors.size,
    dropped: metadata.tensors.size + metadata.objects.size - Iterator.from([...metadata.tensors.keys(), ...metadata.objects.keys()]).filter((key) => plan.metadata.tensors.has(key) || plan.metadata.objects.has(key)).toArray().length,
    recut: plan.recut,
    files: [...plan.files.map(({ name, size }) => ({ name, bytes: size })), ...kept.map(({ name, size }) => ({ name, bytes: size }))].sort((a, b) => (a.name < b.name ? -1 : 1)),
    kept: kept.map(({ name }) => name),
    linked: 0,
    cloned: 0,
    writtenBytes: unchanged.others + sizeOf(kept)
  }
  const forecast = (target: string, link: boolean) => forecastOf(disk, unchanged, target, link)

  const run = Effect.fnUntraced(function*(target: string, { link, ...runOptions }: ReshardRun) {
    const expected = yield* forecast(target, link)
    const outcome = { linked: 0, cloned: 0, writtenBytes: report.writtenBytes }
    const copied = [...kept, ...beside].filter((f) => f.size > 0)
    const place = Effect.fnUntraced(function*(publication: Publication) {
      yield* uninterruptibly(async () => { for (const name of folders) await publication.recorder.makeDirectory(name) })
      const { cloned, linked } = yield* placeUnchanged(disk, publication, unchanged, { expected, link })
      const linkedPaths = new Set(kept.filter((f) => linked.has(f.name)).map((f) => f.path))
      Object.assign(outcome, { linked: linked.size, cloned: cloned.size, writtenBytes: unchanged.others + sizeOf(kept.filter((f) => !linked.has(f.name) && !cloned.has(f.name))) })
      runOptions.progress?.(sizeOf(kept.filter((f) => cloned.has(f.name))))
      return {
        files: [...copied.filter((f) => !linked.has(f.name) && !cloned.has(f.name)).map(wholeFile), ...plan.files],
        states: [...dataStates.filter((s) => !linkedPaths.has(s.path)), ...beside]
      }
    })
    return yield* produce(target, runOptions, {
      files: [...copied.map(wholeFile), ...plan.files],
      states: [...dataStates, ...beside],
      layoutRanks: state.layout.worldSize,
      sums: new StorageSums(arrays.storages()),
      place,
      folder,
      iteration: folder,
      ingredients: [
        known("the layout", JSON.stringify([report.layout, options.dropOptimizer, options.onlyModel, report.rng, link])),
        ...[...changed].map(([name, content]) => known(`the new ${name}`, content)),
        ...dataStates.map((s) => (link ? linkedFile : sourceFile)(basename(s.path), s)),
        ...beside.map((f) => sourceFile(f.name, f))
      ],
      sources: [directory],
      size: expected.bytes,
      report: () => ({ ...report, ...outcome, notes: [...report.notes, ...unlinkedNotes(link, kept.length, outcome.linked, outcome.cloned)] }),
      checksum: (runOptions.checksum ?? true) && kept.length === 0
    }, Effect.fnUntraced(function*(publication) {
      const { recorder } = publication
      yield* uninterruptibly(async () => {
        for (const f of beside) if (f.size === 0) await recorder.write(f.name, new Uint8Array(0))
        for (const [name, content] of changed) await recorder.write(name, content)
      })
      yield* commit(publication, { trackers })
    }))
  })
  return { report, forecast, run } satisfies PreparedReshard
})
