/**
 * `consolidated.safetensors` and `params.json`, the publisher's own form of Mistral's models: what the conversion scripts of
 * transformers make of them (`convert_mistral_weights_to_hf.py`, `convert_pixtral_weights_to_hf.py`, `convert_mistral3_weights_to_hf.py`,
 * `convert_ministral3_weights_to_hf.py`), and the names of the publisher's own modules (`mistral_inference/transformer_layers.py`).
 */
import { z } from "zod"
import type { PublishedTensor } from "../../src/bridge/PublisherForm.ts"
import { count, many, size } from "./config.ts"

/** Of the parameters, those with a meaning in config.json, and those whose only published value changes nothing. */
export const textParams = {
  dim: size,
  n_layers: many.min(1),
  head_dim: size,
  hidden_dim: size,
  n_heads: size,
  n_kv_heads: size.optional(),
  norm_eps: z.number().nonnegative(),
  vocab_size: size,
  rope_theta: z.number().positive().optional(),
  max_seq_len: size.optional(),
  max_position_embeddings: size.optional(),
  tied_embeddings: z.boolean().default(false),
  model_type: z.literal("transformer").optional(),
  activation: z.literal("silu").optional(),
  use_biases: z.literal(false).optional(),
  causal: z.literal(true).optional()
}

const schema = z.object(textParams)
export type TextParams = z.infer<typeof schema>

/** Rotary frequencies of old models have this base where nothing says another. */
const OLD_BASE = 10_000

/** Fields of a text config. `positions`, `base`: where params.json does not say them, as the script or the publisher's program does. */
export const textFieldsOf = (p: TextParams, positions: number, base = OLD_BASE) => ({
  hidden_size: p.dim,
  num_hidden_layers: p.n_layers,
  intermediate_size: p.hidden_dim,
  num_attention_heads: p.n_heads,
  num_key_value_heads: p.n_kv_heads ?? p.n_heads,
  head_dim: p.head_dim,
  rms_norm_eps: p.norm_eps,
  vocab_size: p.vocab_size,
  rope_theta: p.rope_theta ?? base,
  max_position_embeddings: p.max_position_embeddings ?? p.max_seq_len ?? positions,
  tie_word_embeddings: p.tied_embeddings
})

/** What {@link textFieldsOf} takes for said. */
export const assumedOf = (p: TextParams, positions: number, base = OLD_BASE): ReadonlyArray<string> => [
  ...(p.max_position_embeddings === undefined && p.max_seq_len === undefined ? [`params.json does not say how many positions the model has: ${positions}, as transformers' script writes`] : []),
  ...(p.rope_theta === undefined ? [`params.json does not say the base of rotary frequencies: ${base}, as the published programs take it`] : [])
]

/** Tensors of a gated MLP. */
const DENSE = (layer: string) => [
  { stored: "layers.*.feed_forward.w1.weight", name: `${layer}mlp.gate_proj.weight` },
  { stored: "layers.*.feed_forward.w2.weight", name: `${layer}mlp.down_proj.weight` },
  { stored: "layers.*.feed_forward.w3.weight", name: `${layer}mlp.up_proj.weight` }
]

/** Tensors of experts and their router in every layer, which keep the publisher's names below it. */
export const EXPERTS = (layer: string) => [
  { stored: "layers.*.feed_forward.gate.weight", name: `${layer}block_sparse_moe.gate.weight` },
  ...["w1", "w2", "w3"].map((w) => ({ stored: `layers.*.feed_forward.experts.*.${w}.weight`, name: `${layer}block_sparse_moe.experts.*.${w}.weight` }))
]

/** Tensors of the decoder: where transformers has it and its head. */
export const textTensors = <Params extends TextParams>(model: string, head: string, mlp = DENSE): ReadonlyArray<PublishedTensor<Params>> => {
  const layer = `${model}layers.*.`
  return [
    { stored: "tok_embeddings.weight", name: `${model}embed_tokens.weight` },
    { stored: "layers.*.attention.wq.weight", name: `${layer}self_attn.q_proj.weight`, pairs: (p) => p.n_heads },
    { stored: "layers.*.attention.wk.weight", name: `${layer}self_attn.k_proj.weight`, pairs: (p) => p.n_kv_heads ?? p.n_heads },
    { stored: "layers.*.attention.wv.weight", name: `${layer}self_attn.v_proj.weight` },
    { stored: "layers.*.attention.wo.weight", name: `${layer}self_attn.o_proj.weight` },
    ...mlp(layer),
    { stored: "layers.*.attention_norm.weight", name: `${layer}input_layernorm.weight` },
    { stored: "layers.*.ffn_norm.weight", name: `${layer}post_attention_layernorm.weight` },
    { stored: "norm.weight", name: `${model}norm.weight` },
    { stored: "output.weight", name: `${head}lm_head.weight` }
  ]
}

