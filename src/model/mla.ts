/**
 * Multi-latent attention: keys and values (and, with a query rank, queries) are projected down to a latent vector, normalised
 * and projected up. The latents' norms are fused in front of the up-projections; with an indexer in the attention core they are
 * modules of their own. Down-projections are replicated. Rows of `linear_kv_up_proj`: per head its keys without rotary
 * position, then its values. Sources: torch-dist-format.md D.3, the conformance cases.
 */
import { FormatError } from "../errors.ts"
import { linear, norm } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

type Field = "kv_lora_rank" | "qk_head_dim" | "qk_pos_emb_head_dim" | "v_head_dim" | "dsa_indexer_n_heads" | "dsa_indexer_head_dim"

const need = (c: TransformerConfig, field: Field): number => {
  const value = c[field]
  if (value === undefined) throw new FormatError("config/missing", "latent attention needs this field", { field })
  return value
}

/** Selects keys by cheap scores: queries from the query latent, one key head with a LayerNorm, a weight per head. */
export const sparseIndexer = (s: Scope, c: TransformerConfig): void => {
  const heads = need(c, "dsa_indexer_n_heads")
  const width = need(c, "dsa_indexer_head_dim")
  linear(s, "linear_wq_b", heads * width, c.q_lora_rank ?? c.hidden_size)
  linear(s, "linear_wk", width, c.hidden_size)
  norm(s, "k_norm", width, "LayerNorm")
  linear(s, "linear_weights_proj", heads, c.hidden_size)
}

/** What differs among layers of latent attention. */
export interface LatentAttentionOptions {
  /** The layer has an indexer of its own (the default of the sparse variant) or uses an earlier layer's choice. */
  readonly indexer?: boolean
}

/**
 * The attention module without the layer's input norm, which is a module of its own. Without a query rank there is one
 * `linear_q_proj` and no query norm: HF models have none (trainers before the fix of `q_lora_rank: null` build a
 * `linear_q_proj.layer_norm_weight` that nothing can fill).
 */
export const latentAttention = (at: Scope, c: TransformerConfig, options: LatentAttentionOptions = {}): void => {
  const s = at.from(c)
  const sparse = c.experimental_attention_variant === "dsa"
  const fusedNorm = sparse || !c.qk_layernorm ? undefined : c.normalization
  const heads = c.num_attention_heads
  const [rank, nope, rope, value] = [need(c, "kv_lora_rank"), need(c, "qk_head_dim"), need(c, "qk_pos_emb_head_dim"), need(c, "v_head_dim")]
  const indexer = sparse && options.indexer !== false ? { heads: need(c, "dsa_indexer_n_heads"), headDim: need(c, "dsa_indexer_head_dim") } : undefined
  s.block({
    kind: "latent-attention",
    hidden: c.hidden_size,
    heads,
    queryRank: c.q_lora_rank ?? null,
    rank,
    nopeDim: nope,
    ropeDim: rope,
    valueDim: value,
    outputGate: false,
    ...(indexer ? { indexer } : {})
  })
  if (indexer) sparseIndexer(s.at("core_attention.indexer"), c)
  linear(s, "linear_proj", c.hidden_size, heads * value, { parallel: "row", bias: c.add_bias_linear })
  if (c.q_lora_rank) {
    linear(s, "linear_q_down_proj", c.q_lora_rank, c.hidden_size)
    linear(s, "linear_q_up_proj", heads * (nope + rope), c.q_lora_rank, { parallel: "column", fusedNorm })
  } else {
    linear(s, "linear_q_proj", heads * (nope + rope), c.hidden_size, { parallel: "column" })
  }
  linear(s, "linear_kv_down_proj", rank + rope, c.hidden_size)
  linear(s, "linear_kv_up_proj", heads * (nope + value), rank, { parallel: "column", fusedNorm })
  if (sparse && c.qk_layernorm) {
    if (c.q_lora_rank) norm(s, "q_layernorm", c.q_lora_rank, c.normalization)
    norm(s, "kv_layernorm", rank, c.normalization)
  }
}
