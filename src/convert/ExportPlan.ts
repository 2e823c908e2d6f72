/**
 * The plan of an export: from an opened checkpoint and an HF directory (its config, and its shard layout if it has weights) to
 * HF tensors and what they are assembled from. Accounting first: a stored tensor without a place, or a place without a stored
 * tensor, is refused. Pure.
 */
import { bind, checkCoverage, type Conversion, type ConversionModule } from "../bridge/Conversion.ts"
import type { ConfigField, Family, HfHeaders, ModelDescription, ZeroFilled } from "../bridge/Family.ts"
import type { Checkpoint } from "../checkpoint/Checkpoint.ts"
import { HF_SOURCE } from "../checkpoint/names.ts"
import { StoredChunks } from "../checkpoint/StoredChunks.ts"
import type { Sources, TargetArray } from "../engine/Target.ts"
import { PlanRefused, some, UsageError } from "../errors.ts"
import type { LogicalTensors } from "../quantized/LogicalTensors.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { identity, sameShape, type Shape, volume } from "../tensor/Copy.ts"
import { bytesOf, type DType, isFloat } from "../tensor/DType.ts"
import { notExported, requireOriginal, unwidened } from "./againstOriginal.ts"
import { type ExportTensor, ModelTensor } from "./ExportTensor.ts"
import { explainingHf, explainingMegatron, remarksOn } from "./explain.ts"
import { type HfConfig, headersOf, noHeaders } from "./HfSource.ts"
import { leftOver, type Located, locate, originsOf, refuseIntegers, refuseMissing, requireAllElements } from "./located.ts"
import { describeModel, type Form, modulesOf, withoutMtp } from "./ImportPlan.ts"
import { compileAllowed, compileCarried } from "./match.ts"
import { castTo, type MtpMode, type TorchDtype } from "./Options.ts"
import { logicalOf } from "./quantized.ts"
import type { ConversionReport, DtypeChange } from "./Report.ts"
import { cutNote, cutsOf, requireRows, type VocabularyCut } from "./vocabulary.ts"

export interface ExportOptions {
  readonly torchDtype: TorchDtype
  readonly mtp: MtpMode
  /** Weights from which MTP tensors are taken if the checkpoint has none. */
  readonly mtpFrom?: HfTensors
  readonly allowUnmapped: ReadonlyArray<string>
  /** Rows of the vocabulary, decided by the user; config.json has been changed to say so. */
  readonly vocabSize?: number
  /** Fields of config.json (already set) by which the model has tensors that --hf-model does not. */
  readonly grown?: ReadonlyArray<ConfigField>
  /** Leave out HF tensors whose parameters are not all stored, instead of refusing: for comparisons. */
  readonly partial?: boolean
}

export interface OwnHead {
  readonly name: string
  /** The embedding, which config.json says it is. */
  readonly of: string
  /** --hf-model stores a head as well: if it is the embedding, its flags have been true. */
  readonly stored: boolean
  /** What config.json must say of it. */
  readonly fields: ReadonlyArray<ConfigField>
}

/** A parameter as it is stored, under its key, and as it would be filled. */
export interface Constant {
  readonly stored: TargetArray
  readonly filled: TargetArray
}

export interface ExportPlan {
  /** In the order of the model. */
  readonly tensors: ReadonlyMap<string, ExportTensor>
  readonly chunks: StoredChunks
  readonly sources: Sources
  /** The tensors of --hf-model, as if none were quantised. */
  readonly original: LogicalTensors | undefined
  /** What config.json says otherwise of this export, e.g. that there are no MTP layers. */
  readonly configFields: ReadonlyArray<ConfigField>
  /** Stored tables of the vocabulary that have more rows than the export. */
  readonly cuts: ReadonlyArray<VocabularyCut>
  /** Parameters that are left out, for HF has none: they must still hold what an import filled them with. */
  readonly constants: ReadonlyArray<Constant>
  /** Where there are constants: how config.json can give the HF model such parameters. */
  readonly zeroFilled?: ZeroFilled
  /** The trained model has a head of its own, although config.json says that the embedding serves as both. */
  readonly ownHead?: OwnHead
  readonly report: Omit<ConversionReport, "files">
}

/** Before the names of what is read from --hf-model. */
export const FROM_HF = "hf:"
const FROM_GRAFT = "graft:"

/** The model that config.json describes, without module states, which an export has no use for: they are half of its entries. */
const describe = (family: Family, config: HfConfig, headers: HfHeaders, stored: Form) => {
  const description = describeModel(family, config, headers)
  // The components of a checkpoint of another model are told by their keys, as tensors that are missing or would be lost.
  const form: Form = description.components.length === 0 ? "standard" : stored
  const modules = modulesOf(form, description).map((m): ConversionModule => ({ ...m, entries: m.entries.filter((e) => e.kind === "parameter") }))
  return { form, modules, description }
}

