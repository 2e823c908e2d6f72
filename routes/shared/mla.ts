/**
 * Language models with multi-latent attention, nearly all of them mixtures of experts whose first layers are dense: config
 * fields, TransformerConfig, rows, provider fields, and the whole description of those that differ in constants only.
 */
import { z } from "zod"
import type { FamilyDescription } from "../../src/bridge/Family.ts"
import { float, type PythonValue } from "../../src/runconfig/Provider.ts"
import type { Table } from "../../src/bridge/Registry.ts"
import type { RouterFacts } from "../../src/model/Forward.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { appendedMtp } from "./appendedMtp.ts"
import { NO_PLACE, refuseBiases } from "./biases.ts"
import { denseMlp } from "./blocks.ts"
import { size } from "./config.ts"
import { type ExpertLayout, routedExperts } from "./experts.ts"
import { latentForward, sigmoidRouterFacts } from "./forward.ts"
import { commonOf, transformerOf } from "./llama.ts"
import { BLOCK_SPEC, denseFirst, expertsOf, GROUPED, moeFields, router, sharedExperts, sharedWidth } from "./moe.ts"
import { gptProvider } from "./provider.ts"
import { type RopeScaling, scalingOf } from "./ropeScaling.ts"
import type { TextLayout } from "./textLayout.ts"
import { textModel } from "./textModel.ts"

/** Config fields of latent attention: ranks and head widths. */
export const mlaFields = {
  q_lora_rank: size.nullish(),
  kv_lora_rank: size,
  qk_nope_head_dim: size,
  qk_rope_head_dim: size,
  v_head_dim: size
}

const fields = z.looseObject(mlaFields)
type Latent = z.infer<typeof fields>

/** What latent attention changes in a TransformerConfig. Config classes call the rotary part of a head `head_dim`. */
export const mlaOf = (t: Latent & { readonly head_dim?: number | null | undefined }): Partial<TransformerConfig> => ({
  multi_latent_attention: true,
  qk_layernorm: true,
  kv_channels: t.head_dim ?? t.qk_rope_head_dim,
  q_lora_rank: t.q_lora_rank ?? null,
  kv_lora_rank: t.kv_lora_rank,
  qk_head_dim: t.qk_nope_head_dim,
  qk_pos_emb_head_dim: t.qk_rope_head_dim,
  v_head_dim: t.v_head_dim
})

/** Rows of latent attention, its norms fused or not; the input norm is a module of its own. */
export const latentAttentionRows = (prefix = "self_attn.", output = "o_proj"): Table => ({
  "input_layernorm.weight": "input_layernorm.weight",
  "self_attention.linear_proj.weight": `${prefix}${output}.weight`,
  "self_attention.linear_q_proj.weight": `${prefix}q_proj.weight`,
  "self_attention.linear_q_down_proj.weight": `${prefix}q_a_proj.weight`,
  "self_attention.linear_q_up_proj.layer_norm_weight": `${prefix}q_a_layernorm.weight`,
  "self_attention.linear_q_up_proj.weight": `${prefix}q_b_proj.weight`,
  "self_attention.linear_kv_down_proj.weight": `${prefix}kv_a_proj_with_mqa.weight`,
  "self_attention.linear_kv_up_proj.layer_norm_weight": `${prefix}kv_a_layernorm.weight`,
  "self_attention.linear_kv_up_proj.weight": `${prefix}kv_b_proj.weight`,
  "self_attention.q_layernorm.weight": `${prefix}q_a_layernorm.weight`,
  "self_attention.kv_layernorm.weight": `${prefix}kv_a_layernorm.weight`
})

/** Its attention's flag is about the projections to the latents and the output. */
const refuseLatentBiases = (t: { readonly attention_bias?: boolean | null | undefined }): void =>
  refuseBiases(t, ["attention_bias"], NO_PLACE.latent)

/** Rotary fields: latent attention always stretches; by the factor 1 where the config says nothing. */
export const mlaRope = (t: Parameters<typeof scalingOf>[0]): Record<string, PythonValue> => {
  const s = scalingOf(t)
  if (s?.kind !== "yarn") return { rotary_scaling_factor: float(1), mscale_all_dim: float(1) }
  const pairs: ReadonlyArray<readonly [string, keyof RopeScaling & string]> = [
    ["rotary_scaling_factor", "factor"],
    ["original_max_position_embeddings", "original_max_position_embeddings"],
    ["beta_fast", "beta_fast"],
    ["beta_slow", "beta_slow"],
    ["mscale", "mscale"],
    ["mscale_all_dim", "mscale_all_dim"]
  ]
  return Object.fromEntries(pairs.flatMap(([field, key]) => (typeof s[key] === "number" ? [[field, s[key]]] : [])))
}

