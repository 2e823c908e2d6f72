/** Multi-head latent attention and experts in FP8, at the published widths with fewer layers, experts and tokens. */
import { type SampleSize, bySize } from "./Sample.ts"

interface Dimensions {
  readonly hidden: number
  readonly layers: number
  readonly heads: number
  readonly experts: number
  readonly expertWidth: number
  readonly dense: number
  readonly queryRank: number
  readonly keyValueRank: number
  readonly head: readonly [noPosition: number, rotary: number, value: number]
  readonly vocab: number
}

const DIMENSIONS: Readonly<Record<SampleSize, Dimensions>> = {
  tiny: { hidden: 160, layers: 3, heads: 4, experts: 4, expertWidth: 136, dense: 272, queryRank: 136, keyValueRank: 64, head: [16, 8, 16], vocab: 1000 },
  small: { hidden: 1024, layers: 4, heads: 8, experts: 16, expertWidth: 512, dense: 2048, queryRank: 512, keyValueRank: 256, head: [128, 64, 128], vocab: 16000 },
  "1GB": { hidden: 2048, layers: 6, heads: 16, experts: 32, expertWidth: 768, dense: 6144, queryRank: 1536, keyValueRank: 512, head: [128, 64, 128], vocab: 32000 },
  "10GB": { hidden: 7168, layers: 4, heads: 128, experts: 64, expertWidth: 2048, dense: 18432, queryRank: 1536, keyValueRank: 512, head: [128, 64, 128], vocab: 32000 }
}

const LINEAR = /\.(q_a_proj|q_b_proj|kv_a_proj_with_mqa|kv_b_proj|o_proj|gate_proj|up_proj|down_proj)\.weight$/

export const deepseekV3Fp8 = bySize((size) => {
  const d = DIMENSIONS[size]
  const [noPosition, rotary, value] = d.head
  return {
    architectures: ["DeepseekV3ForCausalLM"],
    attention_bias: false,
    attention_dropout: 0,
    bos_token_id: 0,
    eos_token_id: 1,
    ep_size: 1,
    first_k_dense_replace: 1,
    hidden_act: "silu",
    hidden_size: d.hidden,
    initializer_range: 0.02,
    intermediate_size: d.dense,
    kv_lora_rank: d.keyValueRank,
    max_position_embeddings: 163840,
    model_type: "deepseek_v3",
    moe_intermediate_size: d.expertWidth,
    moe_layer_freq: 1,
    n_group: 2,
    n_routed_experts: d.experts,
    n_shared_experts: 1,
    norm_topk_prob: true,
    num_attention_heads: d.heads,
    num_experts_per_tok: Math.min(8, d.experts / 2),
    num_hidden_layers: d.layers,
    num_key_value_heads: d.heads,
    num_nextn_predict_layers: 0,
    q_lora_rank: d.queryRank,
    qk_nope_head_dim: noPosition,
    qk_rope_head_dim: rotary,
    quantization_config: { activation_scheme: "dynamic", fmt: "e4m3", quant_method: "fp8", weight_block_size: [128, 128] },
    rms_norm_eps: 1e-6,
    rope_scaling: { beta_fast: 32, beta_slow: 1, factor: 40, mscale: 1, mscale_all_dim: 1, original_max_position_embeddings: 4096, type: "yarn" },
    rope_theta: 10000,
    routed_scaling_factor: 2.5,
    scoring_func: "sigmoid",
    tie_word_embeddings: false,
    topk_group: 1,
    topk_method: "noaux_tc",
    torch_dtype: "bfloat16",
    transformers_version: "4.33.1",
    use_cache: true,
    v_head_dim: value,
    vocab_size: d.vocab
  }
}, { fp32: /e_score_correction_bias$/, fp8: LINEAR })
