/** Whisper's encoder in the form that the reference's example of an audio component builds: fused QKV, stacked layers. */
import { z } from "zod"
import { keysUnbiasedOf } from "../../../src/bridge/kinds.ts"
import type { Row } from "../../../src/bridge/Mapping.ts"
import { rows } from "../../../src/bridge/Registry.ts"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { stackedAudio } from "../../../src/model/stackedAudio.ts"
import type { DenseConfig } from "../../../src/model/TransformerConfig.ts"
import { dtypeField, many, size } from "../config.ts"
import { divided } from "../llama.ts"
import { encoderLayer } from "./contrastVision.ts"

/** Fields of config.json, with the defaults of the published class. */
export const whisperFields = {
  d_model: size.default(384),
  encoder_layers: many.min(1).default(4),
  encoder_attention_heads: size.default(6),
  encoder_ffn_dim: size.default(1536),
  num_mel_bins: size.default(80),
  max_source_positions: size.default(1500),
  activation_function: z.string().default("gelu"),
  dtype: dtypeField,
  torch_dtype: dtypeField
}

type Whisper = z.infer<z.ZodObject<typeof whisperFields>>

/** The TransformerConfig of the encoder. */
const whisperTransformer = (a: Whisper): DenseConfig => ({
  num_layers: a.encoder_layers,
  hidden_size: a.d_model,
  num_attention_heads: a.encoder_attention_heads,
  num_query_groups: a.encoder_attention_heads,
  kv_channels: divided(a.d_model, a.encoder_attention_heads, "encoder_attention_heads"),
  ffn_hidden_size: a.encoder_ffn_dim,
  vocab_size: 1,
  normalization: "LayerNorm",
  gated_linear_unit: false,
  add_bias_linear: true,
  add_qkv_bias: true,
  qk_layernorm: false,
  share_embeddings_and_output_weights: false
})

/** The encoder as a typed module. */
export const whisperAudio = (path: string, a: Whisper): ModuleSource =>
  stackedAudio(path, { transformer: whisperTransformer(a), melBins: a.num_mel_bins, positions: a.max_source_positions })

/** Its rows; `hf`: what the names begin with, `conv1` and `layers` behind it. */
export const whisperRows = (megatron: string, hf: string): ReadonlyArray<Row> => [
  ...rows(megatron, hf, {
    ...Object.fromEntries(["conv1", "conv2"].flatMap((name) => [[`${name}.weight`, `${name}.weight`], [`${name}.bias`, `${name}.bias`]])),
    "position_embeddings.weight": "embed_positions.weight",
    "ln_post.weight": "layer_norm.weight",
    "ln_post.bias": "layer_norm.bias"
  }),
  ...rows(`${megatron}decoder.layers.*.`, `${hf}layers.*.`, {
    ...encoderLayer("self_attn_layer_norm", "final_layer_norm", ""),
    // Its keys have no bias.
    "self_attention.linear_qkv.bias": keysUnbiasedOf("self_attn.{q,v}_proj.bias")
  })
]
