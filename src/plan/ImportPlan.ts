/**
 * The plan of an import: from an opened HF directory and a layout to the files of a checkpoint and the report. Everything is
 * accounted for here, before anything is written. Pure.
 */
import { bind, type BoundParameter, checkCoverage, type Conversion, type ConversionModule } from "../bridge/Conversion.ts"
import type { Family, HfHeaders, ModelDescription } from "../bridge/Family.ts"
import { type CheckpointFiles, checkpointFiles, type KeptTensor } from "../checkpoint/CheckpointFiles.ts"
import { type Chunk, place } from "../checkpoint/Placement.ts"
import { rankStateFiles } from "../checkpoint/RankStates.ts"
import type { TargetArray } from "../engine/index.ts"
import { freshRunConfig } from "../runconfig/freshRunConfig.ts"
import { type LoadRoute, prefixFor, requireRoute } from "../mimo/loadRoute.ts"
import type { Form } from "../mimo/routing.ts"
import type { Entry } from "../model/Parameter.ts"
import { formOf, modulesOf } from "./describe.ts"
import { describeModel } from "../space/describeModel.ts"
import { account, ALLOWED, bytesOfTensors, carriedGroups, type LeftBehind, MTP_DROPPED } from "./accounting.ts"
import { dtypeChanges, storedDtypes } from "./importDtypes.ts"
import { importedProvider } from "./importedProvider.ts"
import { boundWithoutMtp, mtpNamesOf, mtpRequired, NO_MTP_LAYERS } from "./mtp.ts"
import { componentSummaries } from "./summary.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { readSpace } from "../space/TensorSpace.ts"
import type { Layout } from "../parallel/Layout.ts"
import type { DType } from "../tensor/DType.ts"
import { UsageError } from "../errors.ts"
import { explainingHf } from "./explain.ts"
import { type HfSource, headersOf } from "../space/HfSource.ts"
import { fileOf, fileSpotOf, spotOf } from "../space/StoredWeights.ts"
import { ChunkArray, groupsToPlace, keptArray, localArray, type ReadCopy } from "./importArrays.ts"
import { type LaidOutModule, laidOut, layoutNotes } from "./layoutChecks.ts"
import { carriedWhy, compileAllowed, compileCarried, expectedBeside, refuseUnmapped, requireTensors } from "./match.ts"
import { refuseIntegerWeights } from "./dtypes.ts"
import { castTo, type MtpMode, type TorchDtype } from "./Options.ts"
import { quantizedSummary } from "./quantizedSummary.ts"
import { openedWeights } from "../space/openedWeights.ts"
import type { ConversionReport } from "./Report.ts"
import { paddingNote, padVocabulary } from "./vocabulary.ts"

export interface ImportOptions {
  /** `auto`: MIMO if the model has more than one component. */
  readonly form: Form | "auto"
  readonly layout: (componentNames: ReadonlyArray<string>) => Layout
  /** The layout in the words of the request: processes of a job compare them. */
  readonly said?: string
  readonly torchDtype: TorchDtype
  readonly mtp: MtpMode
  readonly allowUnmapped: ReadonlyArray<string>
  /** For which loader of a trainer the names are; `hook` by default. */
  readonly loadRoute?: LoadRoute
  /** Default: `torch_dist`. */
  readonly checkpointFormat?: CheckpointFormat
  /** Rows of the vocabulary's tables, zeros behind the model's own. Default: as many as there are, and as tensor parallelism asks for. */
  readonly paddedVocabulary?: number
  /** Training step that the checkpoint claims; 0 for a converted one. */
  readonly step: number
  /** What becomes of values on their way. */
  readonly changes?: ImportChanges
}

/** `torch_dist`: one checkpoint of the whole model. `tp_rank`: for each module a folder of state dicts, one for each tensor-parallel rank. */
export type CheckpointFormat = "torch_dist" | "tp_rank"

/** What is added to values that an import otherwise only moves. */
export interface ImportChanges {
  readonly chunk: (array: TargetArray, chunk: Chunk<BoundParameter>) => TargetArray
  /** Of HF tensors that travel beside the model; `id` is the name. */
  readonly kept: (array: TargetArray) => TargetArray
}

export interface ImportPlan {
  readonly conversion: Conversion
  /** It has neither index nor description: its files are all there is. */
  readonly bare: boolean
  readonly layout: Layout
  readonly checkpoint: CheckpointFiles
  readonly runConfig: string
  readonly report: ConversionReport
  /** Its modules under the layout. */
  readonly placed: ReadonlyArray<LaidOutModule>
  /** Of a stored tensor. */
  readonly dtypeOf: (key: string) => DType
  readonly read: ReadCopy
}

