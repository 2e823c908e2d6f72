/**
 * The plan of an export: from an opened checkpoint and an HF directory (its config, and its shard layout if it has weights) to
 * HF tensors and what they are made of. A stored tensor without a place, or a place without a stored tensor, is refused; a comparison
 * goes on with what there is. Pure.
 */
import { checkCoverage } from "../bridge/Conversion.ts"
import type { ConfigField } from "../bridge/Family.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"
import type { TensorSpace } from "../space/TensorSpace.ts"
import { bytesOfTensors, carriedGroups, type LeftBehind } from "./accounting.ts"
import { notExported, requireOriginal } from "./againstOriginal.ts"
import { type ExportDraft, type ExportTensor, storedDtype } from "./ExportDraft.ts"
import { type ExportRelation, type ExportSources, exportedModel, logicalWeights, relateExport } from "./exportRelation.ts"
import { carriedTensors, chosenChunks, constantsOf, modelTensors, mtpTensors, usedKeys } from "./exportTensors.ts"
import { explainingHf, explainingMegatron, remarksOn } from "./explain.ts"
import { leftOver, refuseMissing, refuseStoredIntegers } from "./located.ts"
import { carriedWhy, compileAllowed } from "./match.ts"
import type { MtpMode, TorchDtype } from "./Options.ts"
import { repeatsOf } from "./repeats.ts"
import type { DtypeChange } from "./Report.ts"
import { componentSummaries } from "./summary.ts"
import { cutNote, cutsOf, requireRows } from "./vocabulary.ts"

export interface ExportPlanOptions {
  readonly torchDtype: TorchDtype
  readonly mtp: MtpMode
  /** Weights from which MTP tensors are taken if the checkpoint has none. */
  readonly mtpFrom?: StoredWeights
  readonly allowUnmapped: ReadonlyArray<string>
  /** Rows of the vocabulary, decided by the user; config.json has been changed to say so. */
  readonly vocabSize?: number
  /** Fields of config.json (already set) by which the model has tensors that --hf-model does not. */
  readonly grown?: ReadonlyArray<ConfigField>
}

/** Errors: what the checkpoint, or the model beside it, is, if it is no plain one; else PlanRefused, InvalidFile or Unsupported. */
export const planExport = (sources: ExportSources, options: ExportPlanOptions): ExportDraft => explainingMegatron(sources.checkpoint, () => {
  const model = exportedModel(sources)
  const { checkpoint, config, description, full, modules, ownHead, weights } = model
  const graft = logicalWeights(options.mtpFrom, config)
  if (weights) {
    const added = (name: string): boolean => name === ownHead?.name || options.grown !== undefined
    const beside = { added, ...(options.vocabSize === undefined ? {} : { vocabSize: options.vocabSize }) }
    explainingHf(weights.stored, config, () => requireOriginal(weights, full, description.carried, beside))
  }
  const relation = relateExport(model, options.mtp, graft !== undefined)
  const { conversion, located, missing, mtp } = relation
  if (missing.length > 0) refuseMissing(missing, located, checkpoint)
  checkCoverage(conversion)
  if (options.vocabSize !== undefined) requireRows(conversion, options.vocabSize)
  const allowed = compileAllowed(options.allowUnmapped)
  return drafted(relation, options, {
    check: () => refuseStoredIntegers(located, weights, checkpoint),
    graft,
    leftBehind: (tensors) => {
      const mtpNames = new Set(mtp.names)
      return [
        ...leftOver(checkpoint, usedKeys(relation), mtp, modules, allowed),
        ...(weights ? notExported(weights, (name) => tensors.has(name) || mtpNames.has(name), allowed, modules) : [])
      ]
    }
  })
})

/**
 * What an export would be of what the checkpoint has: HF tensors whose parameters are not all stored are left out, stored tensors
 * without a place are left behind. Errors as those of {@link planExport}, if the two have nothing to do with each other.
 */
