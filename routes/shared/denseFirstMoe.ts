/** Text models with dense layers in front of MoE ones, biased routers and multi-token prediction as appended layers. */
import type { z } from "zod"
import type { Table } from "../../src/bridge/Registry.ts"
import { appendedMtp } from "./appendedMtp.ts"
import { attention, denseMlp, qkNorm } from "./blocks.ts"
import { size } from "./config.ts"
import { routedExperts } from "./experts.ts"
import { transformerOf } from "./llama.ts"
import type { TextLayout } from "./textLayout.ts"
import { denseFirst, expertsOf, moeFields, sharedWidth } from "./moe.ts"

/** Config fields of these models. */
export const denseFirstFields = { ...moeFields, intermediate_size: size, moe_intermediate_size: size, num_experts_per_tok: size }

/** What differs among these models. */
export interface DenseFirstNames {
  readonly qkNorm: boolean
  /** Number of shared experts, if the config does not say. */
  readonly shared?: number
  /** Rows of router and shared experts. */
  readonly mlp: Table
  /** HF name of the final norm of multi-token prediction. */
  readonly finalNorm?: string
}

/** TransformerConfig, rows of one layer, and multi-token prediction. */
export const denseFirstMoe = (t: z.infer<z.ZodObject<typeof denseFirstFields>>, { experts, modules }: TextLayout, names: DenseFirstNames) => {
  const tc = transformerOf(t, {
    add_qkv_bias: t.attention_bias ?? false,
    qk_layernorm: names.qkNorm,
    num_moe_experts: expertsOf(t),
    moe_router_topk: t.num_experts_per_tok,
    moe_layer_freq: denseFirst(t, 1),
    moe_ffn_hidden_size: t.moe_intermediate_size,
    moe_shared_expert_intermediate_size: sharedWidth({ ...t, num_shared_experts: t.num_shared_experts ?? t.n_shared_experts ?? names.shared }),
    moe_router_enable_expert_bias: true,
    mtp_num_layers: modules
  })
  const table = { ...attention, ...qkNorm, ...denseMlp, ...names.mlp, ...routedExperts(tc, experts) }
  const mtp = appendedMtp({
    layers: t.num_hidden_layers,
    modules,
    table,
    tied: tc.share_embeddings_and_output_weights,
    ...(names.finalNorm ? { finalNorm: names.finalNorm } : {})
  })
  return { tc, table, mtp }
}
