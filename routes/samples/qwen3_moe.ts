/**
 * Mixtures of experts at the dimensions of the 30B-A3B models: the language model with a tensor per expert, the vision-language
 * model with all experts of a layer in one tensor, transposed.
 */
import { type SampleSize, bySize } from "./Sample.ts"

interface Dimensions {
  readonly hidden: number
  readonly layers: number
  readonly heads: number
  readonly groups: number
  readonly headDim: number
  readonly experts: number
  readonly expertWidth: number
  readonly vocab: number
  readonly vision: readonly [depth: number, hidden: number, heads: number, intermediate: number]
  readonly mrope: readonly [number, number, number]
}

const DIMENSIONS: Readonly<Record<SampleSize, Dimensions>> = {
  tiny: { hidden: 64, layers: 3, heads: 4, groups: 2, headDim: 32, experts: 8, expertWidth: 40, vocab: 1000, vision: [4, 48, 4, 88], mrope: [6, 5, 5] },
  small: { hidden: 512, layers: 8, heads: 8, groups: 2, headDim: 64, experts: 16, expertWidth: 256, vocab: 32000, vision: [4, 384, 6, 1536], mrope: [12, 10, 10] },
  "1GB": { hidden: 2048, layers: 4, heads: 32, groups: 4, headDim: 128, experts: 20, expertWidth: 768, vocab: 32000, vision: [4, 1152, 16, 4304], mrope: [24, 20, 20] },
  "10GB": { hidden: 2048, layers: 7, heads: 32, groups: 4, headDim: 128, experts: 128, expertWidth: 768, vocab: 151936, vision: [27, 1152, 16, 4304], mrope: [24, 20, 20] }
}

const text = (d: Dimensions) => ({
  attention_bias: false,
  attention_dropout: 0,
  decoder_sparse_step: 1,
  head_dim: d.headDim,
  hidden_act: "silu",
  hidden_size: d.hidden,
  initializer_range: 0.02,
  intermediate_size: 3 * d.hidden,
  max_position_embeddings: 262144,
  mlp_only_layers: [],
  moe_intermediate_size: d.expertWidth,
  norm_topk_prob: true,
  num_attention_heads: d.heads,
  num_experts: d.experts,
  num_experts_per_tok: Math.min(8, d.experts / 2),
  num_hidden_layers: d.layers,
  num_key_value_heads: d.groups,
  rms_norm_eps: 1e-6,
  router_aux_loss_coef: 0.001,
  tie_word_embeddings: false,
  use_cache: true,
  vocab_size: d.vocab
})

export const qwen3MoeSample = bySize((size) => ({
  architectures: ["Qwen3MoeForCausalLM"],
  model_type: "qwen3_moe",
  ...text(DIMENSIONS[size]),
  rope_parameters: { rope_theta: 1000000, rope_type: "default" },
  dtype: "bfloat16",
  transformers_version: "5.18.0"
}))

export const qwen3VlMoeSample = bySize((size) => {
  const d = DIMENSIONS[size]
  const [depth, hidden, heads, intermediate] = d.vision
  return {
    architectures: ["Qwen3VLMoeForConditionalGeneration"],
    dtype: "bfloat16",
    image_token_id: d.vocab - 1,
    model_type: "qwen3_vl_moe",
    text_config: {
      ...text(d),
      dtype: "bfloat16",
      model_type: "qwen3_vl_moe_text",
      rope_parameters: { mrope_interleaved: true, mrope_section: d.mrope, rope_theta: 5000000, rope_type: "default" }
    },
    tie_word_embeddings: false,
    transformers_version: "5.18.0",
    video_token_id: d.vocab - 2,
    vision_config: {
      deepstack_visual_indexes: [0, 1, 2],
      depth,
      hidden_act: "gelu_pytorch_tanh",
      hidden_size: hidden,
      in_channels: 3,
      initializer_range: 0.02,
      intermediate_size: intermediate,
      model_type: "qwen3_vl_moe_vision",
      num_heads: heads,
      num_position_embeddings: 2304,
      out_hidden_size: d.hidden,
      patch_size: 16,
      spatial_merge_size: 2,
      temporal_patch_size: 2
    },
    vision_end_token_id: d.vocab - 4,
    vision_start_token_id: d.vocab - 3
  }
})