/** Config fields of models with latent attention and experts. */
export const latentMoeFields = { ...moeFields, ...mlaFields, intermediate_size: size, moe_intermediate_size: size, num_experts_per_tok: size }
const schema = z.looseObject(latentMoeFields)
/** Those fields, parsed. */
export type LatentMoe = z.infer<typeof schema>

/** The provider class of models with latent attention that have none of their own. */
export const MLA = "megatron.bridge.models.mla_provider.MLAModelProvider"

/** What differs among these models. */
export interface LatentMoeOptions {
  /** Dense layers in front, if the config does not say. */
  readonly dense: number
  /** The router corrects its scores by a bias. */
  readonly expertBias: boolean
  readonly target?: string
  readonly extra: Readonly<Record<string, PythonValue | undefined>>
  /** How the router chooses, if not by sigmoid within groups. */
  readonly router?: RouterFacts
}

/** Their TransformerConfig; `dense`: dense layers in front where the config does not say. */
export const latentMoeTransformer = (t: LatentMoe, dense: number, change: Partial<TransformerConfig>): TransformerConfig => {
  refuseLatentBiases(t)
  return transformerOf(t, {
    ...mlaOf(t),
    num_moe_experts: expertsOf(t),
    moe_router_topk: t.num_experts_per_tok,
    moe_ffn_hidden_size: t.moe_intermediate_size,
    moe_shared_expert_intermediate_size: sharedWidth(t),
    moe_layer_freq: denseFirst(t, dense),
    ...change
  })
}

/** Rows of one layer, dense or MoE. */
export const latentMoeLayer = (tc: TransformerConfig, experts: ExpertLayout | undefined): Table => ({
  ...latentAttentionRows(),
  ...denseMlp,
  ...router("mlp.gate.weight", "mlp.gate.e_score_correction_bias"),
  ...sharedExperts(),
  ...routedExperts(tc, experts)
})

/**
 * Queries without a rank have no norm, but the trainer's plain layers give them one as soon as keys and values have theirs. The
 * reference's builder of such layers came after the revision of the conformance cases, where the import of these models fails.
 */
const UNRANKED_SPEC: PythonValue = {
  _args_: [],
  _partial_: true,
  _target_: "megatron.bridge.models.deepseek.attention.get_deepseek_decoder_block_spec",
  use_transformer_engine: true
}

/** What the user of a model without a query rank should know. */
const unrankedNotes = (t: LatentMoe): ReadonlyArray<string> =>
  t.q_lora_rank
    ? []
    : ["q_lora_rank is null: queries have no norm, which takes a Megatron-Bridge that has get_deepseek_decoder_block_spec; earlier ones ask for a linear_q_proj.layer_norm_weight that the model does not have"]

/** Provider fields that all of them share. */
export const latentMoeExtra = (t: LatentMoe): Record<string, PythonValue | undefined> => ({
  hidden_dropout: float(0),
  attention_dropout: float(t.attention_dropout ?? 0),
  transformer_layer_spec: t.q_lora_rank ? BLOCK_SPEC : UNRANKED_SPEC,
  ...GROUPED,
  ...mlaRope(t),
  moe_router_num_groups: t.n_group ?? undefined,
  moe_router_group_topk: t.topk_group ?? undefined,
  moe_router_topk_scaling_factor: t.routed_scaling_factor ?? undefined,
  moe_router_pre_softmax: true,
  moe_router_dtype: "fp32"
})

/** The description of a text model whose layers are all of this kind, with multi-token prediction as appended layers. */
export const latentMoe = (t: LatentMoe, { experts, modules }: TextLayout, { dense, expertBias, extra, router: routing, target = MLA }: LatentMoeOptions): FamilyDescription => {
  const tc = latentMoeTransformer(t, dense, { moe_router_enable_expert_bias: expertBias, mtp_num_layers: modules })
  const table = latentMoeLayer(tc, experts)
  const mtp = appendedMtp({ layers: t.num_hidden_layers, modules, table, tied: tc.share_embeddings_and_output_weights })
  return textModel({
    tc,
    table,
    rows: mtp.rows,
    provider: gptProvider(target, tc, commonOf(t), { ...latentMoeExtra(t), ...extra }),
    forward: latentForward(t, routing ?? sigmoidRouterFacts(t)),
    carried: mtp.carried,
    mtpFields: ["num_nextn_predict_layers"],
    notes: unrankedNotes(t)
  })
}
