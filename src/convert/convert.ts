/**
 * The conversions as Effects: resolve, check, execute, commit. Import and export differ in their plans only.
 */
import { Effect } from "effect"
import { basename, join } from "node:path"
import type { Family } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { recognise } from "../recognise/patterns.ts"
import { type Checkpoint, openCheckpoint } from "../checkpoint/Checkpoint.ts"
import { commonState } from "../checkpoint/CheckpointFiles.ts"
import { folderFiles, trackerFiles } from "../checkpoint/folder.ts"
import { iterationFolder, TOKENIZER } from "../checkpoint/names.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { positioned } from "../document/position.ts"
import type { JsonValue } from "../document/StrictJson.ts"
import { wholeFile } from "../engine/index.ts"
import { type BridgeError, quote, Unsupported } from "../errors.ts"
import { attempt, uninterruptibly } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { storeInUse } from "../io/storeInUse.ts"
import type { Store } from "../store/Store.ts"
import { isMissing } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { describeLayout } from "../parallel/Layout.ts"
import { trainStateFile, untrained } from "../torch/TrainState.ts"
import { besideModel } from "../space/besideModel.ts"
import { describedByContents, withOwnHead } from "../plan/aliases.ts"
import { checkedConstants, grownNotes, withFields } from "../plan/constants.ts"
import { checkedRepeats } from "../plan/repeats.ts"
import { explainingHf, recogniseHf } from "../plan/explain.ts"
import { exportedConfig, withVocabulary, writtenDtype } from "../plan/exportedConfig.ts"
import { type ExportPlan, readExportPlan } from "../plan/ExportDraft.ts"
import { type ExportOptions, planExport } from "../plan/planExport.ts"
import { type HfFiles, hfFiles } from "../plan/HfFiles.ts"
import { CONFIG, type HfSource, openHfModel, openHfSource, sideFiles } from "../space/HfSource.ts"
import { describeSource, type ImportOptions, type ImportPlan, planImport } from "../plan/ImportPlan.ts"
import type { Recorder } from "../publish/integrity/Recorder.ts"
import { known, sourceFile } from "../publish/journal/Job.ts"
import { produce, type RunOptions, withChanges } from "./produce.ts"
import { type ComparisonOptions, unchangedTensors, withQuantized } from "../plan/quantizedExport.ts"
import type { ConversionReport } from "../plan/Report.ts"
import { commit } from "../publish/commit.ts"
import { changedSource, LARGEST_SIDE_FILE, type SmallSource, smallSource } from "../publish/sources.ts"
import { dataFileStates, shardIngredients, shardStates } from "./sourceStates.ts"
import { type HfTensors, openSafetensors } from "../safetensors/SafetensorsDirectory.ts"
import { refuseCuts, vocabularyClaims } from "../plan/vocabularyClaims.ts"

export type { RunOptions } from "./produce.ts"

/** Name patterns shown for an unknown architecture. */
const MOST_PATTERNS = 40

/** What a tokenizer consists of, of the small files of a model directory. */
const TOKENIZER_FILE = /^(tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|chat_template.*|.*\.tiktoken|.*\.model)$/

const copySmall = async (store: Store, files: ReadonlyArray<{ readonly name: string; readonly path: string }>, recorder: Recorder, folder = ""): Promise<void> => {
  for (const { name, path } of files) {
    const bytes = await readSmall(store, path, path, LARGEST_SIDE_FILE).catch((error: unknown): never => {
      throw isMissing(error) ? changedSource(path, "was removed while it was converted") : error
    })
    await recorder.write(join(folder, name), bytes)
  }
}

/** For `--log-level debug`: what was opened … */
const tellSource = (path: string, architecture: string, tensors: HfTensors | undefined) =>
  Effect.logDebug(`resolve: ${quote(path)}: ${quote(architecture)}, ${tensors ? `${tensors.tensors.size} tensors in ${tensors.shards.length} files` : "no weights"}`)

/** … and what follows from it. */
const tellPlan = ({ components, family, files, form, sourceTensors, targetTensors }: ConversionReport, rows?: number) =>
  Effect.gen(function*() {
    yield* Effect.logDebug(`resolve: family ${family}${rows === undefined ? "" : `, ${rows} mapping rows`}, ${form}`)
    for (const { layout, name, tensors } of components) {
      const sizes = layout ? `tp=${layout.tp} pp=${layout.pp} dp=${layout.dp} cp=${layout.cp} ep=${layout.ep} etp=${layout.etp} on ranks ${layout.ranks}, ` : ""
      yield* Effect.logDebug(`layout: ${quote(name)}: ${sizes}${tensors} tensors`)
    }
    yield* Effect.logDebug(`plan: ${sourceTensors} tensors become ${targetTensors}, in ${files.length} files of ${files.reduce((n, f) => n + f.bytes, 0)} bytes`)
  })