/** Of the vision encoder: sizes by the names that config.json has, too, and what is written elsewhere in it. */
export const towerParams = z.strictObject({
  hidden_size: size,
  num_channels: size,
  image_size: size,
  patch_size: size,
  num_hidden_layers: many.min(1),
  intermediate_size: size,
  num_attention_heads: size,
  rope_theta: z.number().positive(),
  adapter_bias: z.boolean().default(false),
  max_image_size: size.optional(),
  image_token_id: count.default(10),
  image_break_token_id: count.optional(),
  image_end_token_id: count.optional()
})
type TowerParams = z.infer<typeof towerParams>

/** Of one whose patches are merged. */
export const visionParams = towerParams.extend({
  spatial_merge_size: size,
  mm_projector_id: z.literal("patch_merge").optional(),
  add_pre_mm_projector_layer_norm: z.literal(true).optional()
})

/** The vision config. Its gate is the one of the publisher's program; two scripts of transformers left it to a default (gelu). */
export const towerFieldsOf = ({ hidden_size, image_size, intermediate_size, num_attention_heads, num_channels, num_hidden_layers, patch_size, rope_theta }: TowerParams) => ({
  model_type: "pixtral", hidden_size, num_channels, image_size, patch_size, num_hidden_layers, intermediate_size, num_attention_heads, rope_theta, head_dim: hidden_size / num_attention_heads, hidden_act: "silu"
})

export const TOWER_ASSUMED = "params.json does not say the activation of the vision tower: silu, as the publisher's program computes it"

/** Tensors of the tower and of the projector, but for what merges patches. `outer`: what transformers has in front of both. */
export const towerTensors = <Params extends { readonly vision_encoder: TowerParams }>(outer: string): ReadonlyArray<PublishedTensor<Params>> => {
  const [there, layer] = ["vision_encoder.transformer.layers.*.", `${outer}vision_tower.transformer.layers.*.`]
  const heads = (p: Params) => p.vision_encoder.num_attention_heads
  const [adapter, projector] = ["vision_language_adapter.", `${outer}multi_modal_projector.`]
  return [
    { stored: "vision_encoder.patch_conv.weight", name: `${outer}vision_tower.patch_conv.weight` },
    { stored: "vision_encoder.ln_pre.weight", name: `${outer}vision_tower.ln_pre.weight` },
    { stored: `${there}attention.wq.weight`, name: `${layer}attention.q_proj.weight`, pairs: heads },
    { stored: `${there}attention.wk.weight`, name: `${layer}attention.k_proj.weight`, pairs: heads },
    { stored: `${there}attention.wv.weight`, name: `${layer}attention.v_proj.weight` },
    { stored: `${there}attention.wo.weight`, name: `${layer}attention.o_proj.weight` },
    { stored: `${there}feed_forward.w1.weight`, name: `${layer}feed_forward.gate_proj.weight` },
    { stored: `${there}feed_forward.w2.weight`, name: `${layer}feed_forward.down_proj.weight` },
    { stored: `${there}feed_forward.w3.weight`, name: `${layer}feed_forward.up_proj.weight` },
    { stored: `${there}attention_norm.weight`, name: `${layer}attention_norm.weight` },
    { stored: `${there}ffn_norm.weight`, name: `${layer}ffn_norm.weight` },
    ...["weight", "bias"].flatMap((kind) => [
      { stored: `${adapter}w_in.${kind}`, name: `${projector}linear_1.${kind}` },
      { stored: `${adapter}w_out.${kind}`, name: `${projector}linear_2.${kind}` }
    ])
  ]
}

/** Those, and what merges patches. */
export const visionTensors = <Params extends { readonly vision_encoder: TowerParams }>(outer: string): ReadonlyArray<PublishedTensor<Params>> => [
  ...towerTensors<Params>(outer),
  { stored: "pre_mm_projector_norm.weight", name: `${outer}multi_modal_projector.norm.weight` },
  { stored: "patch_merger.merging_layer.weight", name: `${outer}multi_modal_projector.patch_merger.merging_layer.weight` }
]
