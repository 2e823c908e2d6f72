/** An import of adapters as an Effect: a directory of `peft` becomes a PEFT checkpoint of Megatron, from which training goes on. */
import { Effect } from "effect"
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type CheckpointFiles, checkpointFiles, commonState } from "../checkpoint/CheckpointFiles.ts"
import { folderFiles, trackerFiles } from "../checkpoint/folder.ts"
import { iterationFolder } from "../checkpoint/names.ts"
import { place } from "../checkpoint/Placement.ts"
import { produce, type RunOptions } from "../convert/produce.ts"
import { shardIngredients, shardStates } from "../convert/sourceStates.ts"
import type { TargetArray } from "../engine/index.ts"
import { type JobError, quote } from "../errors.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import type { Form } from "../mimo/routing.ts"
import { describeLayout, type Layout } from "../parallel/Layout.ts"
import { commonDtype } from "../plan/dtypes.ts"
import { ChunkArray, groupsToPlace } from "../plan/importArrays.ts"
import { importedProvider } from "../plan/importedProvider.ts"
import { type LaidOutModule, laidOut } from "../plan/layoutChecks.ts"
import { castTo, type TorchDtype } from "../plan/Options.ts"
import { padVocabulary } from "../plan/vocabulary.ts"
import { commit } from "../publish/commit.ts"
import { known } from "../publish/journal/Fingerprint.ts"
import type { AdapterSettings } from "../runconfig/adapterSection.ts"
import { freshRunConfig } from "../runconfig/freshRunConfig.ts"
import { CONFIG } from "../space/HfSource.ts"
import { readSpace } from "../space/TensorSpace.ts"
import type { DType } from "../tensor/DType.ts"
import { commonFile } from "../torch/ObjectItem.ts"
import { trainStateFile, untrained } from "../torch/TrainState.ts"
import { type BaseModel, openBase } from "./BaseModel.ts"
import { bindPeft, matricesOf } from "./bindPeft.ts"
import { inputAxisOf } from "./inputAxis.ts"
import { type AdapterParameter, adapterParameters, type AdapterPlan, commonScale, planAdapters, type PlannedPair, type WantedForm } from "./importDraft.ts"
import { megatronTargets } from "./megatronTargets.ts"
import { multiplied } from "./multiplied.ts"
import { ADAPTER_CONFIG } from "./peftConfig.ts"
import type { InputAxis } from "./peftPair.ts"
import { openPeft, type PeftDirectory } from "./PeftDirectory.ts"
import type { AdapterReport } from "./Report.ts"
import { type Sameness, samenessOf } from "./sameness.ts"
import { ORIGIN, originOf } from "./origin.ts"

export interface AdapterImportRequest {
  readonly form: Form | "auto"
  readonly layout: (componentNames: ReadonlyArray<string>) => Layout
  readonly torchDtype: TorchDtype
  readonly adapterForm: WantedForm
  readonly inputAxis: InputAxis
  /** Where the trainer finds the base: `checkpoint.pretrained_checkpoint`. */
  readonly pretrained?: string
}

export interface PreparedAdapterImport {
  readonly report: AdapterReport
  readonly layout: Layout
  readonly run: (target: string, options: RunOptions) => Effect.Effect<AdapterReport, JobError, Disk>
}

/** The base under a layout, its vocabulary padded as an import of it would be. */
const laidOutBase = ({ as, description }: BaseModel, { form: wanted, layout: layoutOf, torchDtype }: AdapterImportRequest) => {
  const { conversion: own, form, modules } = as(wanted)
  const layout = layoutOf(modules.map((m) => m.name))
  const placed = laidOut(modules, description, form, layout)
  const tpOf = new Map(placed.map(({ module, parallelism }) => [module, parallelism.tp]))
  const { conversion, padding } = padVocabulary(own, description.provider, (module) => tpOf.get(module)!)
  return { form, layout, placed, conversion, tpOf, provider: importedProvider(description.provider, conversion, padding, torchDtype) }
}

