/**
 * Qwen3.5-VL, dense and MoE: three of four layers are Gated DeltaNet, every fourth is gated full attention; a vision
 * transformer of Megatron's own layers; optional multi-token prediction. The family that the reference can train as MIMO.
 */
import { z } from "zod"
import { family, type HfHeaders, type ModelDescription } from "../src/bridge/Family.ts"
import { float, pythonObject, type Provider } from "../src/bridge/Provider.ts"
import { rows } from "../src/bridge/Registry.ts"
import type { Row } from "../src/bridge/Mapping.ts"
import { gpt } from "../src/model/gpt.ts"
import { Scope } from "../src/model/Scope.ts"
import type { TransformerConfig } from "../src/model/TransformerConfig.ts"
import { type VisionConfig, visionTransformer } from "../src/model/vision.ts"
import { attention, denseMlp, gatedDeltaNet, mtpHead, qkNorm, sharedExpertMoe, visionBlock, visionFrame } from "./shared/blocks.ts"
import { count, dtypeField, many, rope, ropeOf, size } from "./shared/config.ts"
import { gptProvider, pick } from "./shared/provider.ts"
import { type ExpertForm, expertForm, expertRows } from "./shared/experts.ts"

const text = z.looseObject({
  num_hidden_layers: many.min(1),
  hidden_size: size,
  num_attention_heads: size,
  num_key_value_heads: size,
  head_dim: size.nullish(),
  vocab_size: size,
  max_position_embeddings: size.nullish(),
  rms_norm_eps: z.number().nullish(),
  initializer_range: z.number().nullish(),
  attention_bias: z.boolean().nullish(),
  hidden_act: z.literal("silu").nullish(),
  layer_types: z.array(z.enum(["linear_attention", "full_attention"])).nullish(),
  full_attention_interval: size.nullish(),
  linear_num_key_heads: size,
  linear_num_value_heads: size,
  linear_key_head_dim: size,
  linear_value_head_dim: size,
  linear_conv_kernel_dim: size.default(4),
  mtp_num_hidden_layers: many.nullish(),
  dtype: dtypeField,
  eos_token_id: z.union([count, z.array(count)]).nullish(),
  intermediate_size: size.nullish(),
  num_experts: many.nullish(),
  num_experts_per_tok: size.nullish(),
  moe_intermediate_size: size.nullish(),
  shared_expert_intermediate_size: size.nullish(),
  router_aux_loss_coef: z.number().nullish(),
  ...rope
})

const vision = z.looseObject({
  depth: many,
  hidden_size: size,
  num_heads: size,
  intermediate_size: size,
  in_channels: size,
  patch_size: size,
  spatial_merge_size: size,
  temporal_patch_size: size,
  num_position_embeddings: size,
  out_hidden_size: size
})

const schema = z.looseObject({
  text_config: text,
  vision_config: vision,
  tie_word_embeddings: z.boolean().nullish(),
  image_token_id: count.nullish(),
  video_token_id: count.nullish(),
  vision_start_token_id: count.nullish(),
  vision_end_token_id: count.nullish()
})

type Config = z.infer<typeof schema>
type Text = Config["text_config"]

const layerFreq = (t: Text): ReadonlyArray<number> =>
  t.layer_types?.map((kind) => (kind === "linear_attention" ? 1 : 0)) ??
    Array.from({ length: t.num_hidden_layers }, (_, i) => ((i + 1) % (t.full_attention_interval ?? 4) === 0 ? 0 : 1))

const transformer = (t: Text, tied: boolean, moe: boolean): TransformerConfig => ({
  num_layers: t.num_hidden_layers,
  hidden_size: t.hidden_size,
  num_attention_heads: t.num_attention_heads,
  num_query_groups: t.num_key_value_heads,
  kv_channels: t.head_dim ?? t.hidden_size / t.num_attention_heads,
  ffn_hidden_size: t.intermediate_size ?? 0,
  vocab_size: t.vocab_size,
  normalization: "RMSNorm",
  gated_linear_unit: true,
  add_bias_linear: false,
  add_qkv_bias: t.attention_bias ?? false,
  qk_layernorm: true,
  attention_output_gate: true,
  share_embeddings_and_output_weights: tied,
  hetereogenous_dist_checkpoint: true,
  linear_attention_freq: layerFreq(t),
  linear_num_key_heads: t.linear_num_key_heads,
  linear_num_value_heads: t.linear_num_value_heads,
  linear_key_head_dim: t.linear_key_head_dim,
  linear_value_head_dim: t.linear_value_head_dim,
  linear_conv_kernel_dim: t.linear_conv_kernel_dim,
  mtp_num_layers: t.mtp_num_hidden_layers ?? 0,
  ...(moe
    ? {
      num_moe_experts: t.num_experts ?? 0,
      moe_ffn_hidden_size: t.moe_intermediate_size ?? 0,
      moe_shared_expert_intermediate_size: t.shared_expert_intermediate_size ?? null,
      moe_shared_expert_gate: true
    }
    : {})
})

const visionModel = (v: Config["vision_config"]): VisionConfig => ({
  transformer: {
    num_layers: v.depth,
    hidden_size: v.hidden_size,
    num_attention_heads: v.num_heads,
    num_query_groups: v.num_heads,
    kv_channels: v.hidden_size / v.num_heads,
    ffn_hidden_size: v.intermediate_size,
    vocab_size: 1,
    normalization: "LayerNorm",
    gated_linear_unit: false,
    add_bias_linear: true,
    add_qkv_bias: true,
    qk_layernorm: false,
    share_embeddings_and_output_weights: false
  },
  patchEmbedding: [v.hidden_size, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size],
  positions: v.num_position_embeddings,
  spatialMerge: v.spatial_merge_size,
  outputWidth: v.out_hidden_size
})

