/**
 * Megatron-Core's modules: the parameters each has, in state-dict order, at tensor-parallel size 1. Linear layers come in
 * their Transformer-Engine form (a norm fused in front keeps its weight inside the linear module; local-spec models save
 * under the same keys). Sources: torch-dist-format.md D.3 and D.4, the conformance cases.
 */
import { FormatError } from "../errors.ts"
import type { Scope } from "./Scope.ts"
import type { ParameterOptions } from "./Scope.ts"
import type { AttentionShape } from "./Parameter.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** `LayerNorm` has a weight and a bias, `RMSNorm` a weight. */
export type NormKind = TransformerConfig["normalization"]

/** A norm module: `weight [width]`, with LayerNorm also `bias`. */
export const norm = (s: Scope, name: string, width: number, kind: NormKind): void => {
  s.parameter(`${name}.weight`, [width])
  if (kind === "LayerNorm") s.parameter(`${name}.bias`, [width])
  s.state(name)
}

/** How a linear module is cut and what belongs to it. */
export interface LinearOptions extends Pick<ParameterOptions, "attention" | "named" | "halves"> {
  /** `column`: split by output rows (axis 0); `row`: by input columns (axis 1); absent: replicated. */
  readonly parallel?: "column" | "row"
  readonly bias?: boolean
  /** The norm fused in front of the layer (`layer_norm_weight` [in], LayerNorm also `layer_norm_bias`). */
  readonly fusedNorm?: NormKind | undefined
  /** The norm of the layer's output, a module of its own (`post_layernorm`). */
  readonly postNorm?: NormKind | undefined
  readonly state?: "empty" | "none" | "absent"
}

/** A linear module: `weight [out, in]`, `bias [out]`. A row-parallel bias is replicated. */
export const linear = (s: Scope, name: string, out: number, input: number, options: LinearOptions = {}): void => {
  const { attention, bias, fusedNorm, halves, named, parallel, postNorm, state = "empty" } = options
  if (fusedNorm) s.parameter(`${name}.layer_norm_weight`, [input])
  if (fusedNorm === "LayerNorm") s.parameter(`${name}.layer_norm_bias`, [input])
  const cut = { ...(attention ? { attention } : {}), ...(halves ? { halves } : {}), ...(named ? { named } : {}) }
  s.parameter(`${name}.weight`, [out, input], { ...cut, splitAxis: parallel === "column" ? 0 : parallel === "row" ? 1 : undefined })
  if (bias) s.parameter(`${name}.bias`, [out], { ...cut, splitAxis: parallel === "column" ? 0 : undefined })
  if (state !== "absent") s.state(name, state)
  if (postNorm) norm(s.at(name), "post_layernorm", out, postNorm)
}

/** Where a layer normalises: the input of its attention and MLP, their output, both, or (in a module of the layer's own) neither. */
export type NormPlacement = "before" | "after" | "around" | "apart"

/** The norms of a layer's attention or MLP. */
export const layerNorms = (c: TransformerConfig, placement: NormPlacement = "before"): MlpOptions => ({
  fusedNorm: placement === "before" || placement === "around" ? c.normalization : undefined,
  postNorm: placement === "after" || placement === "around" ? c.normalization : undefined
})

/** What differs among self-attention modules of the same sizes. */
export interface SelfAttentionOptions {
  /**
   * Width of the query and key norms: `head` (the default) or all heads at once; then the norm is replicated, or cut by heads
   * (a parameter of its own class, without module state).
   */
  readonly qkNorm?: "head" | "replicated" | "cut"
  readonly norms?: NormPlacement
  /** Whether the QKV projection has a bias, where its flags do not say. */
  readonly qkvBias?: boolean
}

/**
 * Grouped-query attention with the input norm fused into the QKV projection. Rows of `linear_qkv`: per group, its query heads,
 * k, v. A learnable softmax offset belongs to the attention core.
 */