/** Whether the trained model has an output layer: it decides over the flags of config.json. */
export const hasOwnHead = ({ tensors }: Checkpoint): boolean => [...tensors.keys()].some((key) => /(^|\.)output_layer\.weight$/.test(key))

const ownHeadOf = ({ vocabulary }: ModelDescription, weights: LogicalTensors | undefined): OwnHead | undefined => {
  if (!vocabulary?.said?.tied || vocabulary.tied) return undefined
  const { embedding, flag = "tie_word_embeddings", head, said: { flags } } = vocabulary
  return {
    name: head,
    of: embedding,
    stored: weights?.tensors.has(head) === true && weights.tensors.has(embedding),
    fields: flags.length === 0 ? [{ path: flag, value: false, add: true }] : flags.filter((own) => own.tied).map(({ path }) => ({ path, value: false }))
  }
}

/** Drop the MTP parameters if the checkpoint has none of them, or on demand. */
const resolveMtp = (full: Conversion, modules: ReadonlyArray<ConversionModule>, checkpoint: Checkpoint, options: ExportOptions) => {
  const all = locate(full.parameters, checkpoint)
  const mtp = full.parameters.filter((b) => b.parameter.mtp)
  if (mtp.length === 0) {
    if (options.mtp === "require") {
      throw new PlanRefused({ code: "plan/mtp-required", problem: "--mtp require: by config.json the model has no multi-token-prediction layers" })
    }
    return { ...all, conversion: full, mtpNames: [], stored: true, dropped: false }
  }
  const mtpNames = [...full.hf.values()].filter((t) => t.mtp).map((t) => t.name)
  const stored = all.located.some((l) => l.bound.parameter.mtp)
  if (stored && options.mtp !== "drop") return { ...all, conversion: full, mtpNames, stored, dropped: false }
  if (!stored && options.mtp === "require" && !options.mtpFrom) {
    throw new PlanRefused({
      code: "plan/mtp-required",
      problem: "--mtp require: the checkpoint holds no multi-token-prediction tensors",
      hint: "--mtp-from HF_DIR takes them from the original model."
    })
  }
  const rest = bind(modules.map((m) => ({ ...m, entries: withoutMtp(m.entries) })))
  return { ...locate(rest.parameters, checkpoint), conversion: rest, mtpNames, stored, dropped: true }
}

/** Errors: what the checkpoint, or the model beside it, is, if it is no plain one; else PlanRefused, InvalidFile or Unsupported. */
export const planExport = (
  family: Family,
  config: HfConfig,
  hfTensors: HfTensors | undefined,
  checkpoint: Checkpoint,
  options: ExportOptions
): ExportPlan => explainingMegatron(checkpoint, () => plannedExport(family, config, hfTensors, checkpoint, options))

