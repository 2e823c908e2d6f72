/** LLaVA 1.5 and Whisper, parts of models that are put together: at the dimensions of the 7B and of the base model, or smaller. */
import { type SampleSize, bySize } from "./Sample.ts"

interface Dimensions {
  readonly text: readonly [hidden: number, layers: number, heads: number, intermediate: number, vocab: number]
  readonly vision: readonly [hidden: number, layers: number, heads: number, image: number]
  readonly audio: readonly [hidden: number, layers: number, heads: number, positions: number]
}

const DIMENSIONS: Readonly<Record<SampleSize, Dimensions>> = {
  tiny: { text: [64, 4, 4, 176, 512], vision: [32, 4, 4, 56], audio: [32, 4, 4, 100] },
  small: { text: [512, 8, 8, 1376, 32064], vision: [256, 8, 8, 112], audio: [384, 4, 6, 1500] },
  "1GB": { text: [1024, 16, 16, 5504, 32064], vision: [1024, 24, 16, 336], audio: [512, 6, 8, 1500] },
  "10GB": { text: [4096, 24, 32, 11008, 32064], vision: [1024, 24, 16, 336], audio: [1280, 32, 20, 1500] }
}

export const llavaSample = bySize((size) => {
  const { text: [hidden, layers, heads, intermediate, vocab], vision: [width, depth, visionHeads, image] } = DIMENSIONS[size]
  return {
    architectures: ["LlavaForConditionalGeneration"],
    dtype: "bfloat16",
    image_token_index: vocab - 64,
    model_type: "llava",
    multimodal_projector_bias: true,
    projector_hidden_act: "gelu",
    text_config: {
      hidden_act: "silu",
      hidden_size: hidden,
      intermediate_size: intermediate,
      max_position_embeddings: 4096,
      model_type: "llama",
      num_attention_heads: heads,
      num_hidden_layers: layers,
      num_key_value_heads: heads,
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      tie_word_embeddings: false,
      vocab_size: vocab
    },
    vision_config: {
      hidden_act: "quick_gelu",
      hidden_size: width,
      image_size: image,
      intermediate_size: 4 * width,
      model_type: "clip_vision_model",
      num_attention_heads: visionHeads,
      num_hidden_layers: depth,
      patch_size: 14
    },
    vision_feature_layer: -2,
    vision_feature_select_strategy: "default"
  }
})

export const whisperSample = bySize((size) => {
  const { audio: [hidden, layers, heads, positions] } = DIMENSIONS[size]
  return {
    architectures: ["WhisperForConditionalGeneration"],
    d_model: hidden,
    decoder_attention_heads: heads,
    decoder_ffn_dim: 4 * hidden,
    decoder_layers: layers,
    decoder_start_token_id: 1,
    dtype: "bfloat16",
    encoder_attention_heads: heads,
    encoder_ffn_dim: 4 * hidden,
    encoder_layers: layers,
    max_source_positions: positions,
    max_target_positions: 448,
    model_type: "whisper",
    num_mel_bins: 80,
    vocab_size: size === "tiny" ? 512 : 51865
  }
})
