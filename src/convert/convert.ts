/**
 * The conversions as Effects: resolve, check, execute, commit. Import and export differ in their plans only.
 */
import { Effect } from "effect"
import { join } from "node:path"
import type { Family } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { recognise } from "../bridge/recognise.ts"
import { type Checkpoint, openCheckpoint } from "../checkpoint/Checkpoint.ts"
import { commonState } from "../checkpoint/CheckpointFiles.ts"
import { BACKEND, COMMON_FILE, iterationFolder, METADATA, RUN_CONFIG, TOKENIZER, TRACKER, TRAIN_STATE, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import { readChunkHeaders } from "../checkpoint/StoredChunks.ts"
import { execute, type ExecuteOptions } from "../engine/execute.ts"
import { type BridgeError, InvalidFile, PlanRefused, quote, Unsupported } from "../errors.ts"
import { pythonJson } from "../document/PythonJson.ts"
import { type JsonMap, type JsonTree, parseJsonTree } from "../document/StrictJson.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { readSmall, writeSmall } from "../io/small.ts"
import { type HfTensors, sameFile } from "../safetensors/SafetensorsDirectory.ts"
import { encodeMetadata } from "../torch/DcpMetadataWriter.ts"
import { commonFile } from "../torch/ObjectItem.ts"
import { trainStateFile, untrained } from "../torch/TrainState.ts"
import { type ExportOptions, type ExportPlan, planExport } from "./ExportPlan.ts"
import { type HfFiles, hfFiles } from "./HfFiles.ts"
import { CONFIG, type HfConfig, type HfSource, hfSources, openHfModel, openHfSource, sideFiles } from "./HfSource.ts"
import { type ImportOptions, type ImportPlan, planImport } from "./ImportPlan.ts"
import { publish } from "./publish.ts"
import type { ConversionReport } from "./Report.ts"
import { openSafetensors } from "../safetensors/SafetensorsDirectory.ts"

export interface RunOptions extends Pick<ExecuteOptions, "concurrency" | "maxMemory" | "io" | "progress"> {
  readonly overwrite: boolean
}

/** Name patterns shown for an unknown architecture. */
const MOST_PATTERNS = 40

/** Side files are small; a tokenizer has up to some tens of MB. */
const LARGEST_SIDE_FILE = 256 << 20
/** What a tokenizer consists of, of the small files of a model directory. */
const TOKENIZER_FILE = /^(tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template.*|.*\.tiktoken|.*\.model)$/

/** A file that was read from must be the one whose header was checked. */
const refuseChangedSources = async (disk: DiskCalls, tensors: HfTensors): Promise<void> => {
  for (const shard of tensors.shards) {
    if (!sameFile(shard.identity, await disk.stat(shard.path))) {
      throw new InvalidFile({ path: shard.path, code: "safetensors/changed", problem: "was changed while it was converted; nothing was published" })
    }
  }
}

const copySmall = async (disk: DiskCalls, files: ReadonlyArray<{ readonly name: string; readonly path: string }>, directory: string): Promise<void> => {
  for (const { name, path } of files) {
    await writeSmall(disk, join(directory, name), await readSmall(disk, path, path, LARGEST_SIDE_FILE))
  }
}

const changedTally = () => {
  const changed = new Map<string, number>()
  return {
    onArray: (id: string, done: { readonly changed: number }) => {
      if (done.changed > 0) changed.set(id, (changed.get(id) ?? 0) + done.changed)
    },
    changed
  }
}

/** The family of an opened model; for an unknown architecture the error also says what its tensors look like. */
const familyOf = (families: FamilyRegistry, source: HfSource): Family => {
  try {
    return families.find(source.json)
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error
    const patterns = recognise(source.tensors.tensors.values())
    const lines = patterns.slice(0, MOST_PATTERNS).map((p) => `\n    ${quote(p.pattern)} (${p.count} × [${p.shape}]): ${p.looksLike}`)
    const rest = patterns.length > MOST_PATTERNS ? `\n    … ${patterns.length} patterns in all` : ""
    throw new Unsupported({
      what: error.what,
      problem: error.problem,
      hint: `${error.hint}\n  Its tensors look like this (\`scaffold\` writes them as a starter file):${lines.join("")}${rest}`
    })
  }
}

/** A planned import that can be run. */
export interface PreparedImport {
  readonly plan: ImportPlan
  readonly run: (target: string, options: RunOptions) => Effect.Effect<ConversionReport, BridgeError, Disk>
}

/** Plan an import of the HF directory `hfModel`. Reads headers only. */
export const prepareImport = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, options: ImportOptions) {
  const disk = yield* Disk
  const source = yield* openHfSource(hfModel)
  const plan = yield* attempt(() => planImport(familyOf(families, source), source, options))
  const folder = iterationFolder(options.step)

  const run = (target: string, runOptions: RunOptions) =>
    publish(target, { overwrite: runOptions.overwrite, size: plan.checkpoint.files.reduce((n, f) => n + f.size, 0) }, (staging) =>
      Effect.gen(function*() {
        const directory = join(staging, folder)
        const tokenizer = (yield* sideFiles(hfModel)).filter((f) => TOKENIZER_FILE.test(f.name))
        yield* attempt(() => disk.makeDirectory(directory))
        const tally = changedTally()
        yield* execute(plan.checkpoint.files, plan.sources, directory, { ...runOptions, onArray: tally.onArray })
        yield* attempt(async () => {
          await refuseChangedSources(disk, source.tensors)
          const text = (name: string, content: string) => writeSmall(disk, join(directory, name), Buffer.from(content))
          await writeSmall(disk, join(directory, METADATA), encodeMetadata(plan.checkpoint.metadata))
          // Megatron-Core up to 0.18 wants the four-key form and common.pt; later versions read the common_state entry.
          await text(BACKEND, '{"sharded_backend": "torch_dist", "sharded_backend_version": 1, "common_backend": "torch", "common_backend_version": 1}')
          await writeSmall(disk, join(directory, COMMON_FILE), commonFile(commonState(options.step)))
          await text(RUN_CONFIG, plan.runConfig)
          await writeSmall(disk, join(directory, TRAIN_STATE), trainStateFile(untrained(options.step)))
          if (tokenizer.length > 0) {
            await disk.makeDirectory(join(directory, TOKENIZER))
            await copySmall(disk, tokenizer, join(directory, TOKENIZER))
            await disk.syncDirectory(join(directory, TOKENIZER))
          }
          await disk.syncDirectory(directory)
          await writeSmall(disk, join(staging, TRAIN_STATE_TRACKER), trainStateFile(untrained(options.step)))
          await writeSmall(disk, join(staging, TRACKER), Buffer.from(String(options.step)))
        })
        return withChanges(plan.report, tally.changed)
      }))
  return { plan, run } satisfies PreparedImport
})

