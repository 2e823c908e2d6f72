/**
 * Translate a checkpoint into another naming. Data files are linked or copied as they are wherever their items keep their
 * shape; only the index, the run configuration and, for some namings, the common state change.
 */
import { Effect } from "effect"
import { basename, join } from "node:path"
import { argumentsOf, type TrainingArguments } from "../arguments/TrainingArguments.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type Checkpoint, openCheckpoint } from "../space/Checkpoint.ts"
import { requireTorchDist } from "../space/torchDistOnly.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import type { RankArchives } from "../checkpoint/legacy/openRanks.ts"
import {
  COMMON_FILE, COMMON_STATE, iterationFolder, iterationOf, METADATA, RUN_CONFIG, TRAIN_STATE
} from "../checkpoint/names.ts"
import { trackerFiles } from "../checkpoint/folder.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { CHECKSUMS } from "../publish/integrity/names.ts"
import { known, linkedFile, sourceFile } from "../publish/journal/Fingerprint.ts"
import { produce } from "../convert/produce.ts"
import { commit } from "../publish/commit.ts"
import type { Publication } from "../publish/Publication.ts"
import { wholeFile } from "../engine/index.ts"
import { filesBelow, type SideFile } from "../convert/filesBelow.ts"
import { dataFileStates } from "../convert/sourceStates.ts"
import { forecastOf, placeUnchanged, sizeOf, type UnchangedFiles, unlinkedNotes } from "../convert/unchanged.ts"
import { atPath } from "../document/decode.ts"
import { InvalidFile } from "../errors.ts"
import { readRunConfig } from "../space/megatronSpace.ts"
import { LARGEST_RUN_CONFIG } from "../runconfig/RunConfigFile.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import type { Store } from "../store/Store.ts"
import { readSmall } from "../store/readSmall.ts"
import { encodeMetadata } from "../torch/DcpMetadataWriter.ts"
import { readTrainState, trainStateFile, untrained } from "../torch/TrainState.ts"
import { carriedSums, readChecksums } from "./carriedSums.ts"
import { changedCommonState } from "./commonChanges.ts"
import { type Draft, draftOf, modelKeys } from "./Draft.ts"
import { componentsOfCheckpoint, describeFrom, statesIn } from "./familyFacts.ts"
import { movedChunks, planRelabel } from "./RelabelPlan.ts"
import { editRunConfig } from "./runConfigChanges.ts"
import { prepareFromRanks } from "./fromRanks.ts"
import type { PreparedRelabel, RelabelOptions, RelabelReport, RelabelRun } from "./PreparedRelabel.ts"
import { type RelabelTo, rules } from "./rules/index.ts"
import { trainerForm, trainStateOfArguments } from "./trainerForm.ts"

export type { PreparedRelabel, RelabelReport, RelabelRun } from "./PreparedRelabel.ts"

/** A train state has some KB. */
const LARGEST_TRAIN_STATE = 64 << 20
/** Sums of the files of the source, by this program and by the reference. */
const SUMS: ReadonlySet<string> = new Set([CHECKSUMS, "integrity.json"])

const renamedKeys = (before: Draft, after: Draft): number => {
  let count = 0
  for (const key of [...after.tensors.keys(), ...after.objects.keys()]) if (!before.tensors.has(key) && !before.objects.has(key)) count++
  return count
}

const fromRanks = Effect.fnUntraced(function*(families: FamilyRegistry, checkpoint: Checkpoint, ranks: RankArchives, options: RelabelOptions) {
  const description = options.hfModel === undefined ? undefined : yield* describeFrom(families, options.hfModel)
  const components = description ?? componentsOfCheckpoint(families, checkpoint, undefined)
  return yield* prepareFromRanks(checkpoint, ranks, options, { components, runConfig: undefined, ...(description ? { hasState: statesIn(description) } : {}) })
})

