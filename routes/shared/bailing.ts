/** What the Bailing (Ling) models and their relatives have in common: config fields, dense-first MoE, one QKV tensor. */
import { z } from "zod"
import type { Table } from "../../src/bridge/Registry.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { NO_PLACE, refuseBiases } from "./biases.ts"
import { denseMlp, fusedAttention } from "./blocks.ts"
import { size } from "./config.ts"
import { type ExpertLayout, routedExperts } from "./experts.ts"
import { transformerOf } from "./llama.ts"
import { denseFirst, expertsOf, moeFields, router, sharedExperts, sharedWidth } from "./moe.ts"

export const EMBEDDING = "word_embeddings"

export const bailingFields = {
  ...moeFields,
  intermediate_size: size,
  moe_intermediate_size: size,
  num_experts_per_tok: size,
  moe_router_enable_expert_bias: z.boolean().nullish(),
  use_qk_norm: z.boolean().nullish(),
  use_qkv_bias: z.boolean().nullish(),
  use_bias: z.boolean().nullish()
}

const schema = z.looseObject(bailingFields)
export type BailingConfig = z.infer<typeof schema>

export const bailingTransformer = (t: BailingConfig, change: Partial<TransformerConfig> = {}): TransformerConfig => {
  refuseBiases(t, ["use_bias"], NO_PLACE.shared)
  return transformerOf(t, {
    add_qkv_bias: t.use_qkv_bias ?? false,
    qk_layernorm: t.use_qk_norm ?? true,
    num_moe_experts: expertsOf(t),
    moe_router_topk: t.num_experts_per_tok,
    moe_layer_freq: denseFirst(t),
    moe_ffn_hidden_size: t.moe_intermediate_size,
    moe_shared_expert_intermediate_size: sharedWidth(t),
    moe_router_enable_expert_bias: t.moe_router_enable_expert_bias ?? true,
    ...change
  })
}

/** MLP rows of one layer, dense or MoE. */
export const bailingMlp = (tc: TransformerConfig, experts: ExpertLayout | undefined): Table => ({
  ...denseMlp,
  ...router("mlp.gate.weight", "mlp.gate.expert_bias"),
  ...sharedExperts(),
  ...routedExperts(tc, experts)
})

export const bailingLayer = (tc: TransformerConfig, experts: ExpertLayout | undefined): Table => ({ ...fusedAttention, ...bailingMlp(tc, experts) })
