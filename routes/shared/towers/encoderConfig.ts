/** The TransformerConfig that encoders of images and of sound have in common. */
import type { DenseConfig } from "../../../src/model/TransformerConfig.ts"
import { divided } from "../llama.ts"

export interface EncoderSizes {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  /** Field of config.json that says how many heads there are, for messages. */
  readonly headsField: string
  readonly ffn: number
}

/** LayerNorm, a plain MLP, biases everywhere; every head has keys and values of its own; no words. */
export const encoderConfig = ({ ffn, heads, headsField, hidden, layers }: EncoderSizes): DenseConfig => ({
  num_layers: layers,
  hidden_size: hidden,
  num_attention_heads: heads,
  num_query_groups: heads,
  kv_channels: divided(hidden, heads, headsField),
  ffn_hidden_size: ffn,
  vocab_size: 1,
  normalization: "LayerNorm",
  gated_linear_unit: false,
  add_bias_linear: true,
  add_qkv_bias: true,
  qk_layernorm: false,
  share_embeddings_and_output_weights: false
})
