/**
 * The plan of an import: from an opened HF directory and a layout to the files of a checkpoint and the report. Everything is
 * accounted for here, before anything is written. Pure.
 */
import { bind, checkCoverage, type Conversion, type ConversionModule } from "../bridge/Conversion.ts"
import type { Family, HfHeaders, ModelDescription } from "../bridge/Family.ts"
import { type Provider, pythonName } from "../runconfig/Provider.ts"
import { type CheckpointFiles, checkpointFiles, type KeptTensor } from "../checkpoint/CheckpointFiles.ts"
import { place } from "../checkpoint/Placement.ts"
import { freshRunConfig } from "../runconfig/freshRunConfig.ts"
import { PlanRefused } from "../errors.ts"
import type { Form } from "../mimo/routing.ts"
import type { Entry } from "../model/Parameter.ts"
import { describeModel, formOf, modulesOf, withoutMtp } from "./describe.ts"
import { account, ALLOWED, carriedGroups, type LeftBehind, MTP_DROPPED } from "./accounting.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { copiesFrom, readSpace } from "../space/TensorSpace.ts"
import { describeLayout, type Layout } from "../parallel/Layout.ts"
import { volume } from "../tensor/Copy.ts"
import { bytesOf, type DType, isFloat } from "../tensor/DType.ts"
import { explainingHf } from "./explain.ts"
import { fileOf, type HfSource, headersOf, fileSpotOf, spotOf } from "../space/HfSource.ts"
import { ChunkArray, groupsToPlace, keptArray } from "./importArrays.ts"
import { laidOut, layoutNotes } from "./layoutChecks.ts"
import { carriedWhy, compileAllowed, compileCarried, expectedBeside, refuseUnmapped, requireTensors } from "./match.ts"
import { commonDtype, refuseIntegerWeights, refuseSubByte } from "./dtypes.ts"
import { castTo, type MtpMode, type TorchDtype } from "./Options.ts"
import { quantizedSummary } from "./quantizedSummary.ts"
import { openedWeights } from "../space/openedWeights.ts"
import { type ConversionReport, type DtypeChange } from "./Report.ts"
import { paddingFields, paddingNote, padVocabulary, type VocabularyPadding } from "./vocabulary.ts"

export interface ImportOptions {
  /** `auto`: MIMO if the model has more than one component. */
  readonly form: Form | "auto"
  readonly layout: (componentNames: ReadonlyArray<string>) => Layout
  readonly torchDtype: TorchDtype
  readonly mtp: MtpMode
  readonly allowUnmapped: ReadonlyArray<string>
  /** Training step that the checkpoint claims; 0 for a converted one. */
  readonly step: number
}

export interface ImportPlan {
  readonly conversion: Conversion
  readonly layout: Layout
  readonly checkpoint: CheckpointFiles
  readonly runConfig: string
  readonly report: ConversionReport
}

/** Parameters that HF does not have are said, by their names without layer and expert numbers. */
const zeroFilledNotes = ({ zeroFilled }: ModelDescription, { parameters }: Conversion): ReadonlyArray<string> => {
  const names = new Set(parameters.filter((p) => p.constant !== undefined).map(({ module, parameter }) => module.keyPrefix + parameter.name.replace(/(?<=\.)\d+(?=\.)|\d+$/g, "*")))
  return names.size === 0 ? [] : [`${[...names].join(", ")} are filled with zeros${zeroFilled ? `: ${zeroFilled.why}` : ""}; an export leaves them out while they are zero`]
}

