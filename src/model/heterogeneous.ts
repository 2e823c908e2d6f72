/** Layers that differ from each other: attention and MLP of any layer may have sizes of their own, be one linear map, or be absent. */
import { linear, mlp, layerNorms, selfAttention } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** What one layer has in place of attention and MLP. */
export interface LayerBlocks {
  readonly attention: "none" | "linear" | { readonly groups: number }
  readonly mlp: "none" | "linear" | { readonly ffn: number }
}

/** A linear map in place of a module keeps the module's norm in front of it. */
const replaced = (s: Scope, name: string, c: TransformerConfig): void => {
  s.at(name).block({ kind: "linear", hidden: c.hidden_size })
  linear(s, name, c.hidden_size, c.hidden_size, { parallel: "column", fusedNorm: c.normalization })
}

/** A layer of such blocks: norm, attention or what replaces it, norm, MLP or what replaces it. */
export const heterogeneousLayer = (s: Scope, c: TransformerConfig, block: LayerBlocks): void => {
  if (block.attention === "linear") replaced(s, "self_attention", c)
  else if (block.attention !== "none") selfAttention(s.at("self_attention"), { ...c, num_query_groups: block.attention.groups })
  if (block.mlp === "linear") replaced(s, "mlp", c)
  else if (block.mlp !== "none") mlp(s.at("mlp"), c, block.mlp.ffn, layerNorms(c))
}