const haveOne = (a: PlannedPair, b: PlannedPair, both: Sameness["both"]): boolean =>
  a.contributions.length === b.contributions.length &&
  a.contributions.every((c, i) => a.stored.factors.indexOf(c.factor) === b.stored.factors.indexOf(b.contributions[i]!.factor) && both(c, b.contributions[i]!))

/** Whether all experts of every layer have one and the same adapter, as a trainer gives them by default. */
const sharesExperts = ({ pairs }: AdapterPlan, { both }: Sameness): boolean => {
  const experts = Map.groupBy(pairs.filter(({ stored }) => stored.base.parameter.expert), ({ stored: { base } }) => base.module.keyPrefix + base.parameter.name.replace(/\d+$/, ""))
  return experts.values().every(([first, ...rest]) => rest.every((other) => haveOne(first!, other, both)))
}

/** The dtype of every stored tensor: the cast that is asked for, else what holds all that is stored under its key. */
const dtypesOf = (parameters: ReadonlyArray<AdapterParameter>, { weights }: PeftDirectory, torchDtype: TorchDtype): ReadonlyMap<string, DType> => {
  const dtypes = new Map<string, DType>()
  for (const { copies, module, parameter } of parameters) {
    for (const { source } of copies) {
      const dtype = castTo(torchDtype) ?? weights.tensors.get(source.tensor)!.dtype
      for (const { key } of parameter.parts) dtypes.set(module.keyPrefix + key, commonDtype(dtypes.get(module.keyPrefix + key) ?? dtype, dtype, source.tensor))
    }
  }
  return dtypes
}

const filesOf = (parameters: ReadonlyArray<AdapterParameter>, placed: ReadonlyArray<LaidOutModule>, peft: PeftDirectory, torchDtype: TorchDtype): CheckpointFiles => {
  const dtypes = dtypesOf(parameters, peft, torchDtype)
  const read = readSpace(peft.weights)
  const groups = groupsToPlace({ parameters, states: [], hf: new Map() }, placed, () => false)
  return checkpointFiles(place(groups), {
    dtypeOf: (key) => dtypes.get(key)!,
    arrayOf: (chunk, dtype): TargetArray => multiplied(new ChunkArray(chunk, dtype, read), (chunk.of as AdapterParameter).times),
    kept: [],
    keptArray: () => { throw new RangeError("an adapter keeps no tensors beside it") },
    step: 0
  })
}

/** What is said of a plan: why its rank is not the adapter's, what it does to training. */
const notesOf = ({ pairs }: AdapterPlan, rank: number, peft: PeftDirectory): ReadonlyArray<string> => {
  const composed = pairs.filter(({ contributions }) => contributions.some(({ first }) => first > 0))
  const padded = pairs.filter((pair) => pair.rank < rank)
  const partial = pairs.filter(({ contributions, stored }) => contributions.length < stored.factors.length)
  return [
    ...peft.weights.warnings,
    ...(composed.length === 0 ? [] : [`${composed.length} adapters are made of several that stand beside each other as blocks (${quote(composed[0]!.stored.base.parameter.name)} …): their rank is ${composed[0]!.rank}, their values are the same`]),
    ...(padded.length === 0 ? [] : [`${padded.length} adapters are filled up to rank ${rank} with ranks of zeros, in A and in B: these have no gradient, and stay zero`]),
    ...(partial.length === 0 ? [] : [`${partial.length} adapters are of weights of which the adapter changes some rows only; training will change the others, too (${quote(partial[0]!.stored.base.parameter.name)} …)`])
  ]
}

const settingsOf = (plan: AdapterPlan, common: { readonly rank: number; readonly alpha: number }, shareExperts: boolean, parameters: ReadonlyArray<BoundParameter>, dropout: number, pretrained: string | undefined): AdapterSettings => ({
  form: plan.form,
  rank: common.rank,
  alpha: common.alpha,
  dropout,
  targetModules: megatronTargets(plan.form, parameters, plan.pairs.map(({ stored }) => stored)),
  shareExperts,
  sharedOuter: plan.sharedOuter,
  ...(pretrained === undefined ? {} : { base: pretrained })
})