const smallSources = async (store: Store, files: ReadonlyArray<{ readonly name: string; readonly path: string }>): Promise<ReadonlyArray<SmallSource>> => {
  const sources: Array<SmallSource> = []
  for (const { name, path } of files) sources.push(await smallSource(store, name, path))
  return sources
}

/** The family of an opened model; for an unknown architecture the error also says what its tensors look like. */
const familyOf = (families: FamilyRegistry, source: HfSource): Family => explainingHf(source.tensors, source, () => {
  try {
    return families.find(source.json, source.path, positioned({ field: "architectures[0]" }, source.bytes))
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error
    const known = recogniseHf(source.tensors, source)
    const what = known ? `\n  But ${known.what}. ${known.next}` : ""
    const patterns = recognise(source.tensors.tensors.values())
    const lines = patterns.slice(0, MOST_PATTERNS).map((p) => `\n    ${quote(p.pattern)} (${p.count} × [${p.shape}]): ${p.looksLike}`)
    const rest = patterns.length > MOST_PATTERNS ? `\n    … ${patterns.length} patterns in all` : ""
    throw new Unsupported({
      code: error.code,
      what: error.what,
      ...(error.place ? { place: error.place } : {}),
      problem: error.problem,
      hint: `${error.hint}${what}\n  Its tensors look like this (\`scaffold\` writes them as a starter file):${lines.join("")}${rest}`
    })
  }
})

/** A planned import that can be run. */
export interface PreparedImport {
  readonly plan: ImportPlan
  readonly run: (target: string, options: RunOptions) => Effect.Effect<ConversionReport, BridgeError, Disk>
}

/** Plan an import of the HF directory `hfModel`. Reads headers only. */
export const prepareImport = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, options: ImportOptions) {
  const store = yield* storeInUse
  const source = yield* openHfSource(hfModel)
  const beside = yield* besideModel(source.tensors)
  const family = yield* attempt(() => familyOf(families, source))
  const described = yield* describedByContents(family, source, yield* attempt(() => describeSource(family, source)))
  const planned = yield* attempt(() => planImport(family, source, options, described))
  const plan: ImportPlan = { ...planned, report: { ...planned.report, notes: [...planned.report.notes, ...beside.notes("import")] } }
  yield* tellSource(source.path, source.architecture, source.tensors)
  yield* tellPlan(plan.report, described.description.rows.length)
  const folder = iterationFolder(options.step)

  const { files } = plan.checkpoint
  const trainState = trainStateFile(untrained(options.step))
  const ingredients = [
    known("config.json", source.bytes),
    known("the options", JSON.stringify([options.form, options.torchDtype, options.mtp, options.allowUnmapped, options.step])),
    known("the layout", JSON.stringify(describeLayout(plan.layout))),
    ...shardIngredients(source.tensors, "the model")
  ]

  const run = Effect.fnUntraced(function*(target: string, runOptions: RunOptions) {
    const tokenizer = yield* sideFiles(hfModel, (name) => TOKENIZER_FILE.test(name))
    const small = yield* attempt(() => smallSources(store, tokenizer))
    return yield* produce(target, runOptions, {
      files,
      states: shardStates(source.tensors),
      folder,
      iteration: folder,
      ingredients: [...ingredients, ...small],
      sources: [hfModel],
      report: withChanges(plan.report),
      checksum: runOptions.checksum ?? true
    }, Effect.fnUntraced(function*(publication) {
      const { recorder } = publication
      yield* uninterruptibly(async () => {
        const { checkpoint: { metadata }, runConfig } = plan
        for (const [name, bytes] of folderFiles({ metadata, common: commonState(options.step), runConfig, trainState })) await recorder.write(name, bytes)
        if (tokenizer.length > 0) {
          await recorder.makeDirectory(TOKENIZER)
          await copySmall(store, tokenizer, recorder, TOKENIZER)
        }
      })
      yield* commit(publication, {
        small: [...small, { ...known(CONFIG, source.bytes), path: source.path }],
        trackers: trackerFiles(folder, trainState)
      })
    }))
  })
  return { plan, run } satisfies PreparedImport
})

export interface PreparedExport {
  readonly plan: ExportPlan
  readonly report: ConversionReport
  readonly run: (target: string, options: RunOptions) => Effect.Effect<ConversionReport, BridgeError, Disk>
}

export interface ExportRequest extends Omit<ExportOptions, "mtpFrom"> {
  readonly mtpFrom?: string
  /**
   * Write quantised tensors of `hfModel` that the checkpoint holds unchanged as `hfModel` has them, not as values. They are
   * compared first, which reads all of them.
   */
  readonly restoreQuantized?: ComparisonOptions
}

/**
 * Plan an export of the checkpoint at `megatronPath` with the config (and shard layout) of `hfModel`. Reads headers only, unless
 * quantised tensors are to be restored.
 */
