/**
 * Deterministic sample models: published structures, at toy or at published dimensions (with fewer layers or experts where a
 * size asks for it). `sample` writes them, so that everything can be tried and measured without a download.
 */
export type SampleSize = "tiny" | "small" | "1GB" | "10GB"

export interface Sample {
  readonly config: Readonly<Record<string, unknown>>
  /** Tensors that the published checkpoints keep in fp32. */
  readonly fp32: RegExp
  /** Bytes of tensors per shard. */
  readonly shardBytes: number
}

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

const TINY: Dimensions = {
  hidden: 64, layers: 4, heads: 4, groups: 2, headDim: 32, vocab: 1000, linear: [4, 8, 16, 16], vision: [2, 48, 4, 88, 64], mrope: [2, 1, 1], tied: false
}
const SMALL: Dimensions = {
  hidden: 512, layers: 8, heads: 8, groups: 2, headDim: 128, vocab: 32000, linear: [8, 16, 64, 64], vision: [4, 384, 6, 1536, 576], mrope: [6, 5, 5], tied: false
}
/** Dimensions of the 0.8B model, of the 4B model and of the 35B-A3B model. */
const B0_8: Dimensions = {
  hidden: 1024, layers: 8, heads: 8, groups: 2, headDim: 256, vocab: 248320, linear: [16, 16, 128, 128], vision: [12, 768, 12, 3072, 2304], mrope: [11, 11, 10], tied: true
}
const B4: Dimensions = {
  hidden: 2560, layers: 32, heads: 16, groups: 4, headDim: 256, vocab: 248320, linear: [16, 32, 128, 128], vision: [24, 1024, 16, 4096, 2304], mrope: [11, 11, 10], tied: true
}
const B35: Dimensions = {
  hidden: 2048, layers: 4, heads: 16, groups: 2, headDim: 256, vocab: 248320, linear: [16, 32, 128, 128], vision: [27, 1152, 16, 4304, 2304], mrope: [11, 11, 10], tied: false
}

const moeMlp = (experts: number, ffn: number) => ({
  moe_intermediate_size: ffn,
  num_experts: experts,
  num_experts_per_tok: Math.min(8, experts / 2),
  shared_expert_intermediate_size: ffn,
  router_aux_loss_coef: 0.001
})

const FP32 = /linear_attn\.(A_log|norm\.weight)$/

const sample = (config: Sample["config"], shardBytes: number): Sample => ({ config, fp32: FP32, shardBytes })

export const samples: Readonly<Record<string, Readonly<Record<SampleSize, Sample>>>> = {
  "qwen3.5-vl": {
    tiny: sample(qwen3_5(TINY, { intermediate_size: 152 }, false), 500_000),
    small: sample(qwen3_5(SMALL, { intermediate_size: 1536 }, false), 50_000_000),
    "1GB": sample(qwen3_5(B0_8, { intermediate_size: 3584 }, false), 600_000_000),
    "10GB": sample(qwen3_5(B4, { intermediate_size: 9216 }, false), 4_000_000_000)
  },
  "qwen3.5-vl-moe": {
    tiny: sample(qwen3_5(TINY, moeMlp(4, 40), true), 500_000),
    small: sample(qwen3_5(SMALL, moeMlp(16, 128), true), 50_000_000),
    "1GB": sample(qwen3_5({ ...SMALL, hidden: 1024, layers: 8 }, moeMlp(32, 512), true), 600_000_000),
    "10GB": sample(qwen3_5(B35, moeMlp(256, 512), true), 4_000_000_000)
  }
}
