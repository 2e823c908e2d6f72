/**
 * The two spaces of an export related: the model that config.json and headers mean, and where a checkpoint stores its parameters.
 * Pure.
 */
import { bind, type Conversion, type ConversionModule } from "../bridge/Conversion.ts"
import type { Family, ModelDescription } from "../bridge/Family.ts"
import type { Checkpoint } from "../space/Checkpoint.ts"
import type { Form } from "../mimo/routing.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { type HfConfig, headersOf, noHeaders } from "../space/HfSource.ts"
import { openedWeights } from "../space/openedWeights.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"
import type { TensorSpace } from "../space/TensorSpace.ts"
import { modulesOf } from "./describe.ts"
import { describeModel } from "../space/describeModel.ts"
import type { OwnHead } from "./ExportDraft.ts"
import { explainingHf } from "./explain.ts"
import { boundWithoutMtp, mtpNamesOf, mtpRequired, NO_MTP_LAYERS } from "./mtp.ts"
import { type Located, locateParameters, type Missing } from "./located.ts"
import type { MtpMode } from "./Options.ts"

/** What an export is made from: a model's config.json, its weights if they are there, and a checkpoint. */
export interface ExportSources {
  readonly family: Family
  readonly config: HfConfig
  readonly weights: StoredWeights | undefined
  readonly checkpoint: Checkpoint
}

/** The model that is exported. */
export interface ExportedModel {
  readonly family: Family
  readonly config: HfConfig
  readonly checkpoint: Checkpoint
  readonly form: Form
  readonly description: ModelDescription
  /** Without module states, which an export has no use for: they are half of the entries. */
  readonly modules: ReadonlyArray<ConversionModule>
  /** All of it, multi-token prediction included. */
  readonly full: Conversion
  /** --hf-model, as if nothing were quantised. */
  readonly weights: HfWeights | undefined
  readonly ownHead: OwnHead | undefined
}

/** Whether the trained model has an output layer: it decides over the flags of config.json. */
export const hasOwnHead = ({ tensors }: TensorSpace): boolean => [...tensors.keys()].some((key) => /(^|\.)output_layer\.weight$/.test(key))

const ownHeadOf = ({ vocabulary }: ModelDescription, weights: HfWeights | undefined): OwnHead | undefined => {
  if (!vocabulary?.said?.tied || vocabulary.tied) return undefined
  const { embedding, flag = "tie_word_embeddings", head, said: { flags } } = vocabulary
  return {
    name: head,
    of: embedding,
    stored: weights?.tensors.has(head) === true && weights.tensors.has(embedding),
    fields: flags.length === 0 ? [{ path: flag, value: false, add: true }] : flags.filter((own) => own.tied).map(({ path }) => ({ path, value: false }))
  }
}

/** An HF directory as if nothing in it were quantised. */
export const logicalWeights = (weights: StoredWeights | undefined, config: HfConfig): HfWeights | undefined =>
  weights && explainingHf(weights, config, () => openedWeights(weights, config))

export const exportedModel = ({ checkpoint, config, family, weights: stored }: ExportSources): ExportedModel => {
  const weights = logicalWeights(stored, config)
  const description = describeModel(family, config, { ...(weights ? headersOf(weights) : noHeaders), ownHead: hasOwnHead(checkpoint) })
  // The components of a checkpoint of another model are told by their keys, as tensors that are missing or would be lost.
  const form: Form = description.components.length === 0 ? "standard" : checkpoint.form
  const modules = modulesOf(form, description).map((m): ConversionModule => ({ ...m, entries: m.entries.filter((e) => e.kind === "parameter") }))
  return { family, config, checkpoint, form, description, modules, full: bind(modules), weights, ownHead: ownHeadOf(description, weights) }
}

/** Multi-token prediction of the model, by its HF tensors. */
export interface Mtp {
  readonly names: ReadonlyArray<string>
  /** The checkpoint has it, or the model has none. */
  readonly stored: boolean
  /** It is left out of the conversion. */
  readonly dropped: boolean
}

export interface ExportRelation {
  readonly model: ExportedModel
  /** The part of the model that comes from the checkpoint. */
  readonly conversion: Conversion
  readonly located: ReadonlyArray<Located>
  /** What of it the checkpoint does not hold. */
  readonly missing: ReadonlyArray<Missing>
  readonly mtp: Mtp
}

/** Find the model's parameters. Multi-token prediction is left out if the checkpoint has none of it, or on demand; `grafted`: it comes from elsewhere. */
export const relateExport = (model: ExportedModel, mode: MtpMode, grafted: boolean): ExportRelation => {
  const { checkpoint, full, modules } = model
  const all = locateParameters(full.parameters, checkpoint)
  const names = mtpNamesOf(full)
  if (!full.parameters.some((b) => b.parameter.mtp)) {
    if (mode === "require") throw mtpRequired(NO_MTP_LAYERS)
    return { model, conversion: full, ...all, mtp: { names: [], stored: true, dropped: false } }
  }
  const stored = all.located.some((l) => l.bound.parameter.mtp)
  if (stored && mode !== "drop") return { model, conversion: full, ...all, mtp: { names, stored, dropped: false } }
  if (!stored && mode === "require" && !grafted) {
    throw mtpRequired("the checkpoint holds no multi-token-prediction tensors", { hint: "--mtp-from HF_DIR takes them from the original model." })
  }
  const { conversion } = boundWithoutMtp(modules)
  return { model, conversion, ...locateParameters(conversion.parameters, checkpoint), mtp: { names, stored, dropped: true } }
}