const plannedExport = (
  family: Family,
  config: HfConfig,
  hfTensors: HfTensors | undefined,
  checkpoint: Checkpoint,
  options: ExportOptions
): ExportPlan => {
  const logical = (tensors: HfTensors | undefined) => tensors && explainingHf(tensors, config, () => logicalOf(tensors, config))
  const weights = logical(hfTensors)
  const graftTensors = logical(options.mtpFrom)
  const headers = { ...(weights ? headersOf(weights) : noHeaders), ownHead: hasOwnHead(checkpoint) }
  const { description, form, modules } = describe(family, config, headers, checkpoint.form)
  const { carried: carriedRules, mtpFields, provider: { fields: { vocab_size: vocabulary } } } = description
  const full = bind(modules)
  const ownHead = ownHeadOf(description, weights)
  const added = (name: string): boolean => name === ownHead?.name || options.grown !== undefined
  const allowedBeside = { added, ...(options.vocabSize === undefined ? {} : { vocabSize: options.vocabSize }) }
  if (weights && !options.partial) explainingHf(weights.raw, config, () => requireOriginal(weights, full, carriedRules, allowedBeside))
  const mtp = resolveMtp(full, modules, checkpoint, options)
  const { conversion, located, missing } = mtp
  const notes: Array<string> = [...checkpoint.notes]
  if (missing.length > 0 && !options.partial) refuseMissing(missing, located, checkpoint)
  if (missing.length > 0) notes.push(...remarksOn(checkpoint))
  checkCoverage(conversion)

  const cuts = cutsOf(located, vocabulary)
  if (options.vocabSize !== undefined) requireRows(conversion, options.vocabSize)
  if (cuts[0]) notes.push(cutNote(cuts[0], options.vocabSize))

  const chunks = new StoredChunks(checkpoint.directory)
  const usedKeys = new Set<string>()
  const cast = castTo(options.torchDtype)
  for (const { bound, parts } of located) {
    chunks.use(bound.parameter.shape, parts)
    for (const { part } of parts) usedKeys.add(part.key)
  }
  const origins = originsOf(located)
  requireAllElements(located, checkpoint)
  if (!options.partial) refuseIntegers(located, weights, checkpoint)
  const candidateFor = (name: string, dtype: DType, shape: Shape): string | undefined => {
    const kept = checkpoint.kept.get(name)
    if (kept && kept.chunks.length === 1 && kept.dtype === dtype && sameShape(kept.shape, shape)) {
      return chunks.whole(HF_SOURCE + name, kept, name)[0]?.source.tensor
    }
    const original = weights?.tensors.get(name)
    return original && !original.quantized && original.dtype === dtype && sameShape(original.shape, shape) ? FROM_HF + name : undefined
  }
  const ownDtypes = weights && !cast ? unwidened(located, origins, weights) : new Map<string, DType>()
  const target = (name: string): DType => {
    const { stored } = origins.get(name)!
    return cast && isFloat(stored) ? cast : ownDtypes.get(name) ?? stored
  }
  const candidates = new Map<string, string>()
  for (const { bound } of located) {
    for (const { echo, source: { tensor: name }, transform } of bound.copies) {
      const candidate = echo || !transform ? undefined : candidateFor(name, target(name), conversion.hf.get(name)!.shape)
      if (candidate !== undefined) candidates.set(name, candidate)
    }
  }

  const tensors = new Map<string, ExportTensor>()
  const incomplete = new Set(missing.flatMap(({ bound }) => bound.tensors.map((t) => t.name)))
  for (const { name, shape } of conversion.hf.values()) {
    if (incomplete.has(name)) continue
    tensors.set(name, new ModelTensor({ name, dtype: target(name), shape }, origins.get(name)!, chunks, candidates.get(name)))
  }

  // What Megatron has no place for: the checkpoint's own copy, else the alias or the original model's bytes.
  const carried: Array<string> = []
  /** Kept for a model of another spelling or config. */
  const placeless: Array<string> = []
  const carriedRule = compileCarried(carriedRules)
  const unmade = (names: Iterable<string>) => Iterator.from(names).filter((name) => !tensors.has(name))
  for (const name of new Set([...unmade(checkpoint.kept.keys()), ...unmade(weights?.tensors.keys() ?? [])])) {
    const isActivationScale = weights?.activationScales.has(name) === true
    const rule = carriedRule(name) ?? (isActivationScale ? { pattern: name } : undefined)
    const kept = checkpoint.kept.get(name)
    if (!rule) {
      if (kept && !conversion.hf.has(name) && !mtp.mtpNames.includes(name)) placeless.push(name)
      continue
    }
    const alias = rule.alias === undefined ? undefined : tensors.get(rule.alias)
    const original = weights?.tensors.get(name)
    if (kept) tensors.set(name, { name, dtype: kept.dtype, shape: kept.shape, copies: chunks.whole(HF_SOURCE + name, kept, name) })
    else if (alias) {
      tensors.set(name, { name, dtype: alias.dtype, shape: alias.shape, copies: alias.copies.map((c) => ({ ...c, target: { ...c.target, tensor: name } })) })
      notes.push(`${name} is written as a copy of ${alias.name}`)
    } else if (original) {
      tensors.set(name, { name, dtype: original.dtype, shape: original.shape, copies: weights!.whole(name, name, FROM_HF) })
      if (!isActivationScale) notes.push(`${name} is taken from --hf-model: the checkpoint does not hold it`)
    }
    carried.push(name)
  }
  if (placeless.length > 0) {
    notes.push(`${placeless.length} tensor${placeless.length === 1 ? "" : "s"} that the checkpoint carries beside the model ${placeless.length === 1 ? "has" : "have"} no place in the model of --hf-model and ${placeless.length === 1 ? "is" : "are"} not written: ${some(placeless, 5)}`)
  }

  // MTP that the checkpoint lacks comes from another copy of the model, or is left out and config.json says so.
  const configFields: Array<ConfigField> = [...(options.grown ?? [])]
  if (mtp.dropped) {
    const graft = mtp.stored ? undefined : graftTensors
    if (graft) {
      for (const name of mtp.mtpNames) {
        const original = graft.tensors.get(name)
        if (!original) throw new UsageError({ problem: `--mtp-from: ${graft.directory} has no tensor ${name}` })
        tensors.set(name, { name, dtype: original.dtype, shape: original.shape, copies: graft.whole(name, name, FROM_GRAFT) })
      }
      notes.push(`${mtp.mtpNames.length} multi-token-prediction tensors are taken from ${graft.directory}`)
    } else {
      const promised = weights && !mtp.mtpNames.some((name) => weights.tensors.has(name))
      if (!promised) configFields.push(...mtpFields.map((path) => ({ path, value: 0 })))
      if (promised) notes.push("config.json promises multi-token-prediction layers; neither the checkpoint nor --hf-model has them")
      else if (!mtp.stored) notes.push("the checkpoint holds no multi-token-prediction tensors; config.json is written without those layers (--mtp-from HF_DIR restores them)")
    }
  } else if (options.mtpFrom) notes.push("--mtp-from is not needed: the checkpoint holds its own multi-token-prediction tensors")

  const allowed = compileAllowed(options.allowUnmapped)
  const mtpNames = new Set(mtp.mtpNames)
  const leftBehind = [
    ...leftOver(checkpoint, usedKeys, mtp, modules, allowed),
    ...(weights && !options.partial ? notExported(weights, (n) => tensors.has(n) || mtpNames.has(n), allowed, modules) : [])
  ]
  const stored = [...usedKeys].map((key) => checkpoint.tensors.get(key)!)
  const bytes = (list: Iterable<{ readonly dtype: DType; readonly shape: Shape }>) => {
    let sum = 0
    for (const t of list) sum += volume(t.shape) * bytesOf(t.dtype)
    return sum
  }
  return {
    tensors,
    chunks,
    sources: sourcesOf(chunks, weights, graftTensors),
    original: weights,
    configFields,
    cuts,
    constants: located.flatMap((l) => constantOf(l, chunks)),
    ...(description.zeroFilled ? { zeroFilled: description.zeroFilled } : {}),
    ...(ownHead ? { ownHead } : {}),
    report: {
      direction: "export",
      form,
      architecture: config.architecture,
      family: family.name,
      source: checkpoint.directory,
      components: modules.map((m) => {
        const keys = [...usedKeys].filter((key) => key.startsWith(m.keyPrefix))
        return { name: m.name, tensors: keys.length, bytes: bytes(keys.map((k) => checkpoint.tensors.get(k)!)) }
      }),
      sourceTensors: stored.length,
      sourceBytes: bytes(stored),
      targetTensors: tensors.size,
      targetBytes: bytes(tensors.values()),
      dtypeChanges: changes(tensors, weights),
      leftBehind,
      carried: [...carried, ...candidates.keys()],
      ...(cuts[0] ? { vocabulary: { from: cuts[0].stored, to: cuts[0].rows } } : {}),
      notes
    }
  }
}

