/**
 * A GPT whose layers attend either within a sliding window or globally, with heads of different width and number. In memory
 * both are `self_attention`; on disk each kind has a key of its own and is stacked among its own kind only.
 */
import { FormatError } from "../errors.ts"
import { gpt } from "./gpt.ts"
import { experts, linear, mlp, norm, selfAttention } from "./modules.ts"
import { plainLayer, plainWeight } from "./plain.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** How far a layer attends: within a window, or everywhere. */
export type AttentionReach = "sliding" | "global"

/** What such a model is: which layers attend how far, and the heads of those that attend globally. */
export interface SlidingGlobal {
  /** Heads of sliding layers are those of `c`. */
  readonly c: TransformerConfig
  readonly reach: ReadonlyArray<AttentionReach>
  readonly global: { readonly kv_channels: number; readonly num_query_groups: number }
}

const attentionScope = (layer: Scope, { reach }: SlidingGlobal, index: number): Scope => {
  const own = reach[index]!
  const before = reach.slice(0, index).filter((kind) => kind === own).length
  return layer.at("self_attention", `self_attention_${own}`).restacked(before, reach.filter((kind) => kind === own).length)
}

const attentionConfig = ({ c, global, reach }: SlidingGlobal, index: number): TransformerConfig =>
  reach[index] === "global" ? { ...c, ...global } : c

/** What the dense form adds: an embedding per layer of this width, wider MLPs, … */
export interface DenseOptions {
  /** Rows and width of the embedding that every layer gets a slice of; width 0: none. */
  readonly perLayer: { readonly vocabulary: number; readonly width: number }
  /** MLP width of a layer. */
  readonly ffn: (index: number) => number
}

/** Norms before and after attention and MLP, none of them fused; linear modules whose state is None, norms without any. */
const denseLayer = (s: Scope, m: SlidingGlobal, { ffn, perLayer: { width } }: DenseOptions, index: number): void => {
  const { add_qkv_bias: bias, hidden_size: h, kv_channels: d, num_attention_heads: heads, num_query_groups: groups } = attentionConfig(m, index)
  s.parameter("layer_scalar", [1])
  plainWeight(s, "input_layernorm", [h])
  const attention = attentionScope(s, m, index)
  attention.block({ kind: "attention", hidden: h, heads, groups, headDim: d, valueDim: d, outputGate: false })
  linear(attention, "linear_proj", h, heads * d, { parallel: "row", state: "none" })
  linear(attention, "linear_qkv", (heads + 2 * groups) * d, h, { parallel: "column", bias, attention: { heads, groups, headDim: d }, state: "none" })
  plainWeight(attention, "q_layernorm", [d])
  plainWeight(attention, "k_layernorm", [d])
  plainWeight(s, "pre_mlp_layernorm", [h])
  s.at("mlp").block({ kind: "mlp", hidden: h, ffn: ffn(index), gated: true })
  linear(s.at("mlp"), "linear_fc1", 2 * ffn(index), h, { parallel: "column", halves: true, state: "none" })
  linear(s.at("mlp"), "linear_fc2", h, ffn(index), { parallel: "row", state: "none" })
  plainWeight(s, "post_self_attn_layernorm", [h])
  plainWeight(s, "post_mlp_layernorm", [h])
  if (width === 0) return
  plainLayer(s, "per_layer_input_gate", [width, h], false)
  plainLayer(s, "per_layer_projection", [h, width], false)
  plainWeight(s, "post_per_layer_input_norm", [h])
}

/** The form with dense MLPs. */
export const denseSlidingGlobal = (root: Scope, m: SlidingGlobal, options: DenseOptions): void => {
  gpt(root, m.c, { layer: (layer, index) => denseLayer(layer, m, options, index) })
  const { vocabulary, width } = options.perLayer
  if (width === 0) return
  const { hidden_size, num_layers } = m.c
  root.parameter("per_layer_embedding.weight", [vocabulary, num_layers * width], { splitAxis: 0, ragged: true })
  linear(root, "per_layer_model_proj", num_layers * width, hidden_size, { parallel: "column", state: "none" })
  plainWeight(root, "per_layer_proj_norm", [width])
}

/** Routed experts beside a dense MLP (the shared expert), each with norms of its own; the router scales inputs and experts. */
const moeLayer = (s: Scope, m: SlidingGlobal, index: number): void => {
  const { c } = m
  const { hidden_size: h, num_moe_experts: count } = c
  if (!count) throw new FormatError("config/missing", "a mixture of experts needs this field", { field: "num_moe_experts" })
  s.parameter("layer_scalar", [1])
  selfAttention(attentionScope(s, m, index), attentionConfig(m, index), { norms: "around" })
  norm(s, "pre_mlp_layernorm", h, c.normalization)
  const moe = s.at("mlp")
  plainWeight(moe, "router", [count, h])
  moe.parameter("router.per_expert_scale", [count])
  moe.parameter("router.scale", [h])
  experts(moe, c, count, c.moe_ffn_hidden_size ?? c.ffn_hidden_size)
  mlp(moe.at("shared_experts"), c, c.moe_shared_expert_intermediate_size ?? c.ffn_hidden_size, { shared: true })
  plainWeight(moe, "post_moe_layernorm", [h])
  plainWeight(moe, "post_shared_expert_layernorm", [h])
  plainWeight(s, "pre_shared_expert_layernorm", [h])
  plainWeight(s, "post_ffn_layernorm", [h])
}

/** The form with experts. */
export const moeSlidingGlobal = (root: Scope, m: SlidingGlobal): void => gpt(root, m.c, { layer: (layer, index) => moeLayer(layer, m, index) })
