/**
 * Linear attention with a fixed decay per head: one projection for q, k and v (per head its q, k, v rows), norms of each query
 * and key head, a gate of the output behind a norm over groups of heads. The norms are plain modules without state; the input
 * norm is a module of the layer.
 */
import { linear } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** Linear attention with a fixed decay per head: one projection for queries, keys, values, an output norm and gate. */
export const lightningAttention = (s: Scope, c: TransformerConfig, headDim: number): void => {
  const heads = c.num_attention_heads
  const width = heads * headDim
  s.block({ kind: "lightning-attention", hidden: c.hidden_size, heads, headDim })
  linear(s, "linear_qkv", 3 * width, c.hidden_size, { parallel: "column", attention: { heads, groups: heads, headDim } })
  linear(s, "linear_gate", width, c.hidden_size, { parallel: "column" })
  linear(s, "linear_proj", c.hidden_size, width, { parallel: "row" })
  s.parameter("q_layernorm.weight", [headDim])
  s.parameter("k_layernorm.weight", [headDim])
  s.parameter("gate_norm.weight", [width], { splitAxis: 0 })
}