/** Plan an import of the adapter at `adapterPath` for the base model `hfModel`. Reads headers, and what may be shared. */
export const prepareAdapterImport = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, adapterPath: string, request: AdapterImportRequest) {
  const base = yield* openBase(families, hfModel)
  const peft = yield* openPeft(adapterPath)
  const { conversion: { parameters }, form, layout, placed, provider, tpOf } = yield* converting(() => laidOutBase(base, request))
  const adapters = yield* converting(() => bindPeft(peft, matricesOf(parameters), inputAxisOf(parameters, request.inputAxis)))
  const same = yield* samenessOf(parameters, adapters, peft.weights)
  const { common, files, plan, settings, stored } = yield* converting(() => {
    const plan = planAdapters(parameters, adapters, request.adapterForm, same.input)
    const common = commonScale(plan.pairs)
    const stored = plan.pairs.flatMap((pair) => adapterParameters(pair, { ...common, sharedOuter: plan.sharedOuter }, tpOf.get(pair.stored.base.module)!))
    const settings = settingsOf(plan, common, sharesExperts(plan, same), parameters, peft.config.dropout, request.pretrained)
    return { plan, common, settings, stored, files: filesOf(stored, placed, peft, request.torchDtype) }
  })
  const report: AdapterReport = {
    direction: "import",
    architecture: base.config.architecture,
    family: base.family.name,
    form,
    source: peft.directory,
    adapter: {
      form: settings.form,
      rank: settings.rank,
      alpha: settings.alpha,
      dropout: settings.dropout,
      matrices: adapters.size,
      parameters: stored.reduce((sum, { parameter: { shape } }) => sum + shape.reduce((a, b) => a * b, 1), 0),
      targetModules: settings.targetModules,
      targetParameters: [],
      ranks: []
    },
    sourceTensors: peft.weights.tensors.size,
    targetTensors: files.metadata.tensors.size,
    files: files.files.map(({ name, size }) => ({ name, bytes: size })),
    notes: notesOf(plan, common.rank, peft)
  }
  const folder = iterationFolder(0)
  const trainState = trainStateFile(untrained(0))
  const run = (target: string, options: RunOptions) => produce(target, options, {
    files: files.files,
    states: shardStates(peft.weights),
    folder,
    iteration: folder,
    ingredients: [
      known("config.json", base.config.bytes),
      known(ADAPTER_CONFIG, peft.configBytes),
      known("the options", JSON.stringify([request.form, request.torchDtype, request.adapterForm, request.inputAxis, request.pretrained])),
      known("the layout", JSON.stringify(describeLayout(layout))),
      ...shardIngredients(peft.weights, "the adapter")
    ],
    sources: [hfModel, adapterPath],
    report: () => report,
    checksum: options.checksum ?? true
  }, Effect.fnUntraced(function*(publication) {
    const { recorder } = publication
    yield* uninterruptibly(async () => {
      const runConfig = freshRunConfig(provider, layout.components, form, { adapters: settings })
      for (const [name, bytes] of folderFiles({ metadata: files.metadata, common: commonFile(commonState(0)), runConfig, trainState })) await recorder.write(name, bytes)
      await recorder.makeDirectory(ORIGIN)
      for (const [name, bytes] of originOf(peft, plan, common.scale)) await recorder.write(`${ORIGIN}/${name}`, bytes)
    })
    yield* commit(publication, {
      small: [{ ...known(CONFIG, base.config.bytes), path: base.config.path }, { ...known(ADAPTER_CONFIG, peft.configBytes), path: peft.configPath }],
      trackers: trackerFiles(folder, trainState)
    })
  }))
  return { report, layout, run } satisfies PreparedAdapterImport
})

