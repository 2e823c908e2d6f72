/**
 * Mixture-of-experts language models: config fields under their various HF names, which layers are MoE, rows of router and
 * shared experts, provider fields of the trainer's grouped experts. The routed experts' rows are in `experts.ts`.
 */
import { z } from "zod"
import { gatedMlpOf } from "../../src/bridge/kinds.ts"
import { float, type PythonValue } from "../../src/runconfig/Provider.ts"
import type { Table } from "../../src/bridge/Registry.ts"
import { FormatError } from "../../src/errors.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { count, many, size } from "./config.ts"
import { textFields } from "./llama.ts"
import { defined } from "./provider.ts"

/** Config fields of models with experts, under all their published names. */
export const moeFields = {
  ...textFields,
  num_experts: many.nullish(),
  num_local_experts: many.nullish(),
  n_routed_experts: many.nullish(),
  num_experts_per_tok: size.nullish(),
  moe_intermediate_size: size.nullish(),
  num_shared_experts: count.nullish(),
  n_shared_experts: count.nullish(),
  first_k_dense_replace: many.nullish(),
  mlp_layer_types: z.array(z.enum(["dense", "sparse"])).max(100_000).nullish(),
  aux_loss_alpha: z.number().nullish(),
  router_aux_loss_coef: z.number().nullish(),
  scoring_func: z.string().max(64).nullish(),
  norm_topk_prob: z.boolean().nullish(),
  routed_scaling_factor: z.number().nullish(),
  n_group: size.nullish(),
  topk_group: size.nullish(),
  num_nextn_predict_layers: many.nullish()
}

const schema = z.looseObject(moeFields)
/** Those fields, parsed. */
export type MoeConfig = z.infer<typeof schema>

type ExpertCounts = Pick<MoeConfig, "num_experts" | "num_local_experts" | "n_routed_experts">

/** Number of routed experts, by whichever name the config has. */
export const expertsOf = (t: ExpertCounts): number => {
  const found = t.num_experts ?? t.num_local_experts ?? t.n_routed_experts
  if (!found) throw new FormatError("config/no-experts", "there is no number of routed experts", { field: "num_experts" })
  return found
}

/** A value that a MoE layer cannot do without. */
export const required = <T>(value: T | null | undefined, field: string): T => {
  if (value === null || value === undefined) throw new FormatError("config/missing", "a mixture of experts needs this field", { field })
  return value
}

/** A per-layer list of config.json; what it says beyond the decoder's layers is about multi-token prediction. */
export const perLayer = <T>(values: ReadonlyArray<T>, layers: number, field: string): ReadonlyArray<T> => {
  if (values.length < layers) throw new FormatError("config/layers", `${values.length} entries for ${layers} layers`, { field })
  return values.slice(0, layers)
}

/** 1 = MoE, 0 = dense, per layer: as listed, or dense up to a layer. */
export const denseFirst = (t: Pick<MoeConfig, "num_hidden_layers" | "first_k_dense_replace" | "mlp_layer_types">, otherwise = 0): ReadonlyArray<number> =>
  t.mlp_layer_types
    ? perLayer(t.mlp_layer_types, t.num_hidden_layers, "mlp_layer_types").map((kind) => (kind === "sparse" ? 1 : 0))
    : Array.from({ length: t.num_hidden_layers }, (_, i) => (i < (t.first_k_dense_replace ?? otherwise) ? 0 : 1))

/**
 * Every `decoder_sparse_step`-th layer is MoE unless `mlp_only_layers` names it. Undefined if all are: then the layers are
 * alike, and the trainer stacks them.
 */
export const sparseStep = (t: {
  readonly num_hidden_layers: number
  readonly decoder_sparse_step?: number | null | undefined
  readonly mlp_only_layers?: ReadonlyArray<number> | null | undefined
}): Pick<TransformerConfig, "moe_layer_freq"> => {
  const dense = new Set(t.mlp_only_layers)
  const freq = Array.from({ length: t.num_hidden_layers }, (_, i) => (!dense.has(i) && (i + 1) % (t.decoder_sparse_step ?? 1) === 0 ? 1 : 0))
  return freq.includes(0) ? { moe_layer_freq: freq } : {}
}

/** Routed experts in every layer, or as {@link sparseStep} says. */
export const sparseMoe = (t: Parameters<typeof sparseStep>[0] & ExpertCounts & Pick<MoeConfig, "moe_intermediate_size" | "num_experts_per_tok">): Partial<TransformerConfig> => ({
  num_moe_experts: expertsOf(t),
  moe_router_topk: t.num_experts_per_tok ?? undefined,
  moe_ffn_hidden_size: required(t.moe_intermediate_size, "moe_intermediate_size"),
  ...sparseStep(t)
})

/** Weight of the auxiliary loss by either name; undefined, and so the trainer's default, where the config has none. */
export const auxLossOf = (t: Pick<MoeConfig, "aux_loss_alpha" | "router_aux_loss_coef">): PythonValue | undefined => {
  const found = t.aux_loss_alpha ?? t.router_aux_loss_coef
  return typeof found === "number" ? float(found) : undefined
}

/** Shared experts are one MLP of their summed width. */
export const sharedWidth = (t: Pick<MoeConfig, "moe_intermediate_size" | "num_shared_experts" | "n_shared_experts">, each = t.moe_intermediate_size): number | null => {
  const shared = t.num_shared_experts ?? t.n_shared_experts ?? 0
  return shared === 0 ? null : shared * required(each, "moe_intermediate_size")
}

/** Norm, router and, where it has a name, the router's correction bias. */
export const router = (gate: string, bias?: string): Table => ({
  "pre_mlp_layernorm.weight": "post_attention_layernorm.weight",
  "mlp.router.weight": gate,
  ...(bias === undefined ? {} : { "mlp.router.expert_bias": bias })
})

/** Rows of the shared experts' MLP. */
export const sharedExperts = (prefix = "mlp.shared_experts."): Table => ({
  "mlp.shared_experts.linear_fc1.weight": gatedMlpOf(`${prefix}{gate,up}_proj.weight`),
  "mlp.shared_experts.linear_fc2.weight": `${prefix}down_proj.weight`
})

/** Layers that differ (dense and MoE ones) need the trainer's block spec. */
export const BLOCK_SPEC: PythonValue = {
  _args_: [],
  _partial_: true,
  _target_: "megatron.core.models.gpt.gpt_layer_specs.get_gpt_decoder_block_spec",
  use_transformer_engine: true
}

/** The trainer's grouped experts. */
export const GROUPED = { moe_grouped_gemm: true, moe_permute_fusion: true, moe_token_dispatcher_type: "alltoall" } as const

/** Routers that score by sigmoid, correct the scores by a bias and choose within groups of experts. */
export const sigmoidRouter = (t: Pick<MoeConfig, "n_group" | "topk_group" | "routed_scaling_factor">) =>
  defined({
    moe_router_score_function: "sigmoid",
    moe_router_num_groups: t.n_group ?? undefined,
    moe_router_group_topk: t.topk_group ?? undefined,
    moe_router_topk_scaling_factor: t.routed_scaling_factor ?? undefined
  })