const NO_PLACE = "files of ranks have no place for it; an export takes it from the model that is named"

/** Of what a layout says, files of ranks depend on one size. */
const rankStateNotes = ({ components }: Layout): ReadonlyArray<string> =>
  components.some(({ parallelism: { pp } }) => pp > 1) ? ["every file holds the layers of all pipeline stages; the trainer's script gives each stage its own"] : []

/** Parameters that HF does not have are said, by their names without layer and expert numbers. */
const zeroFilledNotes = ({ zeroFilled }: ModelDescription, { parameters }: Conversion): ReadonlyArray<string> => {
  const names = new Set(parameters.filter((p) => p.constant !== undefined).map(({ module, parameter }) => module.keyPrefix + parameter.name.replace(/(?<=\.)\d+(?=\.)|\d+$/g, "*")))
  return names.size === 0 ? [] : [`${[...names].join(", ")} are filled with zeros${zeroFilled ? `: ${zeroFilled.why}` : ""}; an export leaves them out while they are zero`]
}

/** What happens to multi-token prediction: the modules to convert, and the HF tensors that stay behind. */
const resolveMtp = (modules: ReadonlyArray<ConversionModule>, mode: MtpMode, has: (name: string) => boolean) => {
  const full = bind(modules)
  const names = mtpNamesOf(full)
  const present = names.filter(has)
  if (mode === "require" && (names.length === 0 || present.length < names.length)) {
    throw mtpRequired(names.length === 0 ? NO_MTP_LAYERS : "multi-token-prediction tensors are missing", { names: names.filter((n) => !has(n)) })
  }
  const absent = names.length > 0 && present.length === 0
  if (names.length === 0 || (mode !== "drop" && !absent)) return { conversion: full, modules, dropped: [], absent: false }
  return { ...boundWithoutMtp(modules), dropped: present, absent }
}

/** A source and the model that it holds. */
export interface DescribedSource {
  /** Its tensors; quantised ones are seen as BF16 ones. */
  readonly logical: HfWeights
  readonly headers: HfHeaders
  readonly description: ModelDescription
  /** What was found on the way. */
  readonly notes: ReadonlyArray<string>
}

/** Errors: what the directory is, if it is no plain model; else InvalidFile or Unsupported. */
export const describeSource = (family: Family, source: HfSource): DescribedSource =>
  explainingHf(source.weights, source, () => {
    const logical = openedWeights(source.weights, source)
    const headers = headersOf(logical)
    return { logical, headers, description: describeModel(family, source, headers), notes: [] }
  })

/** Errors: what the directory is, if it is no plain model; else PlanRefused, InvalidFile or Unsupported. */
export const planImport = (family: Family, source: HfSource, options: ImportOptions, described = describeSource(family, source)): ImportPlan =>
  explainingHf(source.weights, source, () => plannedImport(family, source, options, described))

