/** An import as an Effect: resolve, check, execute, commit. */
import { Effect } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { commonState } from "../checkpoint/CheckpointFiles.ts"
import { folderFiles, trackerFiles } from "../checkpoint/folder.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { iterationFolder, TOKENIZER } from "../checkpoint/names.ts"
import type { JobError } from "../errors.ts"
import { asOneProcess } from "../cluster/single.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { describeLayout } from "../parallel/Layout.ts"
import { commonFile } from "../torch/ObjectItem.ts"
import { trainStateFile, untrained } from "../torch/TrainState.ts"
import { besideModel } from "../space/besideModel.ts"
import { describedByContents } from "../plan/aliases.ts"
import { openHfConfig, openHfSource, sideFiles } from "../space/HfSource.ts"
import type { ImportOptions } from "../plan/ImportOptions.ts"
import { type ImportPlan, planImport } from "../plan/ImportPlan.ts"
import { describeSource } from "../plan/importRelation.ts"
import { known } from "../publish/journal/Fingerprint.ts"
import { askedFor, contribute, produce, type RunOptions, withCounts } from "./produce.ts"
import type { ConversionReport } from "../plan/Report.ts"
import { commit } from "../publish/commit.ts"
import { headerBytes, pinnedOf, shardIngredients, shardStates } from "./sourceStates.ts"

import { directoriesOf, mainDirectory } from "../space/Assembly.ts"
import { configStates, copySmall, smallSources } from "./smallFiles.ts"
import { tellPlan, tellSource } from "./tell.ts"
import { TOKENIZER_FILE } from "./tokenizerFiles.ts"
import type { ChangeSources } from "./ValueChanges.ts"
import { familyOf } from "./familyOf.ts"

/** A planned import that can be run. */
export interface RunnableImport {
  readonly plan: ImportPlan
  readonly run: (target: string, options: RunOptions) => Effect.Effect<ConversionReport, JobError, Disk>
}

/** The usual route is the same, said or not. */
const unusualRoute = ({ loadRoute }: { readonly loadRoute?: string | undefined }): ReadonlyArray<string> => (loadRoute === undefined || loadRoute === "hook" ? [] : [loadRoute])

/** The options that decide which bytes are written. */
const decisive = ({ allowUnmapped, checkpointFormat = "torch_dist", form, freeze = [], loadRoute, mtp, paddedVocabulary, step, torchDtype }: ImportOptions): ReadonlyArray<unknown> =>
  [form, torchDtype, mtp, allowUnmapped, step, ...unusualRoute({ loadRoute }), ...(checkpointFormat === "torch_dist" ? [] : [checkpointFormat]), ...(paddedVocabulary === undefined ? [] : [paddedVocabulary]), ...(freeze.length === 0 ? [] : [{ freeze }])]

/** What the processes of a job compare. */
const importAsked = (hfModel: string, config: Uint8Array, options: ImportOptions) =>
  askedFor({ model: hfModel }, ["import", ...decisive(options), options.said], config)

/** Take part in an import that the first process of the job plans. */
export const contributeToImport = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, options: ImportOptions, target: string, runOptions: RunOptions) {
  const { bytes } = yield* openHfConfig(hfModel)
  const whole = Effect.flatMap(asOneProcess(prepareImport(families, hfModel, options)), (prepared) => prepared.run(target, runOptions))
  yield* contribute(importAsked(hfModel, bytes, options), runOptions, whole)
})

export interface ChangedImportRequest extends ImportOptions {
  /** Of `changes`: what decides them, the files that they were read from, and where these are. */
  readonly changing?: ChangeSources
}

/** Plan an import of the HF directory `hfModel`. Reads headers only. */
export const prepareImport = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, { changing, ...options }: ChangedImportRequest) {
  const store = yield* storeInUse
  const source = yield* openHfSource(hfModel, families)
  const { safetensors, storages } = source.weights
  const beside = safetensors ? yield* besideModel(safetensors) : { notes: () => [] }
  const family = yield* converting(() => familyOf(families, source))
  const described = yield* describedByContents(family, source, yield* converting(() => describeSource(family, source)))
  const planned = yield* converting(() => planImport(family, source, options, described))
  const plan: ImportPlan = { ...planned, report: { ...planned.report, ...pinnedOf(shardStates(source.weights)), notes: [...planned.report.notes, ...beside.notes("import")] } }
  yield* tellSource(source.path, source.architecture, source.weights)
  yield* tellPlan(plan.report, described.description.rows.length)
  const folder = plan.bare ? "" : iterationFolder(options.step)

  const { files } = plan.checkpoint
  const trainState = trainStateFile(untrained(options.step))
  const ingredients = [
    known("config.json", source.bytes),
    known("the options", JSON.stringify(decisive(options))),
    known("the layout", JSON.stringify(describeLayout(plan.layout))),
    ...shardIngredients(source.weights, "the model"),
    ...changing?.ingredients ?? []
  ]

  const run = Effect.fnUntraced(function*(target: string, runOptions: RunOptions) {
    const tokenizer = plan.bare ? [] : yield* sideFiles(mainDirectory(hfModel), (name) => TOKENIZER_FILE.test(name))
    const small = yield* converting(() => smallSources(store, tokenizer))
    return yield* produce(target, runOptions, {
      files,
      layoutRanks: plan.layout.worldSize,
      states: [...shardStates(source.weights), ...changing?.states ?? []],
      headers: headerBytes(source.weights),
      // What is added to values is no order that another process could take.
      ...(changing ? {} : { asked: importAsked(hfModel, source.bytes, options) }),
      ...(storages ? { sums: new StorageSums(storages) } : {}),
      folder,
      ...(plan.bare ? {} : { iteration: folder }),
      ingredients: [...ingredients, ...small],
      sources: [...directoriesOf(hfModel), ...changing?.sources ?? []],
      report: withCounts(plan.report),
      checksum: runOptions.checksum ?? true
    }, Effect.fnUntraced(function*(publication) {
      const { recorder } = publication
      yield* uninterruptibly(async () => {
        const { checkpoint: { metadata }, runConfig } = plan
        if (tokenizer.length > 0) {
          await recorder.makeDirectory(TOKENIZER)
          await copySmall(store, tokenizer, recorder, TOKENIZER)
        }
        for (const [name, bytes] of plan.bare ? [] : folderFiles({ metadata, common: commonFile(commonState(options.step)), runConfig, trainState })) await recorder.write(name, bytes)
      })
      yield* commit(publication, {
        small: [...small, ...configStates(source)],
        trackers: plan.bare ? [] : trackerFiles(folder, trainState)
      })
    }))
  })
  return { plan, run } satisfies RunnableImport
})