const HF_TEXT = "model.language_model."

const table = (moe: boolean, forms: { readonly layers: ExpertForm; readonly mtp: ExpertForm }): ReadonlyArray<Row> => {
  const mlpRows = (form: ExpertForm) => (moe ? { ...sharedExpertMoe, ...expertRows(form) } : denseMlp)
  return [
    ...rows("language_model.", "", {
      "embedding.word_embeddings.weight": `${HF_TEXT}embed_tokens.weight`,
      "decoder.final_layernorm.weight": `${HF_TEXT}norm.weight`,
      "output_layer.weight": "lm_head.weight"
    }),
    ...rows("language_model.decoder.layers.*.", `${HF_TEXT}layers.*.`, {
      ...attention,
      ...qkNorm,
      ...gatedDeltaNet,
      ...mlpRows(forms.layers)
    }),
    ...rows("language_model.mtp.layers.0.", "mtp.", mtpHead),
    ...rows("language_model.mtp.layers.*.mtp_model_layer.", "mtp.layers.*.", { ...attention, ...qkNorm, ...mlpRows(forms.mtp) }),
    ...rows("vision_model.", "model.visual.", visionFrame),
    ...rows("vision_model.decoder.layers.*.", "model.visual.blocks.*.", visionBlock)
  ]
}

const provider = (c: Config, tc: TransformerConfig, moe: boolean): Provider => {
  const t = c.text_config
  const { percent, sections, theta } = ropeOf(t)
  const variant = moe ? ["qwen3_5_moe", "Qwen3_5Moe"] : ["qwen3_5", "Qwen3_5"]
  return gptProvider(
    `megatron.bridge.models.qwen_vl.qwen35_vl_provider.Qwen35VL${moe ? "MoE" : ""}ModelProvider`,
    tc,
    {
      dtype: t.dtype ?? "float32",
      layernorm_epsilon: t.rms_norm_eps ?? 1e-6,
      init_method_std: t.initializer_range ?? 0.02,
      rotary_base: theta,
      rotary_percent: percent,
      seq_length: t.max_position_embeddings
    },
    {
      hidden_dropout: float(0),
      attention_dropout: float(0),
      mrope_section: sections,
      image_token_id: c.image_token_id ?? undefined,
      video_token_id: c.video_token_id ?? undefined,
      vision_start_token_id: c.vision_start_token_id ?? undefined,
      vision_end_token_id: c.vision_end_token_id ?? undefined,
      eos_token_id: typeof t.eos_token_id === "number" ? t.eos_token_id : undefined,
      moe_router_topk: moe ? t.num_experts_per_tok ?? undefined : undefined,
      moe_aux_loss_coeff: moe ? float(t.router_aux_loss_coef ?? 0.001) : undefined,
      vision_config: pythonObject(
        `transformers.models.${variant[0]}.configuration_${variant[0]}.${variant[1]}VisionConfig`,
        pick(c.vision_config, [
          "depth", "hidden_size", "in_channels", "intermediate_size", "num_heads", "num_position_embeddings", "out_hidden_size",
          "patch_size", "spatial_merge_size", "temporal_patch_size"
        ])
      )
    },
    // The reference derives the width of a dense MLP that a MoE model does not have.
    { mimo: true, omit: moe ? ["ffn_hidden_size"] : [] }
  )
}

const describe = (moe: boolean) => (c: Config, headers: HfHeaders): ModelDescription => {
  const t = c.text_config
  const tied = c.tie_word_embeddings ?? false
  const tc = transformer(t, tied, moe)
  const sizes = { experts: t.num_experts ?? 0, hidden: t.hidden_size, ffn: t.moe_intermediate_size ?? 0 }
  return {
    model: Scope.collect((root) => {
      visionTransformer(root.at("vision_model"), visionModel(c.vision_config))
      gpt(root.at("language_model"), tc)
    }),
    rows: table(moe, {
      layers: expertForm(headers, `${HF_TEXT}layers.`, sizes, "packed"),
      mtp: expertForm(headers, "mtp.layers.", sizes, "packed")
    }),
    provider: provider(c, tc, moe),
    components: [
      { name: "language", sourcePrefix: "language_model.", targetModulePath: "language_model" },
      { name: "images", sourcePrefix: "vision_model.", targetModulePath: "modality_submodules.images.encoders.qwen_visual" }
    ],
    carried: tied ? [{ pattern: "lm_head.weight", alias: `${HF_TEXT}embed_tokens.weight` }] : [],
    mtpFields: ["text_config.mtp_num_hidden_layers"]
  }
}

const moeSchema = schema.extend({
  text_config: text.extend({ num_experts: many.min(1), num_experts_per_tok: size, moe_intermediate_size: size })
})
const denseSchema = schema.extend({ text_config: text.extend({ intermediate_size: size }) })

export const qwen3_5Vl = family({
  name: "qwen3.5-vl",
  architectures: ["Qwen3_5ForConditionalGeneration"],
  config: denseSchema,
  describe: describe(false)
})

export const qwen3_5VlMoe = family({
  name: "qwen3.5-vl-moe",
  architectures: ["Qwen3_5MoeForConditionalGeneration"],
  config: moeSchema,
  describe: describe(true)
})