export const selfAttention = (at: Scope, c: TransformerConfig, { norms, qkNorm = "head", qkvBias = c.add_qkv_bias || c.add_bias_linear }: SelfAttentionOptions = {}): void => {
  const s = at.from(c)
  const valueDim = c.v_head_dim ?? c.kv_channels
  const attention: AttentionShape = {
    heads: c.num_attention_heads,
    groups: c.num_query_groups,
    headDim: c.kv_channels,
    ...(valueDim === c.kv_channels ? {} : { valueDim }),
    ...(c.attention_output_gate ? { outputGate: true } : {})
  }
  const width = c.num_attention_heads * c.kv_channels
  at.block({
    kind: "attention",
    hidden: c.hidden_size,
    heads: c.num_attention_heads,
    groups: c.num_query_groups,
    headDim: c.kv_channels,
    valueDim,
    outputGate: c.attention_output_gate ?? false
  })
  const rows = width * (c.attention_output_gate ? 2 : 1) + c.num_query_groups * (c.kv_channels + valueDim)
  if (c.softmax_type === "learnable") {
    s.parameter("core_attention.softmax_offset", [c.num_attention_heads], { splitAxis: 0 })
    s.state("core_attention")
  }
  const { fusedNorm, postNorm } = layerNorms(c, norms)
  linear(s, "linear_proj", c.hidden_size, c.num_attention_heads * valueDim, { parallel: "row", bias: c.add_bias_linear, postNorm })
  linear(s, "linear_qkv", rows, c.hidden_size, {
    parallel: "column",
    bias: qkvBias,
    fusedNorm,
    attention
  })
  if (!c.qk_layernorm) return
  for (const [name, heads] of [["q_layernorm", c.num_attention_heads], ["k_layernorm", c.num_query_groups]] as const) {
    if (qkNorm === "cut") s.parameter(`${name}.weight`, [heads * c.kv_channels], { splitAxis: 0 })
    else norm(s, name, qkNorm === "head" ? c.kv_channels : heads * c.kv_channels, c.normalization)
  }
}

/** Sizes of a Gated DeltaNet; all from the config, none optional where the layer exists. */
export const gatedDeltaNetSizes = (c: TransformerConfig) => {
  const need = (field: "linear_num_key_heads" | "linear_num_value_heads" | "linear_key_head_dim" | "linear_value_head_dim" | "linear_conv_kernel_dim"): number => {
    const value = c[field]
    if (value === undefined) throw new FormatError("config/missing", "a linear-attention layer needs this field", { field })
    return value
  }
  const keyHeads = need("linear_num_key_heads")
  const valueHeads = need("linear_num_value_heads")
  return {
    keyHeads,
    valueHeads,
    keyDim: need("linear_key_head_dim"),
    valueDim: need("linear_value_head_dim"),
    key: keyHeads * need("linear_key_head_dim"),
    value: valueHeads * need("linear_value_head_dim"),
    kernel: need("linear_conv_kernel_dim")
  }
}

/** Gated DeltaNet: one fused input projection, stored as six named tensors; a depthwise convolution, stored as three. */
export const gatedDeltaNet = (at: Scope, c: TransformerConfig): void => {
  const s = at.from(c)
  const { kernel, key, keyDim, keyHeads, value, valueDim, valueHeads } = gatedDeltaNetSizes(c)
  s.block({ kind: "gated-delta-net", hidden: c.hidden_size, keyHeads, valueHeads, keyDim, valueDim, kernel })
  s.parameter("dt_bias", [valueHeads], { splitAxis: 0 })
  s.parameter("A_log", [valueHeads], { splitAxis: 0 })
  linear(s, "in_proj", 2 * key + 2 * value + 2 * valueHeads, c.hidden_size, {
    parallel: "column",
    fusedNorm: c.normalization,
    named: [["query", key], ["key", key], ["value", value], ["z", value], ["beta", valueHeads], ["alpha", valueHeads]]
  })
  s.parameter("conv1d.weight", [2 * key + value, 1, kernel], {
    splitAxis: 0,
    named: [["query", key], ["key", key], ["value", value]]
  })
  norm(s, "out_norm", valueDim, "RMSNorm")
  linear(s, "out_proj", c.hidden_size, value, { parallel: "row" })
}