/** Put the counted value changes beside the dtype changes that caused them. */
const withChanges = (report: ConversionReport, changed: ReadonlyMap<string, number>): ConversionReport => ({
  ...report,
  dtypeChanges: report.dtypeChanges.map((c) => ({ ...c, changedElements: changed.get(c.tensor) ?? 0 }))
})

export interface PreparedExport {
  readonly plan: ExportPlan
  readonly report: ConversionReport
  readonly run: (target: string, options: RunOptions) => Effect.Effect<ConversionReport, BridgeError, Disk>
}

export interface ExportRequest extends Omit<ExportOptions, "mtpFrom"> {
  readonly mtpFrom?: string
}

/** Plan an export of the checkpoint at `megatronPath` with the config (and shard layout) of `hfModel`. Reads headers only. */
export const prepareExport = Effect.fnUntraced(function*(
  families: FamilyRegistry,
  hfModel: string,
  megatronPath: string,
  request: ExportRequest
) {
  const disk = yield* Disk
  const { config, weights } = yield* openHfModel(hfModel)
  const checkpoint: Checkpoint = yield* openCheckpoint(megatronPath)
  const { mtpFrom, ...rest } = request
  const graft = mtpFrom === undefined ? undefined : yield* openSafetensors(mtpFrom)
  const plan = yield* attempt(() => planExport(families.find(config.json), config, weights, checkpoint, { ...rest, ...(graft ? { mtpFrom: graft } : {}) }))
  yield* attempt(() => readChunkHeaders(disk, plan.chunks))
  const files: HfFiles = yield* attempt(() => hfFiles(plan, weights))
  const report: ConversionReport = { ...plan.report, files: files.files.map((f) => ({ name: f.name, bytes: f.size })) }

  const run = (target: string, options: RunOptions) =>
    publish(target, { overwrite: options.overwrite, size: files.files.reduce((n, f) => n + f.size, 0) }, (staging) =>
      Effect.gen(function*() {
        const tally = changedTally()
        for (const folder of new Set(files.files.flatMap((f) => (f.name.includes("/") ? [f.name.slice(0, f.name.lastIndexOf("/"))] : [])))) {
          yield* attempt(() => makeNested(disk, staging, folder))
        }
        yield* execute(files.files, plan.sources, staging, { ...options, onArray: tally.onArray })
        const beside = (yield* sideFiles(hfModel)).filter((f) => f.name !== files.index?.name && !f.name.endsWith(".index.json"))
        const configBytes = yield* attempt(() => exportedConfig(config, plan.zeroFields, request.torchDtype))
        yield* attempt(async () => {
          if (weights) await refuseChangedSources(disk, weights)
          if (graft) await refuseChangedSources(disk, graft)
          await copySmall(disk, beside.filter((f) => f.name !== CONFIG), staging)
          await writeSmall(disk, join(staging, CONFIG), configBytes)
          if (files.index) await writeSmall(disk, join(staging, files.index.name), files.index.bytes)
        })
        return withChanges(report, tally.changed)
      }))
  return { plan, report, run } satisfies PreparedExport
})

