/**
 * The fields by which a trainer describes a model (TransformerConfig and its provider's own), read: from the `model` section of
 * run_config.yaml, or from the arguments of a run. What is absent or null has the value that the trainer's class gives it.
 */
import type { Provider, PythonValue } from "../runconfig/Provider.ts"

/** A field as plain data: floats as numbers, functions and dtypes as their dotted names. */
export type FieldValue = null | boolean | number | string | ReadonlyArray<FieldValue>

type Fields = Provider["fields"]

/**
 * Fields that a forward pass depends on, with the value of the trainer's class for those that it has one for. All others (fusions,
 * precision, losses, layouts) change how a model is trained, not what it computes.
 */
const DEFAULTS: Readonly<Record<string, FieldValue>> = {
  num_layers: null, hidden_size: null, num_attention_heads: null, num_query_groups: null, kv_channels: null, ffn_hidden_size: null, vocab_size: null,
  normalization: "LayerNorm", layernorm_epsilon: 1e-5, layernorm_zero_centered_gamma: false, apply_residual_connection_post_layernorm: false,
  add_bias_linear: true, add_qkv_bias: false, qk_layernorm: false, qk_l2_norm: false, gated_linear_unit: false, activation_func: "torch.nn.functional.gelu",
  glu_linear_offset: 0, activation_func_clamp_value: null, attention_output_gate: false, softmax_type: "vanilla", share_embeddings_and_output_weights: true,
  position_embedding_type: "learned_absolute", rotary_base: 10000, rotary_percent: 1, rotary_interleaved: false, rope_scaling: false, rope_scaling_factor: 8,
  seq_len_interpolation_factor: null, mrope_section: null, no_rope_freq: null, window_size: null, window_attn_skip_freq: null,
  experimental_attention_variant: null, use_mup: false, hybrid_layer_pattern: null, mtp_num_layers: null, mtp_use_repeated_layer: false,
  num_moe_experts: null, moe_layer_freq: 1, moe_ffn_hidden_size: null, moe_router_topk: 2, moe_router_score_function: "softmax", moe_router_pre_softmax: false,
  moe_router_topk_scaling_factor: 1, moe_router_enable_expert_bias: false, moe_router_num_groups: 1, moe_router_group_topk: 1,
  moe_shared_expert_intermediate_size: null, moe_shared_expert_gate: false, moe_latent_size: null,
  multi_latent_attention: false, q_lora_rank: null, kv_lora_rank: null, qk_head_dim: null, qk_pos_emb_head_dim: null, v_head_dim: null,
  rotary_scaling_factor: 1, mscale: 1, mscale_all_dim: 0,
  yarn_rotary_scaling_factor: null, yarn_original_max_position_embeddings: null, yarn_beta_fast: 32, yarn_beta_slow: 1, yarn_mscale: 1, yarn_mscale_all_dim: 0,
  yarn_correction_range_round_to_int: true
}

/** A model by the fields of a trainer. */
export class ModelFields {
  readonly #fields: Fields

  /** `fields`: as a family gives them, or as they are read from run_config.yaml. */
  constructor(fields: Fields) {
    this.#fields = fields
  }

  /** The value, or that of the trainer's class. */
  value(name: string): FieldValue {
    const own = plain(this.#fields[name])
    return own === null ? DEFAULTS[name] ?? null : own
  }

  /** Undefined where there is no number. */
  number(name: string): number | undefined {
    const value = this.value(name)
    return typeof value === "number" ? value : undefined
  }

  is(name: string): boolean {
    return this.value(name) === true
  }

  text(name: string): string | undefined {
    const value = this.value(name)
    return typeof value === "string" ? value : undefined
  }

  /** Of a field that is one number per layer: also where it is one for all (every f-th layer from the first). Undefined where it is neither. */
  perLayer(name: string): ReadonlyArray<number> | undefined {
    const value = this.value(name)
    const layers = Math.min(this.number("num_layers") ?? 0, MOST_LAYERS)
    if (typeof value === "number") return Array.from({ length: layers }, (_, i) => (i % value === 0 ? 1 : 0))
    return Array.isArray(value) && value.every((item) => typeof item === "number") ? value : undefined
  }

  /** The fields that a forward pass depends on, which another model with the same forward pass has the same. */
  decisive(): ReadonlyMap<string, FieldValue> {
    const skipped = new Set(APART.flatMap(({ fields, without }) => (without(this) ? fields : [])))
    return new Map(Object.keys(DEFAULTS).filter((name) => !skipped.has(name)).map((name) => [name, name === "moe_layer_freq" ? this.perLayer(name) ?? null : this.value(name)]))
  }
}

/** No model has more; a number from a file may be any. */
const MOST_LAYERS = 100_000

/** Fields that mean nothing in some models. */
const APART: ReadonlyArray<{ readonly without: (m: ModelFields) => boolean; readonly fields: ReadonlyArray<string> }> = [
  { without: (m) => !m.number("num_moe_experts"), fields: Object.keys(DEFAULTS).filter((name) => name.startsWith("moe_")) },
  // A width of dense layers that no layer has.
  { without: (m) => (m.number("num_moe_experts") ?? 0) > 0 && m.perLayer("moe_layer_freq")?.every((moe) => moe === 1) === true, fields: ["ffn_hidden_size"] },
  { without: (m) => m.text("moe_router_score_function") !== "softmax", fields: ["moe_router_pre_softmax"] },
  { without: (m) => !m.is("multi_latent_attention"), fields: ["q_lora_rank", "kv_lora_rank", "qk_head_dim", "qk_pos_emb_head_dim", "v_head_dim", "rotary_scaling_factor", "mscale", "mscale_all_dim"] },
  { without: (m) => m.is("multi_latent_attention"), fields: ["kv_channels", "num_query_groups", "position_embedding_type"] },
  { without: (m) => (m.number("rotary_scaling_factor") ?? 1) === 1, fields: ["mscale", "mscale_all_dim"] },
  { without: (m) => m.text("position_embedding_type") !== "yarn", fields: Object.keys(DEFAULTS).filter((name) => name.startsWith("yarn_")) },
  { without: (m) => !m.is("rope_scaling"), fields: ["rope_scaling_factor"] },
  { without: (m) => !m.number("mtp_num_layers"), fields: ["mtp_num_layers", "mtp_use_repeated_layer"] }
]

/** Null for an object, which no field of {@link DEFAULTS} is. */
const plain = (value: PythonValue | undefined): FieldValue => {
  if (value === undefined || value === null || typeof value !== "object") return value ?? null
  if (Array.isArray(value)) return (value as ReadonlyArray<PythonValue>).map(plain)
  if ("$float" in value) return value.$float as number
  const target = "$name" in value ? value["$name"] : (value as { readonly [field: string]: PythonValue })["_target_"]
  return typeof target === "string" ? target : null
}
