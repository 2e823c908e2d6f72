/** An export as an Effect: resolve, check, execute, commit. */
import { Effect } from "effect"
import { basename } from "node:path"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type Checkpoint, openCheckpoint } from "../space/Checkpoint.ts"
import { requireEqualReplicas } from "../checkpoint/legacy/replicas.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import type { JsonValue } from "../document/StrictJson.ts"
import { type TargetFile, wholeFile } from "../engine/index.ts"
import { type JobError, quote } from "../errors.ts"
import { asOneProcess } from "../cluster/single.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { withOwnHead } from "../plan/aliases.ts"
import { checkedConstants, grownNotes, withFields } from "../plan/constants.ts"
import { checkedRepeats } from "../plan/repeats.ts"
import { exportedConfig, partConfigs, withVocabulary, writtenDtype } from "../plan/exportedConfig.ts"
import { exportArray, type ExportPlan, readExportPlan } from "../plan/ExportDraft.ts"
import { type ExportPlanOptions, planExport } from "../plan/planExport.ts"
import { type HfFiles, hfFiles } from "../plan/HfFiles.ts"
import { directoriesOf, mainDirectory } from "../space/Assembly.ts"
import { CONFIG, openHfConfig } from "../space/HfSource.ts"
import { known, sourceFile } from "../publish/journal/Fingerprint.ts"
import { askedFor, contribute, produce, type RunOptions, withCounts } from "./produce.ts"
import { type ComparisonOptions, unchangedTensors, withQuantized } from "../plan/quantizedExport.ts"
import type { ConversionReport } from "../plan/Report.ts"
import { commit } from "../publish/commit.ts"
import type { Publication } from "../publish/Publication.ts"
import type { SourceState } from "../publish/sources.ts"
import { dataFileStates, headerBytes, pinnedOf, shardIngredients, shardStates } from "./sourceStates.ts"
import { openStoredWeights } from "../space/openStoredWeights.ts"
import { refuseCuts, vocabularyClaims } from "../plan/vocabularyClaims.ts"

import { type DescribedByCheckpoint, describedModel, namedModel, smallFilesOf } from "./exportModel.ts"
import { configStates, copySmall, smallSources } from "./smallFiles.ts"
import { tellPlan, tellSource } from "./tell.ts"
import type { ValueChanges } from "./ValueChanges.ts"

/** Writes into a publication that has all the rest. */
export type LastFiles = (publication: Publication, written: HfFiles) => Effect.Effect<void, JobError, Disk>

export interface RunnableExport {
  readonly plan: ExportPlan
  readonly report: ConversionReport
  readonly files: ReadonlyArray<TargetFile>
  /** What is read, as it was when this was planned. */
  readonly states: ReadonlyArray<SourceState>
  /** `last` writes what is written last, when all tensors are staged, instead of the index. */
  readonly run: (target: string, options: RunOptions, last?: LastFiles) => Effect.Effect<ConversionReport, JobError, Disk>
}

export interface ExportRequest extends Omit<ExportPlanOptions, "mtpFrom"> {
  readonly mtpFrom?: string
  /**
   * Write quantised tensors of `hfModel` that the checkpoint holds unchanged as `hfModel` has them, not as values. They are
   * compared first, which reads all of them.
   */
  readonly restoreQuantized?: ComparisonOptions
  /** What becomes of values on their way. */
  readonly changes?: ValueChanges
}

/** What the processes of a job compare; `config`: of a model that is named. */
const exportAsked = (model: string | DescribedByCheckpoint, megatronPath: string, { allowUnmapped, mtp, mtpFrom, restoreQuantized, torchDtype, vocabSize }: ExportRequest, config: Uint8Array | undefined) =>
  askedFor(
    { checkpoint: megatronPath, ...(typeof model === "string" ? { model } : {}), ...(mtpFrom === undefined ? {} : { mtp: mtpFrom }) },
    ["export", torchDtype, mtp, allowUnmapped, mtpFrom !== undefined, restoreQuantized !== undefined, vocabSize, typeof model === "string" ? "" : model.architecture],
    ...(config ? [config] : [])
  )

/** Take part in an export that the first process of the job plans. */
export const contributeToExport = Effect.fnUntraced(function*(
  families: FamilyRegistry,
  model: string | DescribedByCheckpoint,
  megatronPath: string,
  request: ExportRequest,
  target: string,
  runOptions: RunOptions
) {
  const config = typeof model === "string" ? (yield* openHfConfig(model)).bytes : undefined
  const whole = Effect.flatMap(asOneProcess(prepareExport(families, model, megatronPath, request)), (prepared) => prepared.run(target, runOptions))
  yield* contribute(exportAsked(model, megatronPath, request, config), runOptions, whole)
})

/**
 * Plan an export of the checkpoint at `megatronPath` with the config (and shard layout) of a model, or with the config that follows
 * from what the checkpoint says of itself. Reads headers only, unless quantised tensors are to be restored.
 */