/** Plan a relabelling of the checkpoint at `path` (parent or `iter_*` folder). Reads headers only. */
export const prepareRelabel = Effect.fnUntraced(function*(families: FamilyRegistry, path: string, options: RelabelOptions) {
  const disk = yield* Disk
  const store = yield* storeInUse
  const checkpoint = yield* openCheckpoint(path)
  if (checkpoint.ranks) return yield* fromRanks(families, checkpoint, checkpoint.ranks, options)
  yield* converting(() => requireTorchDist(checkpoint))
  const { directory } = checkpoint
  const dataStates = yield* converting(() => dataFileStates(store, checkpoint))
  const runConfig = yield* converting(() => readRunConfig(store, directory))
  const description = options.hfModel === undefined ? undefined : yield* describeFrom(families, options.hfModel)
  const components = description ?? componentsOfCheckpoint(families, checkpoint, runConfig)
  const before = draftOf(checkpoint.metadata)
  const args = yield* converting(async () => argumentsOf((await readCommonState(store, directory, checkpoint.metadata))?.value))
  const context = { components, runConfig, ...(args ? { args } : {}), ...(description ? { hasState: statesIn(description) } : {}) }
  const draft = yield* converting(() => options.to.reduce((d, to) => rules[to](d, context), before))
  const { files: all, folders } = yield* converting(() => filesBelow(store, directory))
  const iteration = iterationOf(basename(directory)) !== undefined || basename(directory) === "release" ? basename(directory) : undefined
  const trainState = yield* converting(() => trainStateOf(store, all, iteration, args))
  const form = yield* converting(() => trainerForm(draft, options.to, { args, runConfig, trainState: trainState.state }))
  const common = yield* converting(() => changedCommonState(store, directory, checkpoint.metadata, { flags: draft.content, ...(form.args ? { args: form.args } : {}) }))
  const config = yield* converting(async () => {
    const runConfigPath = join(directory, RUN_CONFIG)
    const bytes = runConfig && (await readSmall(store, runConfigPath, runConfigPath, LARGEST_RUN_CONFIG))
    return atPath(runConfigPath, () => editRunConfig(bytes, options, { keys: modelKeys(draft), components: "components" in components ? components.components : undefined, description }))
  })
  const sums = all.some((f) => f.name === CHECKSUMS) ? yield* converting(() => readChecksums(store, directory)) : undefined
  const dataFiles = new Set(checkpoint.fileSizes.keys())
  const moved = yield* converting(() => movedChunks(draft, directory))
  const stored = yield* converting(() => readChunks(store, moved.chunks))
  const plan = yield* converting(() =>
    planRelabel(
      draft,
      moved,
      stored,
      { files: checkpoint.fileSizes, pathOf: (file) => join(directory, file) },
      new Map(common.item ? [[COMMON_STATE, common.item]] : [])
    ))
  const made = plan.files
  const folder = iteration ?? iterationFolder(trainState.state.step)
  const runConfigText = form.runConfig ?? config.text
  const changed = new Map<string, Uint8Array>([
    [METADATA, encodeMetadata(plan.metadata)],
    ...(runConfigText === undefined ? [] : [[RUN_CONFIG, Buffer.from(runConfigText)] as const]),
    ...(common.file ? [[COMMON_FILE, common.file] as const] : []),
    ...(all.some((f) => f.name === TRAIN_STATE) || form.dropped.has(TRAIN_STATE) ? [] : [[TRAIN_STATE, trainState.bytes] as const])
  ])
  const beside = all.filter((f) => !dataFiles.has(f.name) && !changed.has(f.name) && !SUMS.has(f.name) && !form.dropped.has(f.name))
  const kept = all.filter((f) => plan.kept.includes(f.name))
  const notes = [
    ...draft.notes,
    ...config.notes,
    ...form.notes,
    ...(sums instanceof InvalidFile ? [`${CHECKSUMS} is left behind: ${sums.problem}`] : []),
    ...all.filter((f) => SUMS.has(f.name) && f.name !== CHECKSUMS).map((f) => `${f.name} is left behind: it holds sums of files that changed`),
    ...trainingNote(checkpoint.trainingState, options.to)
  ]
  const unchanged: UnchangedFiles = { directory, files: kept, others: sizeOf(made) + sizeOf(beside) }
  const report: RelabelReport = {
    source: directory,
    to: options.to,
    tensors: plan.metadata.tensors.size,
    renamed: renamedKeys(before, draft),
    supplied: plan.supplied,
    kept: plan.kept,
    written: plan.written,
    movedBytes: plan.moved,
    dataBytes: sizeOf([...checkpoint.fileSizes.values()].map((size) => ({ size }))),
    linked: 0,
    cloned: 0,
    writtenBytes: unchanged.others + sizeOf(kept),
    notes
  }

  const forecast = (target: string, link: boolean) => forecastOf(disk, unchanged, target, link)

  const run = Effect.fnUntraced(function*(target: string, { link, ...runOptions }: RelabelRun) {
    const expected = yield* forecast(target, link)
    const outcome = { linked: 0, cloned: 0, writtenBytes: report.writtenBytes }
    const copied = [...kept, ...beside].filter((f) => f.size > 0)
    const place = Effect.fnUntraced(function*(publication: Publication) {
      const { recorder } = publication
      yield* uninterruptibly(async () => { for (const name of folders) await recorder.makeDirectory(name) })
      const { cloned, left, linked } = yield* placeUnchanged(disk, publication, unchanged, { expected, link })
      const linkedPaths = new Set(kept.filter((f) => linked.has(f.name)).map((f) => join(directory, f.name)))
      outcome.linked = linked.size
      outcome.cloned = cloned.size
      outcome.writtenBytes = unchanged.others + sizeOf(left)
      runOptions.progress?.(sizeOf(kept.filter((f) => cloned.has(f.name))))
      if (sums && !(sums instanceof InvalidFile)) {
        const same = new Set([...kept, ...beside].map((f) => f.name))
        for (const own of carriedSums(sums, plan.metadata, same)) recorder.carry(own.file, own.tensors)
      }
      return {
        files: [...copied.filter((f) => !linked.has(f.name) && !cloned.has(f.name)).map(wholeFile), ...made],
        // A linked file is the source's own: whatever happens to one happens to both.
        states: [...dataStates.filter((s) => !linkedPaths.has(s.path)), ...beside]
      }
    })
    return yield* produce(target, runOptions, {
      files: [...copied.map(wholeFile), ...made],
      states: [...dataStates, ...beside],
      place,
      folder,
      iteration: folder,
      ingredients: [
        known("the namings", JSON.stringify([options.to, link])),
        ...[...changed].map(([name, content]) => known(`the new ${name}`, content)),
        ...dataStates.map((s) => (link ? linkedFile : sourceFile)(basename(s.path), s)),
        ...beside.map((f) => sourceFile(f.name, f))
      ],
      sources: [directory],
      size: expected.bytes,
      report: () => ({ ...report, ...outcome, notes: [...notes, ...unlinkedNotes(link, kept.length, outcome.linked, outcome.cloned)] }),
      checksum: sums !== undefined && !(sums instanceof InvalidFile)
    }, Effect.fnUntraced(function*(publication) {
      const { recorder } = publication
      yield* uninterruptibly(async () => {
        for (const f of beside) if (f.size === 0) await recorder.write(f.name, new Uint8Array(0))
        for (const [name, content] of changed) await recorder.write(name, content)
      })
      yield* commit(publication, {
        trackers: form.trackers(trackerFiles(folder, trainState.bytes))
      })
    }))
  })
  return { report, forecast, run } satisfies PreparedRelabel
})

const trainingNote = (trainingState: ReadonlyArray<string>, to: ReadonlyArray<RelabelTo>): ReadonlyArray<string> => {
  if (trainingState.length === 0 || !to.some((t) => t === "mimo" || t === "standard")) return []
  const opaque = trainingState.filter((key) => !/^(?:chained_\d+\.)?optimizer\.state\./.test(key))
  return opaque.length === 0
    ? []
    : [`${opaque.length} entries of training state (RNG, schedules, bucket-shaped optimizer state) belong to the old model's ranks; load without them`]
}

/** The train state: that of the checkpoint, or one that says no more than the step and what the arguments of the run say. */
const trainStateOf = async (store: Store, files: ReadonlyArray<SideFile>, iteration: string | undefined, args: TrainingArguments | undefined) => {
  const own = files.find((f) => f.name === TRAIN_STATE)
  if (own) {
    const bytes = await readSmall(store, own.path, own.path, LARGEST_TRAIN_STATE)
    return { bytes, state: atPath(own.path, () => readTrainState(bytes)) }
  }
  const started = untrained(iteration === undefined ? 0 : iterationOf(iteration) ?? 0)
  const state = args ? trainStateOfArguments(args, started) : started
  return { bytes: trainStateFile(state), state }
}
