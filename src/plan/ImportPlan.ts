/**
 * The plan of an import: from an opened HF directory and a layout to the files of a checkpoint and the report. Everything is
 * accounted for here, before anything is written. Pure.
 */
import type { Conversion } from "../bridge/Conversion.ts"
import type { Family } from "../bridge/Family.ts"
import { type CheckpointFiles, checkpointFiles, type KeptTensor } from "../checkpoint/CheckpointFiles.ts"
import { place } from "../checkpoint/Placement.ts"
import { rankStateFiles } from "../checkpoint/RankStates.ts"
import type { TargetArray } from "../engine/index.ts"
import type { Entry } from "../model/Parameter.ts"
import type { Layout } from "../parallel/Layout.ts"
import { freshRunConfig } from "../runconfig/freshRunConfig.ts"
import type { HfSource } from "../space/HfSource.ts"
import { spotOf } from "../space/StoredWeights.ts"
import { readSpace } from "../space/TensorSpace.ts"
import type { DType } from "../tensor/DType.ts"
import { account, ALLOWED, bytesOfTensors, carriedGroups, type LeftBehind, MTP_DROPPED } from "./accounting.ts"
import { refuseIntegerWeights } from "./dtypes.ts"
import { explainingHf } from "./explain.ts"
import { ChunkArray, groupsToPlace, keptArray, localArray, type ReadCopy } from "./importArrays.ts"
import { dtypeChanges, storedDtypes } from "./importDtypes.ts"
import type { ImportOptions } from "./ImportOptions.ts"
import { describeSource, type ImportRelation, relateImport } from "./importRelation.ts"
import { importFreezing } from "./importFreezing.ts"
import { importedProvider } from "./importedProvider.ts"
import type { LaidOutModule } from "./layoutChecks.ts"
import { carriedWhy, compileAllowed, compileCarried, refuseUnmapped } from "./match.ts"
import { castTo, type TorchDtype } from "./Options.ts"
import { quantizedSummary } from "./quantizedSummary.ts"
import type { ConversionReport, DtypeChange, FrozenSummary } from "./Report.ts"
import { componentSummaries, type SizedTensor } from "./summary.ts"

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

/** Errors: what the directory is, if it is no plain model; else PlanRefused, InvalidFile or Unsupported. */
export const planImport = (family: Family, source: HfSource, options: ImportOptions, described = describeSource(family, source)): ImportPlan =>
  explainingHf(source.weights, source, () => planned(relateImport(family, source, described, options), options))

const planned = (relation: ImportRelation, options: ImportOptions): ImportPlan => {
  const { byRank, conversion, described, form, layout, padding, placed } = relation
  const accounted = accountSources(relation, options.allowUnmapped)
  const dtypes = decideDtypes(relation, options.torchDtype)
  const beside = besideModel(relation, [...accounted.carried, ...dtypes.rounded])
  const read = readSpace(described.logical)
  const dtypeOf = (key: string): DType => dtypes.stored.get(key)!
  const checkpoint = filesOf(relation, options, { dtypeOf, kept: beside.kept, read })
  const stored = new Map(Iterator.from(dtypes.stored.keys()).map((key) => [key, checkpoint.metadata.tensors.get(key)!]))
  const frozen = importFreezing(described.description, form, options.freeze ?? [], stored)
  const provider = importedProvider(described.description.provider, conversion, padding, options.torchDtype)
  return {
    conversion,
    bare: byRank,
    layout,
    placed,
    dtypeOf,
    read,
    checkpoint,
    runConfig: freshRunConfig(provider, layout.components, form, frozen ? { model: frozen.fields } : {}),
    report: importReport(relation, checkpoint, {
      changes: dtypes.changes,
      stored,
      frozen: frozen?.summary,
      kept: beside.kept,
      leftBehind: [...accounted.leftBehind, ...beside.leftBehind]
    })
  }
}

/** Every source tensor is converted, carried, dropped on purpose, or the plan is refused. */
const accountSources = ({ conversion, described, droppedMtp, modules, source }: ImportRelation, allowUnmapped: ReadonlyArray<string>) => {
  const { description, logical: { activationScales, tensors } } = described
  const carriedRule = compileCarried(description.carried)
  const allowed = compileAllowed(allowUnmapped)
  const dropped = new Set(droppedMtp)
  const isDropped = (name: string) => dropped.has(activationScales.get(name) ?? name)
  const isCarried = (name: string) => !isDropped(name) && (carriedRule(name) !== undefined || activationScales.has(name))
  const unused = [...tensors.values()].filter((t) => !conversion.hf.has(t.name))
  const { leftBehind, unmapped } = account(
    unused.filter((t) => !isCarried(t.name)),
    (name) => (isDropped(name) ? MTP_DROPPED : allowed(name) ? ALLOWED : undefined)
  )
  refuseUnmapped(unmapped, modules.map((m) => m.registry), (names) => spotOf(source.weights, names))
  return { carried: unused.filter((t) => isCarried(t.name)).map(({ dtype, name, shape }): KeptTensor => ({ name, dtype, shape })), leftBehind }
}

