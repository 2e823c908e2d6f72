/**
 * Missing `_extra_state` objects. Loaders at default strictness ask for one per Transformer-Engine module and stop where it is
 * absent; an empty one means that FP8 is off. Superfluous ones are never asked for (torch-dist-format.md D.4).
 */
import type { Draft } from "../Draft.ts"
import { modelKeyOf } from "../Draft.ts"
import { refuse, type Rule } from "./Rule.ts"

/** Modules that have one, by their own name (the conformance corpus shows each of them). */
const MODULES: ReadonlySet<string> = new Set([
  "linear_qkv", "linear_proj", "linear_fc1", "linear_fc2", "in_proj", "out_proj", "out_norm", "q_layernorm", "k_layernorm", "kv_layernorm",
  "input_layernorm", "pre_mlp_layernorm", "final_layernorm", "final_norm", "linear_q_down_proj", "linear_q_up_proj", "linear_q_proj",
  "linear_kv_down_proj", "linear_kv_up_proj", "linear_wq_b", "linear_wk", "linear_weights_proj", "enorm", "hnorm", "eh_proj", "patch_norm",
  "post_layernorm", "fc1_latent_proj", "fc2_latent_proj"
])
/** Parts of a model that Megatron builds of its own modules; foreign towers have none. */
const MEGATRON = /(^|\.)(decoder\.|mtp\.|merger\.|deepstack_merger_list\.)/

/** Every module state of a checkpoint whose tensors have these keys, with the layer and expert axes in front of the weight's. */
export const expectedStates = (draft: Draft): ReadonlyArray<string> => {
  const out = new Set<string>()
  for (const [full, tensor] of draft.tensors) {
    const own = modelKeyOf(full)
    if (!own || own.space !== "" || !MEGATRON.test(own.key)) continue
    const module = moduleOf(own.key)
    if (module === undefined) continue
    const axes = leadingAxes(own.key)
    const counts = tensor.shape.slice(0, axes)
    for (const index of indices(counts)) {
      out.add(`${module}._extra_state/shard_${axes === 0 ? "0_1" : `${index.join(".")}_${counts.join(".")}`}`)
    }
  }
  return [...out]
}

/** `a.linear_fc1.weight_w` → `a.linear_fc1`; `a.in_proj.weight.query` → `a.in_proj`. */
const moduleOf = (key: string): string | undefined => {
  const segments = key.split(".")
  const at = segments.findLastIndex((s) => /^(weight(_[wv])?|layer_norm_weight)$/.test(s))
  return at > 0 && MODULES.has(segments[at - 1]!) ? segments.slice(0, at).join(".") : undefined
}

const leadingAxes = (key: string): number =>
  (/\b(layers|deepstack_merger_list)\.(?!\d)/.test(key) ? 1 : 0) + (/\.experts\.experts\.(?!\d)/.test(key) ? 1 : 0)

/** Layers × experts of one tensor; more is no model. */
const MOST_STATES = 1_000_000

function* indices(counts: ReadonlyArray<number>): Generator<ReadonlyArray<number>> {
  if (counts.reduce((a, b) => a * b, 1) > MOST_STATES) refuse("extra-states", "a tensor has too many layers and experts")
  if (counts.length === 0) {
    yield []
    return
  }
  for (let i = 0; i < counts[0]!; i++) for (const rest of indices(counts.slice(1))) yield [i, ...rest]
}

export const missingStates = (draft: Draft): ReadonlyArray<string> => expectedStates(draft).filter((key) => !draft.objects.has(key))

export const toExtraStates: Rule = (draft) => {
  const missing = missingStates(draft)
  if (missing.length === 0) return refuse("extra-states", "none is missing")
  const objects = new Map(draft.objects)
  for (const key of missing) objects.set(key, "empty")
  return { ...draft, objects }
}
