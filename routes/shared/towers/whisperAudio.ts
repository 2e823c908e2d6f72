/** Whisper's encoder in the form that the reference's example of an audio component builds: fused QKV, stacked layers. */
import { z } from "zod"
import { keysUnbiasedOf } from "../../../src/bridge/kinds.ts"
import type { Row } from "../../../src/bridge/Mapping.ts"
import { rows } from "../../../src/bridge/Registry.ts"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { stackedAudio } from "../../../src/model/stackedAudio.ts"
import type { DenseConfig } from "../../../src/model/TransformerConfig.ts"
import { dtypeField, many, size } from "../config.ts"
import { encoderLayer } from "./contrastVision.ts"
import { encoderConfig } from "./encoderConfig.ts"

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
const whisperTransformer = (a: Whisper): DenseConfig =>
  encoderConfig({ layers: a.encoder_layers, hidden: a.d_model, heads: a.encoder_attention_heads, headsField: "encoder_attention_heads", ffn: a.encoder_ffn_dim })

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
