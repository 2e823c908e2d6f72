/** Dense and MoE vision-language models of alternating linear and full attention, at the dimensions of the 0.8B, 4B and 35B-A3B models. */
import { type SampleSize, bySize } from "./Sample.ts"

interface Dimensions {
  readonly hidden: number
  readonly layers: number
  readonly heads: number
  readonly groups: number
  readonly headDim: number
  readonly vocab: number
  readonly linear: readonly [keyHeads: number, valueHeads: number, keyDim: number, valueDim: number]
  readonly vision: readonly [depth: number, hidden: number, heads: number, intermediate: number, positions: number]
  readonly mrope: readonly [number, number, number]
  readonly tied: boolean
}

/** Real checkpoints interleave three linear-attention layers and one full-attention layer. */
const layerTypes = (layers: number) => Array.from({ length: layers }, (_, i) => ((i + 1) % 4 === 0 ? "full_attention" : "linear_attention"))

const qwen3_5 = (d: Dimensions, mlp: Readonly<Record<string, unknown>>, moe: boolean) => ({
  architectures: [moe ? "Qwen3_5MoeForConditionalGeneration" : "Qwen3_5ForConditionalGeneration"],
  dtype: "bfloat16",
  image_token_id: d.vocab - 4,
  model_type: moe ? "qwen3_5_moe" : "qwen3_5",
  text_config: {
    attention_bias: false,
    attention_dropout: 0,
    attn_output_gate: true,
    dtype: "bfloat16",
    eos_token_id: d.vocab - 6,
    head_dim: d.headDim,
    hidden_act: "silu",
    hidden_size: d.hidden,
    initializer_range: 0.02,
    layer_types: layerTypes(d.layers),
    linear_conv_kernel_dim: 4,
    linear_key_head_dim: d.linear[2],
    linear_num_key_heads: d.linear[0],
    linear_num_value_heads: d.linear[1],
    linear_value_head_dim: d.linear[3],
    mamba_ssm_dtype: "float32",
    max_position_embeddings: 262144,
    model_type: moe ? "qwen3_5_moe_text" : "qwen3_5_text",
    mtp_num_hidden_layers: 1,
    mtp_use_dedicated_embeddings: false,
    num_attention_heads: d.heads,
    num_hidden_layers: d.layers,
    num_key_value_heads: d.groups,
    rms_norm_eps: 1e-6,
    rope_parameters: { mrope_interleaved: true, mrope_section: d.mrope, partial_rotary_factor: 0.25, rope_theta: 10000000, rope_type: "default" },
    tie_word_embeddings: d.tied,
    use_cache: true,
    vocab_size: d.vocab,
    ...mlp
  },
  tie_word_embeddings: d.tied,
  transformers_version: "5.18.0",
  video_token_id: d.vocab - 3,
  vision_config: {
    deepstack_visual_indexes: [],
    depth: d.vision[0],
    hidden_act: "gelu_pytorch_tanh",
    hidden_size: d.vision[1],
    in_channels: 3,
    initializer_range: 0.02,
    intermediate_size: d.vision[3],
    model_type: moe ? "qwen3_5_moe_vision" : "qwen3_5_vision",
    num_heads: d.vision[2],
    num_position_embeddings: d.vision[4],
    out_hidden_size: d.hidden,
    patch_size: 16,
    spatial_merge_size: 2,
    temporal_patch_size: 2
  },
  vision_end_token_id: d.vocab - 2,
  vision_start_token_id: d.vocab - 1
})

/** "1GB" and "10GB": the widths of the 0.8B and the 4B model. */
const DENSE: Readonly<Record<SampleSize, Dimensions & { readonly intermediate: number }>> = {
  tiny: { hidden: 64, layers: 4, heads: 4, groups: 2, headDim: 32, vocab: 1000, linear: [4, 8, 16, 16], vision: [2, 48, 4, 88, 64], mrope: [2, 1, 1], tied: false, intermediate: 152 },
  small: { hidden: 512, layers: 8, heads: 8, groups: 2, headDim: 128, vocab: 32000, linear: [8, 16, 64, 64], vision: [4, 384, 6, 1536, 576], mrope: [6, 5, 5], tied: false, intermediate: 1536 },
  "1GB": { hidden: 1024, layers: 8, heads: 8, groups: 2, headDim: 256, vocab: 248320, linear: [16, 16, 128, 128], vision: [12, 768, 12, 3072, 2304], mrope: [11, 11, 10], tied: true, intermediate: 3584 },
  "10GB": { hidden: 2560, layers: 32, heads: 16, groups: 4, headDim: 256, vocab: 248320, linear: [16, 32, 128, 128], vision: [24, 1024, 16, 4096, 2304], mrope: [11, 11, 10], tied: true, intermediate: 9216 }
}

/** "10GB": the widths of the 35B-A3B model. */
const MOE: Readonly<Record<SampleSize, Dimensions & { readonly experts: number; readonly expertWidth: number }>> = {
  tiny: { ...DENSE.tiny, experts: 4, expertWidth: 40 },
  small: { ...DENSE.small, experts: 16, expertWidth: 128 },
  "1GB": { ...DENSE.small, hidden: 1024, experts: 32, expertWidth: 512 },
  "10GB": { hidden: 2048, layers: 4, heads: 16, groups: 2, headDim: 256, vocab: 248320, linear: [16, 32, 128, 128], vision: [27, 1152, 16, 4304, 2304], mrope: [11, 11, 10], tied: false, experts: 256, expertWidth: 512 }
}

const moeMlp = ({ experts, expertWidth }: { readonly experts: number; readonly expertWidth: number }) => ({
  moe_intermediate_size: expertWidth,
  num_experts: experts,
  num_experts_per_tok: Math.min(8, experts / 2),
  shared_expert_intermediate_size: expertWidth,
  router_aux_loss_coef: 0.001
})

const tensors = { fp32: /linear_attn\.(A_log|norm\.weight)$/ }

export const qwen3_5VlSample = bySize((size) => qwen3_5(DENSE[size], { intermediate_size: DENSE[size].intermediate }, false), tensors)

export const qwen3_5VlMoeSample = bySize((size) => qwen3_5(MOE[size], moeMlp(MOE[size]), true), tensors)
