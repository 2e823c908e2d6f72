/** Dimensions of published models, as their config.json gives them, for counts that are known from elsewhere. */
import { families } from "../../routes/index.ts"
import type { ModelDescription } from "../../src/bridge/Family.ts"
import { noHeaders } from "../../src/space/HfSource.ts"

type Config = Readonly<Record<string, unknown>>

const hybridText = (layers: number, fields: Config): Config => ({
  attn_output_gate: true,
  dtype: "bfloat16",
  head_dim: 256,
  layer_types: Array.from({ length: layers }, (_, i) => ((i + 1) % 4 === 0 ? "full_attention" : "linear_attention")),
  linear_conv_kernel_dim: 4,
  linear_key_head_dim: 128,
  linear_num_key_heads: 16,
  linear_value_head_dim: 128,
  mtp_num_hidden_layers: 1,
  num_hidden_layers: layers,
  rms_norm_eps: 1e-6,
  rope_parameters: { mrope_interleaved: true, mrope_section: [11, 11, 10], partial_rotary_factor: 0.25, rope_theta: 10000000, rope_type: "default" },
  vocab_size: 248320,
  ...fields
})

const vision = (out: number): Config => ({
  depth: 27, hidden_size: 1152, intermediate_size: 4304, num_heads: 16, num_position_embeddings: 2304, in_channels: 3, patch_size: 16, spatial_merge_size: 2,
  temporal_patch_size: 2, deepstack_visual_indexes: [], out_hidden_size: out
})

const tokens = { image_token_id: 248056, video_token_id: 248057, vision_start_token_id: 248053, vision_end_token_id: 248054, tie_word_embeddings: false }

export const PUBLISHED = {
  "Qwen3.5-27B": {
    architectures: ["Qwen3_5ForConditionalGeneration"],
    model_type: "qwen3_5",
    text_config: hybridText(64, { hidden_size: 5120, intermediate_size: 17408, num_attention_heads: 24, num_key_value_heads: 4, linear_num_value_heads: 48 }),
    vision_config: vision(5120),
    ...tokens
  },
  "Qwen3.5-35B-A3B": {
    architectures: ["Qwen3_5MoeForConditionalGeneration"],
    model_type: "qwen3_5_moe",
    text_config: hybridText(40, {
      hidden_size: 2048, num_attention_heads: 16, num_key_value_heads: 2, linear_num_value_heads: 32, moe_intermediate_size: 512, num_experts: 256,
      num_experts_per_tok: 8, shared_expert_intermediate_size: 512
    }),
    vision_config: vision(2048),
    ...tokens
  },
  "Qwen3.5-397B-A17B": {
    architectures: ["Qwen3_5MoeForConditionalGeneration"],
    model_type: "qwen3_5_moe",
    text_config: hybridText(60, {
      hidden_size: 4096, num_attention_heads: 32, num_key_value_heads: 2, linear_num_value_heads: 64, moe_intermediate_size: 1024, num_experts: 512,
      num_experts_per_tok: 10, shared_expert_intermediate_size: 1024
    }),
    vision_config: vision(4096),
    ...tokens
  },
  "Llama-3-8B": {
    architectures: ["LlamaForCausalLM"], model_type: "llama", hidden_size: 4096, intermediate_size: 14336, num_attention_heads: 32, num_key_value_heads: 8,
    num_hidden_layers: 32, vocab_size: 128256, rms_norm_eps: 1e-5, rope_theta: 500000, tie_word_embeddings: false, dtype: "bfloat16"
  },
  "Qwen3-30B-A3B": {
    architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", hidden_size: 2048, num_attention_heads: 32, num_key_value_heads: 4, head_dim: 128,
    vocab_size: 151936, rms_norm_eps: 1e-6, num_hidden_layers: 48, intermediate_size: 6144, moe_intermediate_size: 768, num_experts: 128,
    num_experts_per_tok: 8, tie_word_embeddings: false, dtype: "bfloat16"
  },
  "DeepSeek-V3": {
    architectures: ["DeepseekV3ForCausalLM"], model_type: "deepseek_v3", hidden_size: 7168, intermediate_size: 18432, moe_intermediate_size: 2048, num_hidden_layers: 61,
    first_k_dense_replace: 3, moe_layer_freq: 1, n_routed_experts: 256, n_shared_experts: 1, num_experts_per_tok: 8, num_attention_heads: 128, num_key_value_heads: 128,
    q_lora_rank: 1536, kv_lora_rank: 512, qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128, n_group: 8, topk_group: 4, topk_method: "noaux_tc",
    routed_scaling_factor: 2.5, norm_topk_prob: true, scoring_func: "sigmoid", num_nextn_predict_layers: 1, vocab_size: 129280, rms_norm_eps: 1e-6,
    rope_theta: 10000, rope_scaling: { type: "yarn", factor: 40, beta_fast: 32, beta_slow: 1, mscale: 1, mscale_all_dim: 1, original_max_position_embeddings: 4096 },
    max_position_embeddings: 163840, tie_word_embeddings: false, dtype: "bfloat16"
  }
} as const satisfies Readonly<Record<string, Config>>

export const published = (name: keyof typeof PUBLISHED): ModelDescription => {
  const family = families.find(PUBLISHED[name])
  return family.describe(family.schema.parse(PUBLISHED[name]), noHeaders)
}