export const prepareExport = Effect.fnUntraced(function*(
  families: FamilyRegistry,
  hfModel: string,
  megatronPath: string,
  request: ExportRequest
) {
  const store = yield* storeInUse
  const { config: published, weights } = yield* openHfModel(hfModel)
  const { vocabSize } = request
  const config = vocabSize === undefined ? published : yield* attempt(() => withVocabulary(published, vocabSize))
  const { copied, notes: besideNotes } = weights ? yield* besideModel(weights) : { copied: [], notes: () => [] }
  const checkpoint: Checkpoint = yield* openCheckpoint(megatronPath)
  const states = yield* attempt(() => dataFileStates(store, checkpoint))
  const { mtpFrom, restoreQuantized, ...rest } = request
  const graft = mtpFrom === undefined ? undefined : yield* openSafetensors(mtpFrom)
  const family = yield* attempt(() => families.find(config.json, config.path))
  const planned = Effect.fnUntraced(function*(json: JsonValue, grown: Pick<ExportOptions, "grown">) {
    const options = { ...rest, ...(graft ? { mtpFrom: graft } : {}), ...grown }
    const draft = yield* attempt(() => planExport({ family, config: { ...config, json }, weights, checkpoint }, options))
    const [cut] = draft.cuts
    const asked = vocabSize === undefined && cut ? yield* attempt(() => vocabularyClaims(store, checkpoint, hfModel, cut.rows)) : { claims: [], notes: [] }
    yield* attempt(() => refuseCuts(draft.cuts, asked.claims))
    const plan = yield* checkedRepeats(yield* attempt(() => readExportPlan(store, draft)), rest.allowUnmapped)
    return { plan, asked, checked: yield* checkedConstants(plan) }
  })
  const first = yield* planned(config.json, {})
  const { asked } = first
  const grown = first.plan.zeroFilled?.fields ?? []
  const kept = first.checked ?? grownNotes((yield* planned(withFields(config.json, grown), { grown })).plan, grown)
  const asValues = yield* withOwnHead(kept)
  const unchanged = restoreQuantized ? yield* unchangedTensors(asValues, restoreQuantized) : new Set<string>()
  const { plan, quantization } = withQuantized(asValues, unchanged)
  const model: HfFiles = yield* attempt(() => hfFiles(plan, weights))
  const files: HfFiles = { ...model, files: [...model.files, ...copied.map(({ file, path, size }) => wholeFile({ name: file, path, size }))] }
  const written = writtenDtype(config, request.torchDtype, plan.tensors.values())
  yield* tellSource(config.path, config.architecture, weights)
  yield* Effect.logDebug(`resolve: ${quote(checkpoint.directory)}: ${checkpoint.form}, ${checkpoint.tensors.size} tensors and ${checkpoint.objects.size} objects in ${checkpoint.fileSizes.size} data files`)
  const report: ConversionReport = { ...plan.report, files: files.files.map((f) => ({ name: f.name, bytes: f.size })), notes: [...plan.report.notes, ...asked.notes, ...written.notes, ...besideNotes("export")] }
  yield* tellPlan(report)

  const sources = [hfModel, megatronPath, ...(mtpFrom === undefined ? [] : [mtpFrom])]
  const allStates = [...states, ...shardStates(weights), ...shardStates(graft), ...copied]
  const ingredients = [
    known("config.json", config.bytes),
    known("the options", JSON.stringify([rest.torchDtype, rest.mtp, rest.allowUnmapped, mtpFrom !== undefined, basename(checkpoint.directory), ...(vocabSize === undefined ? [] : [vocabSize])])),
    ...states.map((s) => sourceFile(`${basename(s.path)} of the checkpoint`, s)),
    ...shardIngredients(weights, "the original model"),
    ...shardIngredients(graft, "--mtp-from"),
    ...copied.map((s) => sourceFile(`${s.file} beside the original model`, s))
  ]

  const run = Effect.fnUntraced(function*(target: string, runOptions: RunOptions) {
    const beside = yield* sideFiles(hfModel, (name) => name !== CONFIG && name !== files.index?.name && !name.endsWith(".index.json"))
    const small = yield* attempt(() => smallSources(store, beside))
    return yield* produce(target, runOptions, {
      files: files.files,
      states: allStates,
      sums: new StorageSums(plan.stored.storages()),
      folder: "",
      ingredients: [...ingredients, ...small],
      sources,
      report: withChanges(report),
      checksum: runOptions.checksum ?? false
    }, Effect.fnUntraced(function*(publication) {
      const { recorder } = publication
      const configBytes = yield* attempt(() => exportedConfig(config, { fields: plan.configFields, torchDtype: written.dtype, quantization, ...(vocabSize === undefined ? {} : { vocabSize }) }))
      yield* uninterruptibly(async () => {
        await copySmall(store, beside, recorder)
        await recorder.write(CONFIG, configBytes)
        if (files.index) await recorder.write(files.index.name, files.index.bytes)
      })
      yield* commit(publication, { small: [...small, { ...known(CONFIG, config.bytes), path: config.path }] })
    }))
  })
  return { plan, report, run } satisfies PreparedExport
})
