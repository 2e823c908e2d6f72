/**
 * What decoder-only language models with llama-like configs have in common: the config fields by their HF names (older
 * spellings too), the TransformerConfig and provider fields they mean, the rows around the layers, the names of embedding and head.
 */
import { z } from "zod"
import type { Carried, Vocabulary } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import type { PythonValue } from "../../src/runconfig/Provider.ts"
import { rows } from "../../src/bridge/Registry.ts"
import { FormatError } from "../../src/errors.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { count, dtypeField, many, rope, ropeOf, size } from "./config.ts"
import { activationOf } from "./activations.ts"
import type { CommonFields, Dtype } from "./provider.ts"
import { scaling, scalingFields } from "./ropeScaling.ts"

/** Fields of a text config. Spread into `z.looseObject`; a family repeats a field to make it stricter. */
export const textFields = {
  num_hidden_layers: many.min(1),
  hidden_size: size,
  intermediate_size: size.nullish(),
  num_attention_heads: size,
  num_key_value_heads: size.nullish(),
  head_dim: size.nullish(),
  vocab_size: size,
  max_position_embeddings: size.nullish(),
  rms_norm_eps: z.number().nonnegative().nullish(),
  initializer_range: z.number().nullish(),
  attention_bias: z.boolean().nullish(),
  attention_dropout: z.number().nullish(),
  mlp_bias: z.boolean().nullish(),
  hidden_act: z.string().nullish(),
  hidden_activation: z.string().nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  dtype: dtypeField,
  torch_dtype: dtypeField,
  eos_token_id: z.union([count, z.array(count)]).nullish(),
  ...rope,
  ...scaling
}

/** The same with a dense MLP in every layer. */
export const denseFields = { ...textFields, intermediate_size: size }

const schema = z.looseObject(textFields)
/** A text section of config.json, parsed. */
export type TextConfig = z.infer<typeof schema>

/** `whole / parts`, which config.json must make an integer. */
export const divided = (whole: number, parts: number, field: string): number => {
  if (whole % parts !== 0) throw new FormatError("config/indivisible", `${whole} does not divide by ${parts}`, { field })
  return whole / parts
}

/** Width of an attention head. */
export const headDimOf = (t: Pick<TextConfig, "head_dim" | "hidden_size" | "num_attention_heads">): number =>
  t.head_dim ?? divided(t.hidden_size, t.num_attention_heads, "num_attention_heads")

/** Key/value heads: as many as query heads unless the config says fewer. */
const keyValueHeadsOf = (t: Pick<TextConfig, "num_key_value_heads" | "num_attention_heads">): number => {
  const groups = t.num_key_value_heads ?? t.num_attention_heads
  divided(t.num_attention_heads, groups, "num_key_value_heads")
  return groups
}

/** `dtype`, or the older `torch_dtype`, of the first section that has one; the reference's default is float32. */
export const dtypeOf = (...sections: ReadonlyArray<Pick<TextConfig, "dtype" | "torch_dtype">>): Dtype => {
  for (const s of sections) {
    const found = s.dtype ?? s.torch_dtype
    if (found) return found
  }
  return "float32"
}

/** RMSNorm, gated MLP, no biases, untied: what `change` does not say otherwise. */
export const transformerOf = (t: TextConfig, change: Partial<TransformerConfig> = {}): TransformerConfig => ({
  num_layers: t.num_hidden_layers,
  hidden_size: t.hidden_size,
  num_attention_heads: t.num_attention_heads,
  num_query_groups: keyValueHeadsOf(t),
  kv_channels: headDimOf(t),
  ffn_hidden_size: t.intermediate_size ?? undefined,
  vocab_size: t.vocab_size,
  normalization: "RMSNorm",
  gated_linear_unit: true,
  add_bias_linear: false,
  add_qkv_bias: false,
  qk_layernorm: false,
  share_embeddings_and_output_weights: t.tie_word_embeddings ?? false,
  ...change
})

/** The provider fields that every text config decides. */
export const commonOf = (t: TextConfig): CommonFields => {
  const { percent, theta } = ropeOf(t)
  return {
    dtype: dtypeOf(t),
    activation: activationOf(t.hidden_act ?? t.hidden_activation ?? "silu"),
    layernorm_epsilon: t.rms_norm_eps ?? 1e-6,
    init_method_std: t.initializer_range ?? 0.02,
    rotary_base: theta,
    rotary_percent: percent,
    seq_length: t.max_position_embeddings
  }
}

/** Further provider fields of a text config: dropout and stretched rotary embeddings. */
export const extraOf = (t: TextConfig): Record<string, PythonValue> => ({
  hidden_dropout: { $float: 0 },
  attention_dropout: { $float: t.attention_dropout ?? 0 },
  ...scalingFields(t)
})

/** Where a language model's tensors start: in Megatron, the HF decoder, the HF head. */
export interface TextPrefixes {
  readonly megatron?: string
  readonly model?: string
  readonly head?: string
}

/** `embedding`: the HF name below the HF decoder. */
type FramePrefixes = TextPrefixes & { readonly embedding?: string }

/** Embedding, final norm, output layer; `embedding` where the HF name is not `embed_tokens`. */
export const frameRows = ({ embedding = "embed_tokens", head = "", megatron = "", model = "model." }: FramePrefixes = {}): ReadonlyArray<Row> =>
  rows(megatron, "", {
    "embedding.word_embeddings.weight": `${model}${embedding}.weight`,
    "decoder.final_layernorm.weight": `${model}norm.weight`,
    "decoder.final_layernorm.bias": `${model}norm.bias`,
    "output_layer.weight": `${head}lm_head.weight`
  })

/** Embedding and head of a model with these names; what comes of a head that is the embedding is `tie.ts`'s to say. */
export const vocabularyOf = (tc: TransformerConfig, { embedding = "embed_tokens", head = "", model = "model." }: FramePrefixes = {}): Vocabulary => ({
  embedding: `${model}${embedding}.weight`,
  head: `${head}lm_head.weight`,
  tied: tc.share_embeddings_and_output_weights
})

const FREQUENCIES = "rotary frequencies, which every loader computes from config.json"

/** Rotary frequencies that old checkpoints store per layer: a function of the config, kept as they are. */
export const rotaryBuffers = (model = "model."): ReadonlyArray<Carried> => [
  { pattern: `${model}layers.*.self_attn.rotary_emb.inv_freq`, why: FREQUENCIES },
  { pattern: `${model}rotary_emb.inv_freq`, why: FREQUENCIES }
]
