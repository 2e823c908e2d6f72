/**
 * Translate a checkpoint into another naming. Data files are linked or copied as they are wherever their items keep their
 * shape; only the index, the run configuration and, for some namings, the common state change.
 */
import { Effect } from "effect"
import { basename, join } from "node:path"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { openCheckpoint } from "../checkpoint/Checkpoint.ts"
import {
  COMMON_FILE, COMMON_STATE, iterationFolder, iterationOf, METADATA, RUN_CONFIG, TRACKER, TRAIN_STATE, TRAIN_STATE_TRACKER
} from "../checkpoint/names.ts"
import { readChunkHeaders } from "../checkpoint/StoredChunks.ts"
import { CHECKSUMS } from "../convert/integrity/names.ts"
import { refuseChanged } from "../convert/journal/Job.ts"
import { publish } from "../convert/publish.ts"
import { dataFileStates } from "../convert/sourceStates.ts"
import { atPath } from "../document/decode.ts"
import { execute, type ExecuteOptions } from "../engine/execute.ts"
import type { TargetFile } from "../engine/Target.ts"
import { type BridgeError, IoError } from "../errors.ts"
import { readCommonState } from "../inspect/commonState.ts"
import { readRunConfig } from "../inspect/megatronSpace.ts"
import { LARGEST_RUN_CONFIG } from "../inspect/RunConfigFile.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { readSmall, writeSmall } from "../io/small.ts"
import type { Layout } from "../parallel/Layout.ts"
import { encodeMetadata } from "../torch/DcpMetadataWriter.ts"
import { commonFile, objectItem } from "../torch/ObjectItem.ts"
import { readTrainState, trainStateFile, untrained } from "../torch/TrainState.ts"
import { identity } from "../tensor/Copy.ts"
import { withFlags } from "./contentMetadata.ts"
import { type Draft, draftOf, modelKeys } from "./Draft.ts"
import { componentsOfProvider, describeFrom, type ExampleConfigs } from "./familyFacts.ts"
import { relabelPlan } from "./RelabelPlan.ts"
import { editRunConfig } from "./runConfigChanges.ts"
import { type RelabelTo, rules } from "./rules/index.ts"
import { filesBelow, type SideFile } from "./sideFiles.ts"

export interface RelabelOptions {
  /** One naming after the other. */
  readonly to: ReadonlyArray<RelabelTo>
  /** A config.json of the model; needed where the run configuration does not name a known provider. */
  readonly hfModel?: string
  readonly examples: ExampleConfigs
  /** Layout that the run configuration of a MIMO checkpoint gets. */
  readonly layout: (componentNames: ReadonlyArray<string>) => Layout
}

export interface RelabelReport {
  readonly source: string
  readonly to: ReadonlyArray<RelabelTo>
  readonly tensors: number
  /** Keys (of tensors and objects) that are not in the source under the same name. */
  readonly renamed: number
  /** Objects that were supplied. */
  readonly supplied: number
  /** Data files that are linked or copied unchanged, and those that are written anew. */
  readonly kept: ReadonlyArray<string>
  readonly written: ReadonlyArray<string>
  /** Bytes of tensors in new items. */
  readonly movedBytes: number
  readonly dataBytes: number
  readonly linked: number
  readonly notes: ReadonlyArray<string>
}

export interface RelabelRun extends Pick<ExecuteOptions, "concurrency" | "maxMemory" | "io" | "progress"> {
  readonly overwrite: boolean
  /** Hard links instead of copies of unchanged files, where the file system can. */
  readonly link: boolean
  readonly onKept?: (text: string) => void
}

export interface PreparedRelabel {
  readonly report: RelabelReport
  /** Bytes that {@link run} will write, with links and without. */
  readonly bytes: (link: boolean) => number
  readonly run: (target: string, options: RelabelRun) => Effect.Effect<RelabelReport, BridgeError, Disk>
}

/** A tokenizer has tens of MB; what is larger is copied by the engine. */
const LARGEST_SMALL = 64 << 20
/** Bytes that hold sums of the files that change. */
const CHECKED = new Set([CHECKSUMS, "integrity.json"])

