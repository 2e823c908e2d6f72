/**
 * config.json of a text model, from the fields by which a trainer describes it: the inverse of `llama.ts` and `ropeScaling.ts`. A
 * family adds what its config class calls otherwise. Whether the result means the same model is proved by describing it.
 */
import type { ImpliedConfig } from "../../src/bridge/Family.ts"
import type { ModelFields } from "../../src/bridge/ModelFields.ts"
import { activationName } from "./activations.ts"

const orNull = (value: number | undefined): number | null => value ?? null

/** What a trainer's rope scaling means: its frequencies are those of the models that brought it, whatever the run's length. */
const LLAMA3 = { rope_type: "llama3", low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 }

const ropeScaling = (m: ModelFields): ImpliedConfig => {
  if (m.text("position_embedding_type") === "yarn") {
    return {
      rope_scaling: {
        rope_type: "yarn",
        factor: m.number("yarn_rotary_scaling_factor") ?? 1,
        original_max_position_embeddings: orNull(m.number("yarn_original_max_position_embeddings")),
        beta_fast: m.number("yarn_beta_fast")!,
        beta_slow: m.number("yarn_beta_slow")!,
        mscale: m.number("yarn_mscale")!,
        mscale_all_dim: m.number("yarn_mscale_all_dim")!,
        truncate: m.is("yarn_correction_range_round_to_int")
      }
    }
  }
  return m.is("rope_scaling") ? { rope_scaling: { ...LLAMA3, factor: m.number("rope_scaling_factor")! } } : {}
}

/** Sizes, activation, norm, positions, tied embeddings of any text model with grouped-query attention. */
export const textConfig = (m: ModelFields): ImpliedConfig => ({
  vocab_size: orNull(m.number("vocab_size")),
  hidden_size: orNull(m.number("hidden_size")),
  intermediate_size: orNull(m.number("ffn_hidden_size")),
  num_hidden_layers: orNull(m.number("num_layers")),
  num_attention_heads: orNull(m.number("num_attention_heads")),
  num_key_value_heads: orNull(m.number("num_query_groups") ?? m.number("num_attention_heads")),
  head_dim: orNull(m.number("kv_channels")),
  hidden_act: activationName(m.text("activation_func") ?? "") ?? null,
  max_position_embeddings: orNull(m.number("seq_length")),
  initializer_range: m.number("init_method_std") ?? 0.02,
  rms_norm_eps: m.number("layernorm_epsilon")!,
  rope_theta: m.number("rotary_base")!,
  ...(m.number("rotary_percent") === 1 ? {} : { partial_rotary_factor: m.number("rotary_percent")! }),
  ...ropeScaling(m),
  attention_dropout: m.number("attention_dropout") ?? 0,
  tie_word_embeddings: m.is("share_embeddings_and_output_weights"),
  use_cache: true
})

/** Which layers are dense: by their numbers. */
export const denseLayers = (m: ModelFields): ReadonlyArray<number> => (m.perLayer("moe_layer_freq") ?? []).flatMap((moe, layer) => (moe === 1 ? [] : [layer]))

/** Dense layers in front of all others; undefined where there are some elsewhere. */
const denseInFront = (m: ModelFields): number | undefined => {
  const dense = denseLayers(m)
  return dense.every((layer, i) => layer === i) ? dense.length : undefined
}

/** Rotary embeddings of latent attention, which always stretches: by the factor 1 where it does not. */
const latentScaling = (m: ModelFields): ImpliedConfig => {
  const factor = m.number("rotary_scaling_factor")!
  if (factor === 1) return { rope_scaling: null }
  return {
    rope_scaling: {
      type: "yarn",
      factor,
      original_max_position_embeddings: m.number("original_max_position_embeddings") ?? 4096,
      beta_fast: m.number("beta_fast") ?? 32,
      beta_slow: m.number("beta_slow") ?? 1,
      mscale: m.number("mscale")!,
      mscale_all_dim: m.number("mscale_all_dim")!
    }
  }
}

/** Sizes of latent attention and of experts behind dense layers, in the names of the models that brought both. */
export const latentMoeConfig = (m: ModelFields): ImpliedConfig => {
  const { head_dim: _, ...text } = textConfig(m)
  const [width, shared] = [m.number("moe_ffn_hidden_size") ?? 1, m.number("moe_shared_expert_intermediate_size") ?? 0]
  const dense = denseInFront(m)
  return {
    ...text,
    ...latentScaling(m),
    num_key_value_heads: orNull(m.number("num_attention_heads")),
    q_lora_rank: orNull(m.number("q_lora_rank")),
    kv_lora_rank: orNull(m.number("kv_lora_rank")),
    qk_nope_head_dim: orNull(m.number("qk_head_dim")),
    qk_rope_head_dim: orNull(m.number("qk_pos_emb_head_dim")),
    v_head_dim: orNull(m.number("v_head_dim")),
    n_routed_experts: orNull(m.number("num_moe_experts")),
    num_experts_per_tok: m.number("moe_router_topk")!,
    moe_intermediate_size: width,
    n_shared_experts: shared / width,
    first_k_dense_replace: dense ?? 0,
    ...(dense === undefined ? { mlp_layer_types: m.perLayer("moe_layer_freq")!.map((moe) => (moe === 1 ? "sparse" : "dense")) } : {}),
    n_group: m.number("moe_router_num_groups")!,
    topk_group: m.number("moe_router_group_topk")!,
    routed_scaling_factor: m.number("moe_router_topk_scaling_factor")!,
    scoring_func: m.text("moe_router_score_function")!,
    norm_topk_prob: true,
    num_nextn_predict_layers: m.number("mtp_num_layers") ?? 0
  }
}
