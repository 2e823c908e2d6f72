/**
 * The keys of a Megatron checkpoint taken apart: what an entry is for, and which model tensor it belongs to
 * (torch-dist-format.md D.5, F.1).
 */

/**
 * `model`: loaded into the model; `carried`: bytes of HF tensors that travel beside it; `optimizer`, `rng`: state of a training run;
 * `run`: its schedule, arguments and whatever else is of the run.
 */
export type KeyRole = "model" | "carried" | "optimizer" | "rng" | "run"

/** A key of the model (or of a module's state), and what stands in front of it: nothing, or the prefix of an optimizer state. */
export interface ModelKey {
  readonly space: string
  readonly key: string
}

/**
 * Entries that hold the bytes of an HF tensor that Megatron has no place for, or whose stored form cannot give them back.
 * No loader asks for them; an export does.
 */
export const HF_SOURCE = "hf_source."

/** In a MIMO run each component has an optimizer of its own, below this. */
const COMPONENT = String.raw`(?:mimo\.([^.]+)\.)?`
/** One of several optimizers, where an older core saved them. */
const CHAINED = String.raw`(?:chained_\d+\.)?`
/** One tensor per model tensor, under its key; anything else of an optimizer (buckets, groups) belongs to no single one. */
const OPTIMIZER_STATE = new RegExp(String.raw`^(${COMPONENT}${CHAINED}optimizer\.state\.[^.]+\.)(.+)$`)
const OPTIMIZER = new RegExp(`^${COMPONENT}${CHAINED}optimizer[./]`)
const RNG = /^rng_state[./]/
const RUN = /^(?:opt_param_scheduler|rerun_state_machine_state|args|common_state|chained_\d+)(?:[./]|$)/

export const roleOf = (key: string): KeyRole => {
  if (key.startsWith(HF_SOURCE)) return "carried"
  if (OPTIMIZER.test(key) || key === "optimizer") return "optimizer"
  if (RNG.test(key) || key === "rng_state") return "rng"
  return RUN.test(key) ? "run" : "model"
}

/** State of a training run, which no loader of weights asks for. */
export const isTrainingRole = (role: KeyRole): boolean => role !== "model" && role !== "carried"

export const isTraining = (key: string): boolean => isTrainingRole(roleOf(key))

/** The model's tensor (or module state) that an entry belongs to; undefined for what belongs to none. */
export const modelKeyOf = (key: string): ModelKey | undefined => {
  const role = roleOf(key)
  if (role === "model") return { space: "", key }
  const state = role === "optimizer" ? OPTIMIZER_STATE.exec(key) : null
  return state ? { space: state[1]!, key: state[3]! } : undefined
}

const COMPONENT_PREFIX = /^mimo\.[^.]+\./

/** The prefix of an optimizer state as the optimizer of a MIMO component writes it, or (undefined) that of a standard model. */
export const spaceOf = (space: string, component: string | undefined): string => {
  if (space === "") return space
  const plain = space.replace(COMPONENT_PREFIX, "")
  return component === undefined ? plain : `mimo.${component}.${plain}`
}

/** Of a MIMO model, by its stored key: the modality it belongs to. */
export const modalityOf = (key: string): string | undefined => /^modality_submodules\.([^.]+)\./.exec(key)?.[1]

/**
 * The module of a MIMO model that holds a parameter and that a trainer's script can load by itself: the language model, an encoder, a
 * projection. Undefined for a parameter of a standard model.
 */
export const submoduleOf = (key: string): string | undefined => /^(?:language_model|modality_submodules\.[^.]+\.[^.]+\.[^.]+)(?=\.)/.exec(key)?.[0]

/** What a model of Megatron has in front of its keys, so that `model.` before it is a wrapper's. */
const ROOTS = "embedding|decoder|encoder|output_layer|mtp|language_model|vision_model|modality_submodules"
const WRAPPER = new RegExp(String.raw`^(?:model\.(?=(?:module\.)*(?:${ROOTS})\.))?(?:module\.)*`)

/** DDP and Float16Module wrappers put `module.` in front of the model or behind each MIMO component; verl saves the model under `model.`. */
export const unwrapKey = (key: string): string =>
  key.replace(WRAPPER, "").replace(/^((?:language_model|modality_submodules\.[^.]+)\.)(?:module\.)+/, "$1")

/** The same key as the trainer of a MIMO model saves it; undefined for a key of no component. */
export const wrapKey = (key: string): string | undefined =>
  /^(?:language_model|modality_submodules\.[^.]+)\./.test(key) ? key.replace(/^(language_model|modality_submodules\.[^.]+)\./, "$1.module.") : undefined
