/** What the ERNIE 4.5 MoE models have in common: config fields, which layers are MoE, multi-token prediction that stays HF's. */
import { z } from "zod"
import type { Carried } from "../../src/bridge/Family.ts"
import { expandBraces } from "../../src/bridge/Mapping.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { NO_PREDICTION } from "./appendedMtp.ts"
import { count, many, positions, size } from "./config.ts"
import { textFields, transformerOf } from "./llama.ts"
import { perLayer } from "./moe.ts"

export const ernieFields = {
  ...textFields,
  ...positions(131_072),
  num_key_value_heads: size.nullable().default(4),
  rms_norm_eps: z.number().nullable().default(1e-5),
  rope_theta: z.number().nullable().default(500_000),
  intermediate_size: size,
  moe_num_experts: many.min(1),
  moe_num_shared_experts: count.nullish(),
  moe_k: size.default(6),
  moe_layer_start_index: many.nullish(),
  moe_layer_end_index: z.int().min(-1).nullish(),
  moe_layer_interval: size.nullish(),
  mlp_layer_types: z.array(z.enum(["dense", "sparse"])).max(100_000).nullish(),
  router_aux_loss_coef: z.number().nullish(),
  // The trainer's form of these models has no biases.
  use_bias: z.literal(false).nullish()
}

const schema = z.looseObject(ernieFields)
export type ErnieConfig = z.infer<typeof schema>

/** Listed per layer, or every `interval`-th layer from `start` to `end` (−1: the last). */
const ernieFreq = (t: ErnieConfig): ReadonlyArray<number> => {
  if (t.mlp_layer_types) return perLayer(t.mlp_layer_types, t.num_hidden_layers, "mlp_layer_types").map((kind) => (kind === "sparse" ? 1 : 0))
  const start = t.moe_layer_start_index ?? 1
  const end = t.moe_layer_end_index ?? -1
  return Array.from({ length: t.num_hidden_layers }, (_, i) =>
    (i + 1) % (t.moe_layer_interval ?? 1) === 0 && i >= start && (end === -1 || i <= end) ? 1 : 0)
}

/** `ffn`: width of one routed expert, of which the shared experts are multiples. */
export const ernieTransformer = (t: ErnieConfig, ffn: number, tied: boolean): TransformerConfig => {
  const shared = t.moe_num_shared_experts ?? 2
  return transformerOf(t, {
    share_embeddings_and_output_weights: tied,
    num_moe_experts: t.moe_num_experts,
    moe_router_topk: t.moe_k,
    moe_layer_freq: ernieFreq(t),
    moe_ffn_hidden_size: ffn,
    moe_shared_expert_intermediate_size: shared === 0 ? null : shared * ffn,
    moe_router_enable_expert_bias: true
  })
}

/** Multi-token prediction of the published checkpoints, for which the trainer's model has no module. */
export const paddleMtp: ReadonlyArray<Carried> = expandBraces(
  "model.mtp_{block.*.input_layernorm,block.*.post_attention_layernorm,emb_norm.*,hidden_norm.*,linear_proj.*}.weight"
).concat(
  expandBraces("model.mtp_block.*.self_attn.{q,k,v,o}_proj.weight"),
  expandBraces("model.mtp_block.*.mlp.{gate,up,down}_proj.weight")
).map((pattern) => ({ pattern, why: NO_PREDICTION }))
