/**
 * Attention of models that alternate channel-wise delta attention with gated latent attention, in the trainer's own modules:
 * names are those of the HF model, the projections are Transformer-Engine linears (with module state), norms and convolutions
 * plain modules. Convolutions, `A_log` and `dt_bias` stay in fp32.
 */
import { FormatError } from "../errors.ts"
import { linear } from "./modules.ts"
import { plainWeight } from "./plain.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** Sizes of delta attention: heads, their width, the width of the convolutions. */
export interface DeltaSizes {
  readonly heads: number
  readonly headDim: number
  /** Width of the short convolutions. */
  readonly kernel: number
}

const column = { parallel: "column" } as const

/** Delta attention whose decay is per channel, from a projection of the rank of one head. */
export const channelDeltaAttention = (s: Scope, c: TransformerConfig, { headDim, heads, kernel }: DeltaSizes): void => {
  const width = heads * headDim
  s.block({ kind: "channel-delta-attention", hidden: c.hidden_size, heads, headDim, kernel })
  s.parameter("A_log", [heads], { splitAxis: 0, keep: "F32" })
  s.parameter("dt_bias", [width], { splitAxis: 0, keep: "F32" })
  for (const name of ["q_proj", "k_proj", "v_proj"]) linear(s, name, width, c.hidden_size, column)
  for (const name of ["q_conv1d", "k_conv1d", "v_conv1d"]) s.parameter(`${name}.weight`, [width, 1, kernel], { splitAxis: 0, keep: "F32" })
  linear(s, "f_a_proj", headDim, c.hidden_size)
  linear(s, "f_b_proj", width, headDim, column)
  linear(s, "b_proj", heads, c.hidden_size, column)
  linear(s, "g_proj", width, c.hidden_size, column)
  plainWeight(s, "o_norm", [headDim])
  linear(s, "o_proj", c.hidden_size, width, { parallel: "row" })
}

/** Latent attention without rotary positions, its output gated. Needs a query rank. */
export const gatedLatentAttention = (s: Scope, c: TransformerConfig): void => {
  const { kv_lora_rank: rank, num_attention_heads: heads, q_lora_rank: queryRank, qk_head_dim: nope, qk_pos_emb_head_dim: extra, v_head_dim: value } = c
  if (!rank || !queryRank || !nope || !extra || !value) throw new FormatError("config/missing", "gated latent attention needs its ranks and widths", { field: "q_lora_rank" })
  s.block({ kind: "latent-attention", hidden: c.hidden_size, heads, queryRank, rank, nopeDim: nope, ropeDim: extra, valueDim: value, outputGate: true })
  linear(s, "q_a_proj", queryRank, c.hidden_size)
  plainWeight(s, "q_a_layernorm", [queryRank])
  linear(s, "q_b_proj", heads * (nope + extra), queryRank, column)
  linear(s, "kv_a_proj_with_mqa", rank + extra, c.hidden_size)
  plainWeight(s, "kv_a_layernorm", [rank])
  linear(s, "kv_b_proj", heads * (nope + value), rank, column)
  linear(s, "g_proj", heads * value, c.hidden_size, column)
  linear(s, "o_proj", c.hidden_size, heads * value, { parallel: "row" })
}