const makeNested = async (disk: DiskCalls, root: string, folder: string): Promise<void> => {
  let path = root
  for (const name of folder.split("/")) await disk.makeDirectory(path = join(path, name))
}

const DTYPE_FIELDS = ["dtype", "torch_dtype"]

/** config.json as it was, byte for byte, unless a field must change; then in the form Python writes. */
const exportedConfig = (config: HfConfig, zeroFields: ReadonlyArray<string>, torchDtype: ExportOptions["torchDtype"]): Uint8Array => {
  let tree = parseJsonTree(config.bytes, { allowNonFinite: true, keepFloats: true })
  let changed = false
  const edit = (node: JsonTree, path: ReadonlyArray<string>, value: JsonTree): JsonTree => {
    const [head, ...tail] = path
    if (!(node instanceof Map) || head === undefined || !node.has(head)) return node
    const before = node.get(head)!
    const after = tail.length === 0 ? value : edit(before, tail, value)
    if (after === before) return node
    changed = true
    return new Map(node).set(head, after) as JsonMap
  }
  for (const field of zeroFields) tree = edit(tree, field.split("."), 0)
  if (torchDtype !== "source" && tree instanceof Map) {
    for (const section of [[], ...[...tree.keys()].filter((k) => k.endsWith("_config")).map((k) => [k])]) {
      for (const field of DTYPE_FIELDS) tree = edit(tree, [...section, field], torchDtype)
    }
  }
  if (!changed) return config.bytes
  if (!(tree instanceof Map)) throw new PlanRefused({ code: "config/not-an-object", problem: "config.json is not an object" })
  return Buffer.from(`${pythonJson(tree)}\n`)
}