export const planComparison = (sources: ExportSources): ExportDraft => explainingMegatron(sources.checkpoint, () => {
  const model = exportedModel(sources)
  const relation = relateExport(model, "keep", false)
  checkCoverage(relation.conversion)
  return drafted(relation, { torchDtype: "source" }, {
    check: () => {},
    graft: undefined,
    notes: relation.missing.length > 0 ? remarksOn(model.checkpoint) : [],
    leftBehind: () => leftOver(model.checkpoint, usedKeys(relation), relation.mtp, model.modules, () => true)
  })
})

interface DraftSteps {
  /** Called when every tensor is known to have a dtype and all of its elements. */
  readonly check: () => void
  readonly graft: ReturnType<typeof logicalWeights>
  readonly notes?: ReadonlyArray<string>
  readonly leftBehind: (tensors: ReadonlyMap<string, ExportTensor>) => ReadonlyArray<LeftBehind>
}

const drafted = (
  relation: ExportRelation,
  { grown = [], torchDtype, vocabSize }: Pick<ExportPlanOptions, "torchDtype" | "vocabSize" | "grown">,
  { check, graft, leftBehind, notes = [] }: DraftSteps
): ExportDraft => {
  const { located, model: { checkpoint, config, description, family, form, modules, ownHead, weights } } = relation
  const cuts = cutsOf(located, description.provider.fields["vocab_size"])
  const chunks = chosenChunks(relation)
  const own = modelTensors(relation, torchDtype, chunks)
  check()
  const beside = carriedTensors(relation, own.tensors, chunks)
  const mtp = mtpTensors(relation, graft)
  const tensors = new Map(own.tensors)
  for (const tensor of [...beside.tensors, ...mtp.tensors]) tensors.set(tensor.name, tensor)
  const left = leftBehind(tensors)
  const carried = [...beside.carried, ...own.unrounded]
  const used = new Map(Array.from(usedKeys(relation), (key) => [key, checkpoint.tensors.get(key)!]))
  return {
    tensors,
    chunks,
    original: weights,
    configFields: [...grown, ...mtp.configFields],
    cuts,
    constants: constantsOf(located),
    repeats: repeatsOf(located),
    absentConstants: relation.missing.flatMap(({ bound: { constant, parameter }, key }) => (constant === undefined ? [] : [{ id: key, shape: parameter.shape }])),
    ...(description.zeroFilled ? { zeroFilled: description.zeroFilled } : {}),
    ...(ownHead ? { ownHead } : {}),
    report: {
      direction: "export",
      form,
      architecture: config.architecture,
      family: family.name,
      source: checkpoint.directory,
      components: componentSummaries(modules, used),
      sourceTensors: used.size,
      sourceBytes: bytesOfTensors(used.values()),
      targetTensors: tensors.size,
      targetBytes: bytesOfTensors(tensors.values()),
      dtypeChanges: changes(tensors, weights),
      leftBehind: left,
      carried,
      carriedBecause: carriedGroups(carried, carriedWhy(description.carried, weights)),
      ...(cuts[0] ? { vocabulary: { from: cuts[0].stored, to: cuts[0].rows } } : {}),
      notes: [...checkpoint.notes, ...notes, ...(cuts[0] ? [cutNote(cuts[0], vocabSize)] : []), ...beside.notes, ...mtp.notes]
    }
  }
}

/** Tensors whose dtype differs from what is stored, or from what the original model has. */
const changes = (tensors: ReadonlyMap<string, ExportTensor>, weights: TensorSpace | undefined): ReadonlyArray<DtypeChange> => {
  const out: Array<DtypeChange> = []
  for (const tensor of tensors.values()) {
    const { dtype, name } = tensor
    const stored = storedDtype(tensor)
    const original = weights?.tensors.get(name)?.dtype
    if (stored !== undefined && stored !== dtype) out.push({ tensor: name, from: stored, to: dtype })
    else if (original !== undefined && original !== dtype) out.push({ tensor: name, from: original, to: dtype })
  }
  return out
}