const renamedKeys = (before: Draft, after: Draft): number => {
  let count = 0
  for (const key of [...after.tensors.keys(), ...after.objects.keys()]) if (!before.tensors.has(key) && !before.objects.has(key)) count++
  return count
}

/** Plan a relabelling of the checkpoint at `path` (parent or `iter_*` folder). Reads headers only. */
export const prepareRelabel = Effect.fnUntraced(function*(families: FamilyRegistry, path: string, options: RelabelOptions) {
  const disk = yield* Disk
  const checkpoint = yield* openCheckpoint(path)
  const { directory } = checkpoint
  const states = yield* attempt(() => dataFileStates(disk, checkpoint))
  const runConfig = yield* attempt(() => readRunConfig(disk, directory))
  const description = options.hfModel === undefined ? undefined : yield* describeFrom(families, options.hfModel)
  const components = description?.components ?? componentsOfProvider(families, options.examples, runConfig)
  const before = draftOf(checkpoint.metadata)
  const draft = yield* attempt(() => options.to.reduce((d, to) => rules[to](d, { components, runConfig }), before))
  const common = yield* attempt(() => readCommonState(disk, directory, checkpoint.metadata))
  const newCommon = yield* attempt(() => (draft.content.size > 0 && common ? withFlags(common.value, draft.content) : undefined))
  const config = yield* attempt(async () => {
    const runConfigPath = join(directory, RUN_CONFIG)
    const bytes = runConfig && (await readSmall(disk, runConfigPath, runConfigPath, LARGEST_RUN_CONFIG))
    return atPath(runConfigPath, () => editRunConfig(bytes, options, { keys: modelKeys(draft), components, description }))
  })
  const { files: all, folders } = yield* attempt(() => filesBelow(disk, directory))
  const dataFiles = new Set(checkpoint.fileSizes.keys())
  const plan = yield* attempt(() =>
    relabelPlan(
      draft,
      { directory, files: checkpoint.fileSizes, pathOf: (file) => join(directory, file) },
      newCommon && checkpoint.metadata.objects.has(COMMON_STATE) ? new Map([[COMMON_STATE, objectItem(newCommon)]]) : new Map()
    ))
  yield* attempt(() => readChunkHeaders(disk, plan.chunks))
  const made = plan.files()
  const hasCommonFile = all.some((f) => f.name === COMMON_FILE)
  const changed = new Map<string, Uint8Array>([
    [METADATA, encodeMetadata(plan.metadata)],
    ...(config.text === undefined ? [] : [[RUN_CONFIG, Buffer.from(config.text)] as const]),
    ...(newCommon && hasCommonFile ? [[COMMON_FILE, commonFile(newCommon)] as const] : [])
  ])
  const beside = all.filter((f) => !dataFiles.has(f.name) && !changed.has(f.name) && !CHECKED.has(f.name))
  const keptFiles = all.filter((f) => plan.kept.includes(f.name))
  const notes = [
    ...draft.notes,
    ...config.notes,
    ...all.filter((f) => CHECKED.has(f.name)).map((f) => `${f.name} is left behind: it holds sums of files that changed`),
    ...trainingNote(checkpoint.trainingState, options.to)
  ]
  const dataBytes = [...checkpoint.fileSizes.values()].reduce((a, b) => a + b, 0)
  const report: RelabelReport = {
    source: directory,
    to: options.to,
    tensors: plan.metadata.tensors.size,
    renamed: renamedKeys(before, draft),
    supplied: plan.supplied,
    kept: plan.kept,
    written: plan.written,
    movedBytes: plan.moved,
    dataBytes,
    linked: 0,
    notes
  }
  const size = (files: ReadonlyArray<{ readonly size: number }>) => files.reduce((sum, f) => sum + f.size, 0)
  const bytes = (link: boolean): number => size(made) + size(beside) + (link ? 0 : size(keptFiles))

  const run = (target: string, { link, onKept, overwrite, ...engine }: RelabelRun) =>
    Effect.gen(function*() {
      const iteration = iterationOf(basename(directory)) !== undefined || basename(directory) === "release" ? basename(directory) : undefined
      const trainState = yield* attempt(() => trainStateOf(disk, all, iteration))
      const folder = iteration ?? iterationFolder(trainState.step)
      const publishing = { overwrite, size: bytes(link), sources: [directory], iteration: folder, ...(onKept ? { onKept } : {}) }
      return yield* publish(target, publishing, (work) =>
        Effect.gen(function*() {
          const into = join(work.directory, folder)
          const linked = yield* attempt(async () => {
            await disk.makeDirectory(into)
            for (const name of folders) await disk.makeDirectory(join(into, name))
            return link ? await linkAll(disk, keptFiles, into) : new Set<string>()
          })
          yield* execute(
            [...keptFiles, ...beside].filter((f) => !linked.has(f.name) && f.size > 0).map(copyFile),
            { get: (id) => copySource([...keptFiles, ...beside], id) },
            into,
            engine
          )
          yield* execute(made, plan.sources, into, engine)
          yield* Effect.uninterruptible(attempt(async () => {
            for (const f of beside) if (f.size === 0) await writeSmall(disk, join(into, f.name), new Uint8Array(0))
            for (const [name, content] of changed) await writeSmall(disk, join(into, name), content)
            if (!all.some((f) => f.name === TRAIN_STATE)) await writeSmall(disk, join(into, TRAIN_STATE), trainState.bytes)
            await refuseChanged(disk, states)
            await writeSmall(disk, join(work.directory, TRAIN_STATE_TRACKER), trainState.bytes)
            await writeSmall(disk, join(work.directory, TRACKER), Buffer.from(folder === "release" ? folder : String(iterationOf(folder)!)))
          }))
          const unlinked = link ? keptFiles.length - linked.size : 0
          return {
            ...report,
            linked: linked.size,
            notes: [...notes, ...work.notes, ...(unlinked > 0 ? [`${unlinked} files could not be linked (another file system, or not permitted) and were copied`] : [])]
          }
        }))
    })
  return { report, bytes, run } satisfies PreparedRelabel
})