/** The norms around an MLP, and what it is beside. */
export interface MlpOptions {
  readonly fusedNorm?: NormKind | undefined
  readonly postNorm?: NormKind | undefined
  /** Beside routed experts. */
  readonly shared?: true
  /** Each token's output is weighed by a scalar of its own. */
  readonly tokenGate?: boolean
}

const widthOf = (ffn: number | undefined): number => {
  if (ffn === undefined) throw new FormatError("config/missing", "an MLP needs its width", { field: "intermediate_size" })
  return ffn
}

/** A dense MLP of width `width`: `linear_fc1` (gate rows over up rows where gated), `linear_fc2`. */
export const mlp = (at: Scope, c: TransformerConfig, width: number | undefined, options: MlpOptions = {}): void => {
  const s = at.from(c)
  const ffn = widthOf(width)
  s.block({
    kind: "mlp",
    hidden: c.hidden_size,
    ffn,
    gated: c.gated_linear_unit,
    ...(options.shared ? { shared: true } : {}),
    ...(options.tokenGate ? { tokenGate: true } : {})
  })
  linear(s, "linear_fc1", c.gated_linear_unit ? 2 * ffn : ffn, c.hidden_size, {
    parallel: "column",
    bias: c.add_bias_linear,
    halves: c.gated_linear_unit,
    fusedNorm: options.fusedNorm
  })
  linear(s, "linear_fc2", c.hidden_size, ffn, { parallel: "row", bias: c.add_bias_linear, postNorm: options.postNorm })
  if (options.tokenGate) s.parameter("gate_weight", [1, c.hidden_size])
}

/** Routed experts, in memory one parameter each (`experts.linear_fc1.weight7`), on disk one key with an expert axis. */
export const experts = (at: Scope, c: TransformerConfig, count: number, expertWidth: number | undefined): void => {
  const s = at.from(c)
  const ffn = widthOf(expertWidth)
  const group = (name: string, out: number, input: number, splitAxis: number, halves: boolean) => {
    const all = Array.from({ length: count }, (_, e) => s.at("experts").expert(`experts.${name}`, e, count))
    for (const [e, expert] of all.entries()) expert.parameter(`${name}.weight${e}`, [out, input], { splitAxis, halves }, "weight")
    if (c.add_bias_linear) {
      for (const [e, expert] of all.entries()) expert.parameter(`${name}.bias${e}`, [out], { splitAxis: splitAxis === 0 ? 0 : undefined, halves }, "bias")
    }
    for (const expert of all) expert.state("")
  }
  const width = c.moe_latent_size || c.hidden_size
  s.block({
    kind: "experts",
    hidden: c.hidden_size,
    experts: count,
    ...(c.moe_router_topk === undefined ? {} : { perToken: c.moe_router_topk }),
    width,
    ffn,
    gated: c.gated_linear_unit
  })
  group("linear_fc1", c.gated_linear_unit ? 2 * ffn : ffn, width, 0, c.gated_linear_unit)
  group("linear_fc2", width, ffn, 1, false)
}

/** A mixture-of-experts MLP: router (its bias stays fp32), routed experts, shared experts and their gate. */
export const moe = (at: Scope, c: TransformerConfig): void => {
  const s = at.from(c)
  const count = c.num_moe_experts
  if (!count) throw new FormatError("config/missing", "a mixture of experts needs this field", { field: "num_moe_experts" })
  s.parameter("router.weight", [count, c.hidden_size])
  if (c.add_bias_linear) s.parameter("router.bias", [count])
  if (c.moe_router_enable_expert_bias) s.parameter("router.expert_bias", [count], { keep: "F32" })
  if (c.moe_latent_size) {
    linear(s, "fc1_latent_proj", c.moe_latent_size, c.hidden_size, { bias: c.add_bias_linear })
    linear(s, "fc2_latent_proj", c.hidden_size, c.moe_latent_size, { bias: c.add_bias_linear })
  }
  experts(s, c, count, c.moe_ffn_hidden_size ?? c.ffn_hidden_size)
  if (c.moe_shared_expert_intermediate_size) {
    mlp(s.at("shared_experts"), c, c.moe_shared_expert_intermediate_size, { shared: true, tokenGate: c.moe_shared_expert_gate ?? false })
  }
}
