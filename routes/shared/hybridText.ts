/**
 * Text models in which most layers are Gated DeltaNet and every fourth is full attention with an output gate, dense or MoE,
 * with optional multi-token prediction: config fields, TransformerConfig, rows, provider fields. Families with and without a
 * vision tower share them.
 */
import { z } from "zod"
import type { HfHeaders } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import { float, pythonName } from "../../src/runconfig/Provider.ts"
import { rows, type Table } from "../../src/bridge/Registry.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { attentionBiases, biasFields, NO_PLACE, refuseBiases, withZeroBiases, zeroBiases } from "./biases.ts"
import { attention, denseMlp, gatedDeltaNetRows, fcMtp, mlpBiases, qkNorm, sharedExpertMoe } from "./blocks.ts"
import { many, positions, size } from "./config.ts"
import { type ExpertLayout, expertLayout, routedExperts } from "./experts.ts"
import { commonOf, frameRows, headDimOf, type TextPrefixes, transformerOf } from "./llama.ts"
import { moeFields, sparseMoe, sparseStep } from "./moe.ts"
import { mropeOf } from "./multimodal.ts"
import type { CommonFields } from "./provider.ts"

/** Absent fields have the defaults of the published config classes. */
export const hybridFields = {
  ...moeFields,
  ...positions(32_768),
  layer_types: z.array(z.enum(["linear_attention", "full_attention"])).nullish(),
  full_attention_interval: size.nullish(),
  linear_num_key_heads: size.default(16),
  linear_num_value_heads: size.default(32),
  linear_key_head_dim: size.default(128),
  linear_value_head_dim: size.default(128),
  linear_conv_kernel_dim: size.default(4),
  mtp_num_hidden_layers: many.nullish(),
  shared_expert_intermediate_size: many.nullish(),
  decoder_sparse_step: size.nullish(),
  mlp_only_layers: z.array(many).nullish()
}

export const hybridDenseFields = { num_key_value_heads: size.nullable().default(4), intermediate_size: size }
export const hybridMoeFields = { num_key_value_heads: size.nullable().default(2), num_experts_per_tok: size.default(8), moe_intermediate_size: size, shared_expert_intermediate_size: many.default(512) }

const schema = z.looseObject(hybridFields)
export type HybridText = z.infer<typeof schema>

const linearLayers = (t: HybridText): ReadonlyArray<number> =>
  t.layer_types?.map((kind) => (kind === "linear_attention" ? 1 : 0)) ??
    Array.from({ length: t.num_hidden_layers }, (_, i) => ((i + 1) % (t.full_attention_interval ?? 4) === 0 ? 0 : 1))

export const hybridTransformer = (t: HybridText, { moe, mtp, tied }: { readonly moe: boolean; readonly mtp: number; readonly tied: boolean }): TransformerConfig => {
  if (moe) refuseBiases(t, ["attention_bias"], NO_PLACE.shared)
  return transformerOf(t, {
      kv_channels: t.head_dim === undefined ? 256 : headDimOf(t),
      ...biasFields(attentionBiases(t)),
      qk_layernorm: true,
      attention_output_gate: true,
      share_embeddings_and_output_weights: tied,
      hetereogenous_dist_checkpoint: true,
      linear_attention_freq: linearLayers(t),
      linear_num_key_heads: t.linear_num_key_heads,
      linear_num_value_heads: t.linear_num_value_heads,
      linear_key_head_dim: t.linear_key_head_dim,
      linear_value_head_dim: t.linear_value_head_dim,
      linear_conv_kernel_dim: t.linear_conv_kernel_dim,
      mtp_num_layers: mtp,
      ...(moe
        ? {
          ...sparseMoe({ ...t, num_experts_per_tok: t.num_experts_per_tok ?? 8 }),
          moe_shared_expert_intermediate_size: t.shared_expert_intermediate_size || null,
          moe_shared_expert_gate: true
        }
        : {})
    })
}

/** The reference derives the width of dense MLPs where no layer has one, whatever config.json says. */
export const withoutUnusedWidth = (t: HybridText, moe: boolean): HybridText =>
  moe && sparseStep(t).moe_layer_freq === undefined ? { ...t, intermediate_size: null } : t

/** Layers and multi-token prediction may hold their experts in different forms. */
export interface HybridLayout {
  readonly experts: ExpertLayout | undefined
  readonly mtpExperts: ExpertLayout | undefined
}

export const hybridLayout = (headers: HfHeaders, model: string): HybridLayout => ({ experts: expertLayout(headers, model), mtpExperts: expertLayout(headers, "mtp.") })

/** Rows of the text model; layers and MTP may hold their experts in different forms. `linear`: rows of a Gated DeltaNet. */
export const hybridRows = (
  t: HybridText,
  layout: HybridLayout,
  names: Required<TextPrefixes>,
  { experts, linear = gatedDeltaNetRows, mtp = true, tc }: {
    readonly experts: "packed" | "separate"
    readonly linear?: Table
    /** The model may have multi-token prediction. */
    readonly mtp?: boolean
    readonly tc: TransformerConfig
  }
): ReadonlyArray<Row> => {
  const mlp = (lying: ExpertLayout | undefined): Table =>
    tc.num_moe_experts ? { ...denseMlp, ...sharedExpertMoe, ...routedExperts(tc, lying, { otherwise: experts }) } : denseMlp
  const biases = attentionBiases(t)
  // A model with experts has none.
  const full = { ...attention, ...qkNorm, ...(tc.num_moe_experts ? {} : mlpBiases) }
  return [
    ...frameRows(names),
    ...rows(`${names.megatron}decoder.layers.*.`, `${names.model}layers.*.`, withZeroBiases({ ...full, ...linear, ...mlp(layout.experts) }, biases)),
    ...(mtp ? fcMtp(tc.mtp_num_layers ?? 0, withZeroBiases({ ...full, ...mlp(layout.mtpExperts) }, biases), "mtp_num_hidden_layers", names.megatron) : [])
  ]
}

/** Only attention has them in HF; a MoE model with them is refused. */
export const hybridZeroBiases = (t: HybridText) => zeroBiases(attentionBiases(t))

export const hybridCommon = (t: HybridText): CommonFields => ({
  ...commonOf(t),
  rotary_percent: t.rope_parameters?.partial_rotary_factor ?? t.partial_rotary_factor ?? 0.25
})

/** Fields that every provider of these models is told. */
export const hybridExtra = (t: HybridText, moe: boolean) => ({
  hidden_dropout: float(0),
  attention_dropout: float(t.attention_dropout ?? 0),
  mrope_section: mropeOf(t),
  ...(moe ? { moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001) } : {})
})

/** And fields that a provider without a class of its own must be told. */
export const plainHybridExtra = (moe: boolean) => ({
  experimental_attention_variant: "gdn",
  layernorm_zero_centered_gamma: true,
  transformer_layer_spec: pythonName(
    "megatron.core.models.gpt.experimental_attention_variant_module_specs.get_transformer_block_with_experimental_attention_variant_spec"
  ),
  ...(moe
    ? { moe_grouped_gemm: true, moe_permute_fusion: true, moe_router_load_balancing_type: "global_aux_loss", moe_token_dispatcher_type: "alltoall" }
    : {})
})