const constantOf = ({ bound: { constant, module, parameter }, parts }: Located, chunks: StoredChunks): ReadonlyArray<Constant> => {
  if (constant === undefined) return []
  const { name, shape } = parameter
  const id = module.keyPrefix + name
  const copies = chunks.toHf({ shape, copies: [identity(id, name, shape)], parts }, id)
  const array = { id, dtype: parts[0]!.tensor.dtype, shape }
  return [{ stored: { ...array, copies }, filled: { ...array, copies: copies.map((copy) => ({ ...copy, transform: { kind: "fill" as const, value: constant } })) } }]
}

const sourcesOf = (chunks: StoredChunks, weights: LogicalTensors | undefined, graft: LogicalTensors | undefined): Sources => ({
  get: (id) =>
    id.startsWith(FROM_HF) ? weights?.sources.get(id.slice(FROM_HF.length))
    : id.startsWith(FROM_GRAFT) ? graft?.sources.get(id.slice(FROM_GRAFT.length))
    : chunks.get(id)
})

/** Tensors whose dtype differs from what is stored, or from what the original model has. */
const changes = (
  tensors: ReadonlyMap<string, ExportTensor>,
  weights: HfTensors | undefined
): ReadonlyArray<DtypeChange> => {
  const out: Array<DtypeChange> = []
  for (const { dtype, name, stored } of tensors.values()) {
    const original = weights?.tensors.get(name)?.dtype
    if (stored !== undefined && stored !== dtype) out.push({ tensor: name, from: stored, to: dtype })
    else if (original !== undefined && original !== dtype) out.push({ tensor: name, from: original, to: dtype })
  }
  return out
}

/** The array of one HF tensor, once the chunk headers are read. */
export const exportArray = (plan: ExportPlan, tensor: ExportTensor): TargetArray => ({
  id: tensor.name,
  dtype: tensor.dtype,
  shape: tensor.shape,
  copies: plan.chunks.settle(tensor.copies)
})