const plannedImport = (family: Family, source: HfSource, options: ImportOptions, { description, logical, notes: found }: DescribedSource): ImportPlan => {
  const { tensors } = logical
  const form = formOf(options.form, description)
  const { loadRoute = "hook" } = options
  requireRoute(form, loadRoute)
  const named = modulesOf(form, description).map((module) => ({ ...module, keyPrefix: prefixFor(loadRoute, module.keyPrefix) }))
  const mtp = resolveMtp(named, options.mtp, (n) => tensors.has(n))
  const { modules } = mtp
  const layout = options.layout(modules.map((m) => m.name))
  const placed = laidOut(modules, description, form, layout)
  const tpOf = new Map(placed.map(({ module, parallelism }) => [module, parallelism.tp]))
  const { conversion, padding } = padVocabulary(mtp.conversion, description.provider, (module) => tpOf.get(module)!, options.paddedVocabulary)
  const notes: Array<string> = [...source.weights.warnings, ...(description.notes ?? []), ...found]
  if (mtp.absent) notes.push("config.json promises multi-token-prediction layers, the checkpoint has none of their tensors; converted without")
  if (padding) notes.push(paddingNote(padding))
  notes.push(...layoutNotes(form, layout))
  const byRank = options.checkpointFormat === "tp_rank"
  if (byRank && loadRoute !== "hook") throw new UsageError({ problem: `--load-route ${loadRoute} would do nothing: files of ranks are loaded by a script, before components are wrapped` })
  if (byRank) notes.push(...rankStateNotes(layout))

  requireTensors(
    [...conversion.hf.values(), ...expectedBeside(description.carried, conversion.hf, (n) => tensors.has(n))],
    tensors,
    fileOf(source.weights),
    ({ name }) => fileSpotOf(source.weights, name)
  )
  checkCoverage(conversion)

  const { carried, leftBehind: left } = accountSources(source, logical, conversion, modules, description, { dropped: mtp.dropped, allowUnmapped: options.allowUnmapped })
  refuseIntegerWeights(conversion.parameters, tensors, (names) => spotOf(source.weights, names))
  const dtypes = storedDtypes(conversion, logical, castTo(options.torchDtype), (name) => spotOf(source.weights, [name]))
  const { changes, rounded } = dtypeChanges(conversion, logical, dtypes)
  const beside = [...new Map([...carried, ...rounded].map((t) => [t.name, t])).values()]
  const kept = byRank ? [] : beside
  const leftBehind = byRank ? [...left, ...beside.map((tensor) => ({ tensor: tensor.name, bytes: bytesOfTensors([tensor]), reason: NO_PLACE }))] : left
  notes.push(...zeroFilledNotes(description, conversion))
  if (form === "mimo" && !description.provider.mimo) {
    notes.push("the reference has no MIMO provider for this family: no released trainer loads this checkpoint yet")
  }

  const isBeside = (entry: Entry) => form === "mimo" && entry.mtp === true
  const read = readSpace(logical)
  const { chunk: changed, kept: changedKept } = options.changes ?? { chunk: (array: TargetArray) => array, kept: (array: TargetArray) => array }
  const groups = () => groupsToPlace(conversion, placed, isBeside)
  const dtypeOf = (key: string): DType => dtypes.get(key)!
  const whole = checkpointFiles(place(groups()), {
    dtypeOf,
    arrayOf: (chunk, dtype) => changed(new ChunkArray(chunk, dtype, read), chunk),
    kept,
    keptArray: (tensor) => changedKept(keptArray(tensor, read)),
    step: options.step
  })
  const checkpoint = byRank ? { ...whole, files: rankStateFiles(groups(), (tensor) => localArray(tensor, dtypes.get(tensor.key)!, read)) } : whole
  const provider = importedProvider(description.provider, conversion, padding, options.torchDtype)

  const keptNames = new Set(kept.map((k) => k.name))
  const stored = checkpoint.metadata.tensors
  return {
    conversion,
    bare: byRank,
    layout,
    placed,
    dtypeOf,
    read,
    checkpoint,
    runConfig: freshRunConfig(provider, layout.components, form),
    report: {
      direction: "import",
      form,
      architecture: source.architecture,
      family: family.name,
      source: source.directory,
      components: componentSummaries(modules, new Map(Iterator.from(dtypes.keys()).map((key) => [key, stored.get(key)!])), layout),
      sourceTensors: source.weights.tensors.size,
      sourceBytes: source.weights.tensorBytes,
      targetTensors: stored.size,
      targetBytes: bytesOfTensors(stored.values()),
      files: checkpoint.files.map((f) => ({ name: f.name, bytes: f.size })),
      dtypeChanges: changes,
      leftBehind,
      carried: kept.map((k) => k.name),
      carriedBecause: carriedGroups(keptNames, carriedWhy(description.carried, logical)),
      ...(padding ? { vocabulary: padding } : {}),
      ...quantizedSummary(logical, (name) => conversion.hf.has(name) || keptNames.has(name) ? "dequantized" : undefined),
      notes
    }
  }
}

/** Every source tensor is converted, carried, dropped on purpose, or the plan is refused. */
const accountSources = (
  source: HfSource,
  { activationScales, tensors }: HfWeights,
  conversion: Conversion,
  modules: ReadonlyArray<ConversionModule>,
  description: ModelDescription,
  choice: { readonly dropped: ReadonlyArray<string>; readonly allowUnmapped: ReadonlyArray<string> }
): { readonly carried: ReadonlyArray<KeptTensor>; readonly leftBehind: ReadonlyArray<LeftBehind> } => {
  const carriedRule = compileCarried(description.carried)
  const allowed = compileAllowed(choice.allowUnmapped)
  const dropped = new Set(choice.dropped)
  const isDropped = (name: string) => dropped.has(activationScales.get(name) ?? name)
  const isCarried = (name: string) => !isDropped(name) && (carriedRule(name) !== undefined || activationScales.has(name))
  const unused = [...tensors.values()].filter((t) => !conversion.hf.has(t.name))
  const { leftBehind, unmapped } = account(
    unused.filter((t) => !isCarried(t.name)),
    (name) => (isDropped(name) ? MTP_DROPPED : allowed(name) ? ALLOWED : undefined)
  )
  refuseUnmapped(unmapped, modules.map((m) => m.registry), (names) => spotOf(source.weights, names))
  return { carried: unused.filter((t) => isCarried(t.name)).map(({ dtype, name, shape }) => ({ name, dtype, shape })), leftBehind }
}