/** What happens to multi-token prediction: the modules to convert, and the HF tensors that stay behind. */
const resolveMtp = (modules: ReadonlyArray<ConversionModule>, mode: MtpMode, has: (name: string) => boolean) => {
  const full = bind(modules)
  const names = [...full.hf.values()].filter((t) => t.mtp).map((t) => t.name)
  const present = names.filter(has)
  if (mode === "require" && (names.length === 0 || present.length < names.length)) {
    throw new PlanRefused({
      code: "plan/mtp-required",
      problem: names.length === 0
        ? "--mtp require: by config.json the model has no multi-token-prediction layers"
        : "--mtp require: multi-token-prediction tensors are missing",
      names: names.filter((n) => !has(n))
    })
  }
  if (names.length === 0) return { conversion: full, modules, dropped: [], absent: false }
  const absent = present.length === 0
  if (mode !== "drop" && !absent) return { conversion: full, modules, dropped: [], absent: false }
  const kept = modules.map((m) => ({ ...m, entries: withoutMtp(m.entries) }))
  return { conversion: bind(kept), modules: kept, dropped: present, absent }
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
  explainingHf(source.tensors, source, () => {
    const logical = openedWeights(source.tensors, source)
    const headers = headersOf(logical)
    return { logical, headers, description: describeModel(family, source, headers), notes: [] }
  })

/** Errors: what the directory is, if it is no plain model; else PlanRefused, InvalidFile or Unsupported. */
export const planImport = (family: Family, source: HfSource, options: ImportOptions, described = describeSource(family, source)): ImportPlan =>
  explainingHf(source.tensors, source, () => plannedImport(family, source, options, described))

const plannedImport = (family: Family, source: HfSource, options: ImportOptions, { description, logical, notes: found }: DescribedSource): ImportPlan => {
  const { tensors } = logical
  const form = formOf(options.form, description)
  const mtp = resolveMtp(modulesOf(form, description), options.mtp, (n) => tensors.has(n))
  const { modules } = mtp
  const layout = options.layout(modules.map((m) => m.name))
  const placed = laidOut(modules, description, form, layout)
  const tpOf = new Map(placed.map(({ module, parallelism }) => [module, parallelism.tp]))
  const { conversion, padding } = padVocabulary(mtp.conversion, description.provider, (module) => tpOf.get(module)!)
  const notes: Array<string> = [...source.tensors.warnings, ...(description.notes ?? []), ...found]
  if (mtp.absent) notes.push("config.json promises multi-token-prediction layers, the checkpoint has none of their tensors; converted without")
  if (padding) notes.push(paddingNote(padding))
  notes.push(...layoutNotes(form, layout))

  requireTensors(
    [...conversion.hf.values(), ...expectedBeside(description.carried, conversion.hf, (n) => tensors.has(n))],
    tensors,
    fileOf(source.tensors),
    ({ name }) => fileSpotOf(source.tensors, name)
  )
  checkCoverage(conversion)

  const { carried, leftBehind } = accountSources(source, logical, conversion, modules, description, { dropped: mtp.dropped, allowUnmapped: options.allowUnmapped })
  refuseIntegerWeights(conversion.parameters, tensors, (names) => spotOf(source.tensors, names))
  const dtypes = storedDtypes(conversion, logical, castTo(options.torchDtype), (name) => spotOf(source.tensors, [name]))
  const { changes, rounded } = dtypeChanges(conversion, logical, dtypes)
  const kept = [...new Map([...carried, ...rounded].map((t) => [t.name, t])).values()]
  notes.push(...zeroFilledNotes(description, conversion))
  if (form === "mimo" && !description.provider.mimo) {
    notes.push("the reference has no MIMO provider for this family: no released trainer loads this checkpoint yet")
  }

  const beside = (entry: Entry) => form === "mimo" && entry.mtp === true
  const read = readSpace(logical)
  const checkpoint = checkpointFiles(place(groupsToPlace(conversion, placed, beside)), {
    dtypeOf: (key) => dtypes.get(key)!,
    arrayOf: (chunk, dtype) => new ChunkArray(chunk, dtype, read),
    kept,
    keptArray: (tensor) => keptArray(tensor, read),
    step: options.step
  })
  const provider = importedProvider(description.provider, conversion, padding, options.torchDtype)

  const keptNames = new Set(kept.map((k) => k.name))
  const rows = new Map(describeLayout(layout).map((row) => [row.component, row]))
  const bytesOfKey = (key: string) => volume(checkpoint.metadata.tensors.get(key)!.shape) * bytesOf(dtypes.get(key)!)
  const targetTensors = [...checkpoint.metadata.tensors.entries()]
  return {
    conversion,
    layout,
    checkpoint,
    runConfig: freshRunConfig(provider, layout.components, form),
    report: {
      direction: "import",
      form,
      architecture: source.architecture,
      family: family.name,
      source: source.directory,
      components: modules.map(({ keyPrefix, name }) => {
        const { component, ...sizes } = rows.get(name)!
        const keys = [...dtypes.keys()].filter((key) => key.startsWith(keyPrefix))
        return { name: component, tensors: keys.length, bytes: keys.reduce((sum, key) => sum + bytesOfKey(key), 0), layout: sizes }
      }),
      sourceTensors: source.tensors.tensors.size,
      sourceBytes: source.tensors.tensorBytes,
      targetTensors: targetTensors.length,
      targetBytes: targetTensors.reduce((sum, [, t]) => sum + volume(t.shape) * bytesOf(t.dtype), 0),
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

/** The trainer's model has the dtype that was asked for. */
const dtypeFields = (dtype: Exclude<TorchDtype, "source">): Provider["fields"] => ({
  bf16: dtype === "bfloat16",
  fp16: dtype === "float16",
  params_dtype: pythonName(`torch.${dtype}`)
})

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
  refuseUnmapped(unmapped, modules.map((m) => m.registry), (names) => spotOf(source.tensors, names))
  return { carried: unused.filter((t) => isCarried(t.name)).map(({ dtype, name, shape }) => ({ name, dtype, shape })), leftBehind }
}

/** The dtype of every stored tensor: the cast asked for, else what holds all of its sources exactly. */
const storedDtypes = (
  { parameters }: Conversion,
  { tensors }: HfWeights,
  cast: DType | undefined,
  file: Parameters<typeof refuseSubByte>[2]
): ReadonlyMap<string, DType> => {
  const dtypes = new Map<string, DType>()
  for (const { copies, module, parameter } of parameters) {
    const own = copies.map((c) => tensors.get(c.source.tensor)!)
    for (const part of parameter.parts) {
      const key = module.keyPrefix + part.key
      for (const { dtype, name } of own) {
        refuseSubByte(dtype, name, file)
        const wanted = cast && isFloat(dtype) ? parameter.keep ?? cast : dtype
        const known = dtypes.get(key)
        dtypes.set(key, known ? commonDtype(known, wanted, name, file) : wanted)
      }
    }
  }
  return dtypes
}

/**
 * What changes its dtype, one entry per source; and sources whose values arithmetic rounds, although their dtype stays: the
 * originals travel along.
 */
const dtypeChanges = ({ parameters }: Conversion, logical: HfWeights, dtypes: ReadonlyMap<string, DType>) => {
  const changes = new Map<string, DtypeChange>()
  const rounded = new Map<string, KeptTensor>()
  for (const { copies, module, parameter } of parameters) {
    for (const copy of copies) {
      if (copy.echo) continue
      const from = logical.tensors.get(copy.source.tensor)!
      // Refuses what cannot be read, before anything is written.
      if (copy.transform && from.place.kind === "codes") copiesFrom(from, copy)
      const to = dtypes.get(module.keyPrefix + parameter.parts[0]!.key)!
      if (from.dtype !== to) {
        changes.set(from.name, { tensor: from.name, from: from.dtype, to, storedAs: parameter.parts.map((part) => module.keyPrefix + part.key) })
      } else if (copy.transform) rounded.set(from.name, { name: from.name, dtype: from.dtype, shape: from.shape })
    }
  }
  return { changes: [...changes.values()], rounded: [...rounded.values()] }
}

/** The family's provider, with what the tensors and the options decided. */
const importedProvider = (own: Provider, { hf }: Conversion, padding: VocabularyPadding | undefined, torchDtype: TorchDtype): Provider => {
  const hasMtp = hf.values().some((t) => t.mtp)
  return {
    ...own,
    fields: {
      ...own.fields,
      ...(hasMtp || !own.fields["mtp_num_layers"] ? {} : { mtp_num_layers: null }),
      ...(padding ? paddingFields(padding) : {}),
      ...(torchDtype === "source" ? {} : dtypeFields(torchDtype))
    }
  }
}