const trainingNote = (trainingState: ReadonlyArray<string>, to: ReadonlyArray<RelabelTo>): ReadonlyArray<string> => {
  if (trainingState.length === 0 || !to.some((t) => t === "mimo" || t === "standard")) return []
  const opaque = trainingState.filter((key) => !/^(?:chained_\d+\.)?optimizer\.state\./.test(key))
  return opaque.length === 0
    ? []
    : [`${opaque.length} entries of training state (RNG, schedules, bucket-shaped optimizer state) belong to the old model's ranks; load without them`]
}

/** Step and bytes of the train state: that of the checkpoint, or one that says no more than the step. */
const trainStateOf = async (disk: DiskCalls, files: ReadonlyArray<SideFile>, iteration: string | undefined) => {
  const own = files.find((f) => f.name === TRAIN_STATE)
  if (own) {
    const bytes = await readSmall(disk, own.path, own.path, LARGEST_SMALL)
    return { bytes, step: atPath(own.path, () => readTrainState(bytes)).step }
  }
  const step = iteration === undefined ? 0 : iterationOf(iteration) ?? 0
  return { bytes: trainStateFile(untrained(step)), step }
}

const COPY = "copy:"

const copyFile = ({ name, size }: SideFile): TargetFile => ({
  name,
  size,
  segments: [{ kind: "array", array: { id: COPY + name, dtype: "U8", shape: [size], copies: [identity(COPY + name, COPY + name, [size])] }, crc: false }]
})

const copySource = (files: ReadonlyArray<SideFile>, id: string) => {
  const file = files.find((f) => COPY + f.name === id)
  return file && { path: file.path, offset: 0, dtype: "U8" as const, shape: [file.size] }
}

const NO_LINKS: ReadonlySet<string> = new Set(["EXDEV", "EPERM", "EACCES", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"])

/** Link what can be linked; the names of those. */
const linkAll = async (disk: DiskCalls, files: ReadonlyArray<SideFile>, into: string): Promise<ReadonlySet<string>> => {
  const linked = new Set<string>()
  for (const { name, path } of files) {
    try {
      await disk.link(path, join(into, name))
      linked.add(name)
    } catch (error) {
      if (!(error instanceof IoError) || !NO_LINKS.has(error.errno)) throw error
    }
  }
  return linked
}
