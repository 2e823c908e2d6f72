/**
 * The Step-3.5 language model: full and sliding attention with different numbers of heads, one output gate per head, dense
 * layers first, experts stacked per projection, multi-token prediction with dense layers behind the decoder.
 */
import { z } from "zod"
import type { Carried, HfHeaders } from "../../src/bridge/Family.ts"
import { headGatedQkvOf, packedExpertOf } from "../../src/bridge/kinds.ts"
import { stackedGatedExpertOf } from "../../src/bridge/kinds/experts.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import { float, pythonName, type PythonValue } from "../../src/runconfig/Provider.ts"
import { rows, type Table } from "../../src/bridge/Registry.ts"
import { FormatError } from "../../src/errors.ts"
import { type GptOptions, transformerLayer } from "../../src/model/gpt.ts"
import { isMoe, type TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { appendedModules, appendedMtp } from "./appendedMtp.ts"
import { attention, denseMlp, qkNorm } from "./blocks.ts"
import { many, positions, size } from "./config.ts"
import { extraOf, frameRows, rotaryBuffers, textFields, transformerOf } from "./llama.ts"
import { GROUPED, perLayer, required, router, sharedExperts } from "./moe.ts"
import { defined } from "./provider.ts"

const index = z.coerce.number().int().min(0).max(100_000)

export const stepFields = {
  ...textFields,
  ...positions(128_000),
  rope_theta: z.union([z.number(), z.array(z.number()).min(1)]).nullish(),
  num_attention_groups: size.nullish(),
  intermediate_size: size,
  moe_num_experts: many.min(1).nullish(),
  n_routed_experts: many.min(1).nullish(),
  rms_norm_eps: z.number().nullable().default(1e-5),
  moe_top_k: size.nullish(),
  num_experts_per_tok: size.nullish(),
  moe_intermediate_size: size,
  share_expert_dim: size.nullish(),
  share_expert_dims: size.nullish(),
  /** Numbers of the MoE layers: a list, or its text. */
  moe_layers_enum: z.union([z.array(index), z.string().max(1 << 20)]).nullish(),
  mlp_layer_types: z.array(z.enum(["dense", "sparse"])).max(100_000).nullish(),
  moe_router_activation: z.enum(["sigmoid", "softmax"]).nullish(),
  moe_router_scaling_factor: z.number().nullish(),
  use_moe_router_bias: z.boolean().nullish(),
  need_fp32_gate: z.boolean().nullish(),
  use_head_wise_attn_gate: z.boolean().nullish(),
  use_qk_norm: z.boolean().nullish(),
  zero_centered: z.boolean().nullish(),
  layer_types: z.array(z.enum(["full_attention", "sliding_attention"])).max(100_000).nullish(),
  attention_other_setting: z.looseObject({
    attention_type: z.string().nullish(),
    num_attention_heads: size.nullish(),
    num_attention_groups: size.nullish(),
    head_dim: size.nullish()
  }).nullish(),
  num_sliding_attention_heads: size.nullish(),
  sliding_window: size.nullish(),
  num_nextn_predict_layers: many.nullish()
}

const schema = z.looseObject(stepFields)
export type StepConfig = z.infer<typeof schema>

/** By default every layer from the fourth on. */
const moeFreq = (t: StepConfig): ReadonlyArray<number> => {
  if (t.mlp_layer_types) return perLayer(t.mlp_layer_types, t.num_hidden_layers, "mlp_layer_types").map((kind) => (kind === "sparse" ? 1 : 0))
  const listed = typeof t.moe_layers_enum === "string" ? t.moe_layers_enum.split(",").filter((s) => s.trim() !== "") : t.moe_layers_enum
  const parsed = listed && z.array(index).safeParse(listed)
  if (parsed && !parsed.success) throw new FormatError("config/layers", "not a list of layer numbers", { field: "moe_layers_enum" })
  const layers = parsed && new Set(parsed.data)
  return Array.from({ length: t.num_hidden_layers }, (_, i) => ((layers ? layers.has(i) : i >= 3) ? 1 : 0))
}

/** Rotary bases: the first layer's, and all of them where they differ. */
export const stepRope = (t: StepConfig): { readonly first: number; readonly perLayer?: ReadonlyArray<number> } => {
  if (Array.isArray(t.rope_theta)) return { first: t.rope_theta[0]!, perLayer: t.rope_theta }
  const byType = z.record(z.string(), z.looseObject({ rope_theta: z.number() })).safeParse(t.rope_parameters)
  if (byType.success) {
    const first = byType.data["full_attention"]?.rope_theta ?? 10_000
    const perLayer = t.layer_types?.map((kind) => byType.data[kind]?.rope_theta ?? first)
    return perLayer?.some((theta) => theta !== first) ? { first, perLayer } : { first }
  }
  return { first: t.rope_theta ?? t.rope_parameters?.rope_theta ?? 10_000 }
}

export interface StepText {
  readonly tc: TransformerConfig
  readonly options: GptOptions
  readonly rows: ReadonlyArray<Row>
  readonly fields: Record<string, PythonValue>
  readonly carried: ReadonlyArray<Carried>
}

export interface StepLayout {
  /** Multi-token-prediction modules. */
  readonly modules: number
  readonly routerBias: boolean
  /** Gate and up of all experts in one tensor. */
  readonly fusedExperts: boolean
}

export const stepLayout = (t: StepConfig, headers: HfHeaders): StepLayout => {
  const has = (end: string) => headers.names.some((name) => name.endsWith(end))
  return { modules: appendedModules(headers, t), routerBias: has(".moe.router_bias"), fusedExperts: has(".moe.gate_up_proj.weight") }
}

/** `gated`: the output gate's default. `megatron`: prefix of the language model. */
export const stepText = (t: StepConfig, { fusedExperts, modules, routerBias }: StepLayout, gated: boolean, megatron = ""): StepText => {
  const experts = required(t.moe_num_experts ?? t.n_routed_experts, "moe_num_experts")
  const gate = t.use_head_wise_attn_gate ?? gated
  const plain = { ...t, rope_theta: stepRope(t).first, num_key_value_heads: t.num_attention_groups ?? t.num_key_value_heads }
  const tc = transformerOf(plain, {
    qk_layernorm: t.use_qk_norm ?? true,
    attention_output_gate: gate,
    num_moe_experts: experts,
    moe_router_topk: t.moe_top_k ?? t.num_experts_per_tok ?? 8,
    moe_layer_freq: moeFreq(t),
    moe_ffn_hidden_size: t.moe_intermediate_size,
    moe_shared_expert_intermediate_size: t.share_expert_dim ?? t.share_expert_dims ?? null,
    moe_router_enable_expert_bias: t.use_moe_router_bias ?? routerBias,
    mtp_num_layers: modules
  })
  const other = t.attention_other_setting?.attention_type === "sliding_attention" ? t.attention_other_setting : undefined
  const sliding: TransformerConfig = {
    ...tc,
    num_attention_heads: other?.num_attention_heads ?? t.num_sliding_attention_heads ?? tc.num_attention_heads,
    num_query_groups: other?.num_attention_groups ?? tc.num_query_groups,
    kv_channels: other?.head_dim ?? tc.kv_channels
  }
  /** The config of a layer; those of multi-token prediction follow the decoder's. */
  const configOf = (i: number): TransformerConfig => (t.layer_types?.[i] === "sliding_attention" ? sliding : tc)
  const dense: Table = {
    ...attention,
    ...(gate ? { "self_attention.linear_qkv.weight": headGatedQkvOf("self_attn.{q,k,v,g}_proj.weight") } : {}),
    ...qkNorm,
    ...denseMlp
  }
  const table: Table = {
    ...dense,
    ...router("moe.gate.weight", "moe.router_bias"),
    "mlp.experts.linear_fc1.weight*": fusedExperts
      ? packedExpertOf({ experts, transposed: false }, "moe.gate_up_proj.weight")
      : stackedGatedExpertOf(experts, "moe.{gate,up}_proj.weight"),
    "mlp.experts.linear_fc2.weight*": packedExpertOf({ experts, transposed: false }, "moe.down_proj.weight"),
    ...sharedExperts("share_expert.")
  }
  const tied = tc.share_embeddings_and_output_weights
  const mtp = appendedMtp({
    layers: t.num_hidden_layers,
    modules,
    table: dense,
    finalNorm: "transformer.shared_head.norm.weight",
    head: "transformer.shared_head.output.weight",
    tied,
    megatron
  })
  return {
    tc,
    options: {
      layer: (layer, i) => transformerLayer(layer, configOf(i), { linearAttention: false, moe: isMoe(tc, i) }),
      mtpLayer: (layer, k) => transformerLayer(layer, configOf(tc.num_layers + k), { linearAttention: false, moe: false })
    },
    rows: [...mtp.rows, ...frameRows({ megatron }), ...rows(`${megatron}decoder.layers.*.`, "model.layers.*.", table)],
    fields: {
      ...extraOf(plain),
      ...GROUPED,
      ...defined({
        transformer_layer_spec: pythonName("megatron.bridge.models.stepfun.step35_bridge.build_step35_layer_spec"),
        layernorm_zero_centered_gamma: t.zero_centered ?? true,
        head_wise_attn_gate: gate,
        layer_types: t.layer_types ?? undefined,
        sliding_attention_setting: {
          window_size: [t.sliding_window ?? 512, 0],
          num_attention_heads: sliding.num_attention_heads,
          num_query_groups: sliding.num_query_groups,
          kv_channels: sliding.kv_channels
        },
        rotary_base_per_layer: stepRope(t).perLayer,
        moe_router_score_function: t.moe_router_activation ?? undefined,
        moe_router_topk_scaling_factor: t.moe_router_scaling_factor ?? undefined,
        moe_router_dtype: t.need_fp32_gate ? "fp32" : undefined,
        moe_aux_loss_coeff: float(0.001),
        mtp_num_layers: modules
      })
    },
    carried: [...rotaryBuffers(), ...mtp.carried]
  }
}