export const prepareExport = Effect.fnUntraced(function*(
  families: FamilyRegistry,
  source: string | DescribedByCheckpoint,
  megatronPath: string,
  request: ExportRequest
) {
  const store = yield* storeInUse
  const named = typeof source === "string" ? yield* namedModel(families, source) : undefined
  const checkpoint: Checkpoint = yield* openCheckpoint(megatronPath)
  const model = named ?? (yield* describedModel(families, checkpoint, source as DescribedByCheckpoint))
  const { config: published, copied, weights } = model
  const { vocabSize } = request
  const config = vocabSize === undefined ? published : yield* converting(() => withVocabulary(published, vocabSize))
  const states = yield* converting(() => dataFileStates(store, checkpoint))
  yield* requireEqualReplicas(checkpoint)
  const { changes, mtpFrom, restoreQuantized, ...rest } = request
  const graft = mtpFrom === undefined ? undefined : yield* openStoredWeights(mtpFrom)
  const family = yield* converting(() => families.find(config.json, config.path))
  const planned = Effect.fnUntraced(function*(json: JsonValue, grown: Pick<ExportPlanOptions, "grown">) {
    const options = { ...rest, ...(graft ? { mtpFrom: graft } : {}), ...grown }
    const draft = yield* converting(() => planExport({ family, config: { ...config, json }, weights, checkpoint }, options))
    const [cut] = draft.cuts
    const asked = vocabSize === undefined && cut ? yield* converting(() => vocabularyClaims(store, checkpoint, model.directory === undefined ? undefined : mainDirectory(model.directory), cut.rows)) : { claims: [], notes: [] }
    yield* converting(() => refuseCuts(draft.cuts, asked.claims))
    const plan = yield* checkedRepeats(yield* converting(() => readExportPlan(store, draft)), rest.allowUnmapped)
    return { plan, asked, checked: yield* checkedConstants(plan) }
  })
  const first = yield* planned(config.json, {})
  const { asked } = first
  const grown = first.plan.zeroFilled?.fields ?? []
  const kept = first.checked ?? grownNotes((yield* planned(withFields(config.json, grown), { grown })).plan, grown)
  const asValues = yield* withOwnHead(kept)
  const unchanged = restoreQuantized ? yield* unchangedTensors(asValues, restoreQuantized) : new Set<string>()
  const { plan: asStored, quantization } = withQuantized(asValues, unchanged)
  const changed = changes && (yield* changes.of((tensor) => exportArray(asStored, asStored.tensors.get(tensor)!)))
  const plan: ExportPlan = changed ? { ...asStored, changed } : asStored
  const own: HfFiles = yield* converting(() => hfFiles(plan, weights))
  const files: HfFiles = { ...own, files: [...own.files, ...copied.map(({ file, path, size }) => wholeFile({ name: file, path, size }))] }
  const written = writtenDtype(config, request.torchDtype, plan.tensors.values())
  yield* tellSource(config.path, config.architecture, weights)
  yield* Effect.logDebug(`resolve: ${quote(checkpoint.directory)}: ${checkpoint.form}, ${checkpoint.tensors.size} tensors and ${checkpoint.objects().size} objects in ${checkpoint.fileSizes.size} data files`)
  const report: ConversionReport = { ...plan.report, ...pinnedOf([...states, ...shardStates(weights), ...shardStates(graft)]), files: files.files.map((f) => ({ name: f.name, bytes: f.size })), notes: [...plan.report.notes, ...asked.notes, ...written.notes, ...model.notes] }
  yield* tellPlan(report)

  const sources = [...(model.directory === undefined ? [] : directoriesOf(model.directory)), megatronPath, ...(mtpFrom === undefined ? [] : [mtpFrom]), ...changes?.sources ?? []]
  const allStates = [...changes?.states ?? [], ...states, ...shardStates(weights), ...shardStates(graft), ...copied]
  const ingredients = [
    known("config.json", config.bytes),
    known("the options", JSON.stringify([rest.torchDtype, rest.mtp, rest.allowUnmapped, mtpFrom !== undefined, basename(checkpoint.directory), ...(vocabSize === undefined ? [] : [vocabSize])])),
    ...states.map((s) => sourceFile(`${basename(s.path)} of the checkpoint`, s)),
    ...shardIngredients(weights, "the original model"),
    ...shardIngredients(graft, "--mtp-from"),
    ...copied.map((s) => sourceFile(`${s.file} beside the original model`, s)),
    ...changes?.ingredients ?? []
  ]

  const run = Effect.fnUntraced(function*(target: string, runOptions: RunOptions, last?: LastFiles) {
    const beside = (yield* smallFilesOf(model)).filter(({ name }) => !name.endsWith(".index.json") && files.indices.every((index) => name !== index.name))
    const small = yield* converting(() => smallSources(store, beside))
    return yield* produce(target, runOptions, {
      files: files.files,
      states: allStates,
      headers: headerBytes(weights, graft),
      asked: exportAsked(source, megatronPath, request, typeof source === "string" ? published.bytes : undefined),
      sums: new StorageSums(plan.stored.storages()),
      folder: "",
      ingredients: [...ingredients, ...small],
      sources,
      report: withCounts(report),
      checksum: runOptions.checksum ?? false
    }, Effect.fnUntraced(function*(publication) {
      const { recorder } = publication
      const configBytes = yield* converting(() => exportedConfig(config, { fields: plan.configFields, torchDtype: written.dtype, quantization, ...(vocabSize === undefined ? {} : { vocabSize }) }))
      yield* uninterruptibly(async () => {
        await copySmall(store, beside, recorder)
        for (const own of config.parts ? partConfigs(config, configBytes) : [{ name: CONFIG, bytes: configBytes }]) await recorder.write(own.name, own.bytes)
        if (!last) for (const index of files.indices) await recorder.write(index.name, index.bytes)
      })
      if (last) yield* last(publication, files)
      yield* commit(publication, { small: [...small, ...(model.isStored ? configStates(config) : [])] })
    }))
  })
  return { plan, report, files: files.files, states: allStates, run } satisfies RunnableExport
})