/** The dtype of every stored tensor, and what of the source is not stored as it is. */
const decideDtypes = ({ conversion, described: { logical }, source }: ImportRelation, wanted: TorchDtype) => {
  refuseIntegerWeights(conversion.parameters, logical.tensors, (names) => spotOf(source.weights, names))
  const stored = storedDtypes(conversion, logical, castTo(wanted), (name) => spotOf(source.weights, [name]))
  return { stored, ...dtypeChanges(conversion, logical, stored) }
}

const NO_PLACE = "files of ranks have no place for it; an export takes it from the model that is named"

/** HF tensors that travel beside the model, where the files have a place for them. */
const besideModel = ({ byRank }: ImportRelation, tensors: ReadonlyArray<KeptTensor>): { readonly kept: ReadonlyArray<KeptTensor>; readonly leftBehind: ReadonlyArray<LeftBehind> } => {
  const all = [...new Map(tensors.map((tensor) => [tensor.name, tensor])).values()]
  return byRank
    ? { kept: [], leftBehind: all.map((tensor) => ({ tensor: tensor.name, bytes: bytesOfTensors([tensor]), reason: NO_PLACE })) }
    : { kept: all, leftBehind: [] }
}

interface FilledBy {
  readonly dtypeOf: (key: string) => DType
  readonly kept: ReadonlyArray<KeptTensor>
  readonly read: ReadCopy
}

const filesOf = ({ byRank, conversion, form, placed }: ImportRelation, { changes, step }: ImportOptions, { dtypeOf, kept, read }: FilledBy): CheckpointFiles => {
  const asIs = (array: TargetArray): TargetArray => array
  const { chunk: changed, kept: changedKept } = changes ?? { chunk: asIs, kept: asIs }
  const isBeside = (entry: Entry) => form === "mimo" && entry.mtp === true
  const groups = () => groupsToPlace(conversion, placed, isBeside)
  const whole = checkpointFiles(place(groups()), {
    dtypeOf,
    arrayOf: (chunk, dtype) => changed(new ChunkArray(chunk, dtype, read), chunk),
    kept,
    keptArray: (tensor) => changedKept(keptArray(tensor, read)),
    step
  })
  return byRank ? { ...whole, files: rankStateFiles(groups(), (tensor) => localArray(tensor, dtypeOf(tensor.key), read)) } : whole
}

/** Parameters that HF does not have are said, by their names without layer and expert numbers. */
const zeroFilledNotes = ({ conversion: { parameters }, described: { description: { zeroFilled } } }: ImportRelation): ReadonlyArray<string> => {
  const names = new Set(parameters.filter((p) => p.constant !== undefined).map(({ module, parameter }) => module.keyPrefix + parameter.name.replace(/(?<=\.)\d+(?=\.)|\d+$/g, "*")))
  return names.size === 0 ? [] : [`${[...names].join(", ")} are filled with zeros${zeroFilled ? `: ${zeroFilled.why}` : ""}; an export leaves them out while they are zero`]
}

interface ImportOutcome {
  readonly changes: ReadonlyArray<DtypeChange>
  /** Of the model, by key. */
  readonly stored: ReadonlyMap<string, SizedTensor>
  readonly frozen: FrozenSummary | undefined
  readonly kept: ReadonlyArray<KeptTensor>
  readonly leftBehind: ReadonlyArray<LeftBehind>
}

const importReport = (relation: ImportRelation, { files, metadata: { tensors } }: CheckpointFiles, { changes, frozen, kept, leftBehind, stored }: ImportOutcome): ConversionReport => {
  const { conversion, described: { description, logical }, family, form, layout, modules, padding, source } = relation
  const keptNames = new Set(kept.map((k) => k.name))
  return {
    direction: "import",
    form,
    architecture: source.architecture,
    family: family.name,
    source: source.directory,
    components: componentSummaries(modules, stored, layout),
    sourceTensors: source.weights.tensors.size,
    sourceBytes: source.weights.tensorBytes,
    targetTensors: tensors.size,
    targetBytes: bytesOfTensors(tensors.values()),
    files: files.map((f) => ({ name: f.name, bytes: f.size })),
    dtypeChanges: changes,
    leftBehind,
    carried: [...keptNames],
    carriedBecause: carriedGroups(keptNames, carriedWhy(description.carried, logical)),
    ...(padding ? { vocabulary: padding } : {}),
    ...(frozen ? { frozen } : {}),
    ...quantizedSummary(logical, (name) => conversion.hf.has(name) || keptNames.has(name) ? "dequantized" : undefined),
    notes: [
      ...relation.notes,
      ...zeroFilledNotes(relation),
      ...(form === "mimo" && !description.provider.mimo ? ["the reference has no MIMO provider for this family: no released trainer loads this checkpoint yet"] : [])
    ]
  }
}
