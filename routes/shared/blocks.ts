/** Rows that families share by name: attention, MLP and norm blocks below a layer prefix, in the order of the model. */
import { concatenatedQkvOf, gatedDeltaNetOf, gatedMlpOf, qkvOf, zeroCentredOf } from "../../src/bridge/kinds.ts"
import type { HfHeaders } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import { rows, type Table } from "../../src/bridge/Registry.ts"
import { FormatError } from "../../src/errors.ts"

/** Llama-like attention with separate q, k, v. */
export const attention: Table = {
  "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
  "self_attention.linear_qkv.weight": qkvOf("self_attn.{q,k,v}_proj.weight"),
  "self_attention.linear_qkv.bias": qkvOf("self_attn.{q,k,v}_proj.bias"),
  "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
  "self_attention.linear_proj.bias": "self_attn.o_proj.bias"
}

/** Norms of each query and key head. */
export const qkNorm: Table = {
  "self_attention.q_layernorm.weight": "self_attn.q_norm.weight",
  "self_attention.k_layernorm.weight": "self_attn.k_norm.weight"
}

/** Attention with one tensor for q, k and v, and norms of each query and key head. */
export const fusedAttention: Table = {
  "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
  "self_attention.linear_qkv.weight": concatenatedQkvOf("attention.query_key_value.weight"),
  "self_attention.linear_qkv.bias": concatenatedQkvOf("attention.query_key_value.bias"),
  "self_attention.linear_proj.weight": "attention.dense.weight",
  "self_attention.q_layernorm.weight": "attention.query_layernorm.weight",
  "self_attention.k_layernorm.weight": "attention.key_layernorm.weight"
}

/** Dense gated MLP with its norm fused in front. */
export const denseMlp: Table = {
  "mlp.linear_fc1.layer_norm_weight": "post_attention_layernorm.weight",
  "mlp.linear_fc1.weight": gatedMlpOf("mlp.{gate,up}_proj.weight"),
  "mlp.linear_fc2.weight": "mlp.down_proj.weight"
}

/** Where the checkpoint has gate and up of these MLPs as one `gate_up_proj`: rows that win over those of two tensors. */
export const fusedGateUp = (headers: HfHeaders, ...below: ReadonlyArray<"mlp." | `${string}shared_experts.`>): Table =>
  Object.fromEntries(below.flatMap((prefix) => {
    const name = `${prefix}gate_up_proj.weight`
    if (!headers.names.some((n) => n.endsWith(`.${name}`))) return []
    return [[prefix === "mlp." ? "mlp.linear_fc1.weight" : "mlp.shared_experts.linear_fc1.weight", name]]
  }))

/** Biases of a gated MLP. */
export const mlpBiases: Table = {
  "mlp.linear_fc1.bias": gatedMlpOf("mlp.{gate,up}_proj.bias"),
  "mlp.linear_fc2.bias": "mlp.down_proj.bias"
}

/** An MLP without a gate, with its norm fused in front, and its biases. */
export const ungatedMlp: Table = {
  ...denseMlp,
  "mlp.linear_fc1.weight": "mlp.up_proj.weight",
  "mlp.linear_fc1.bias": "mlp.up_proj.bias",
  "mlp.linear_fc2.bias": "mlp.down_proj.bias"
}

/** LayerNorm instead of RMSNorm in front of attention and MLP. */
export const layerNormBiases: Table = {
  "self_attention.linear_qkv.layer_norm_bias": "input_layernorm.bias",
  "mlp.linear_fc1.layer_norm_bias": "post_attention_layernorm.bias"
}

/** Norms of the outputs of attention and MLP. */
export const afterNorms: Table = {
  "self_attention.linear_proj.post_layernorm.weight": "post_attention_layernorm.weight",
  "mlp.linear_fc2.post_layernorm.weight": "post_feedforward_layernorm.weight"
}

/** Norms of inputs and outputs; goes in place of {@link denseMlp}'s norm, so it must follow it. */
export const aroundNorms: Table = {
  ...afterNorms,
  "mlp.linear_fc1.layer_norm_weight": "pre_feedforward_layernorm.weight"
}

/** Router, shared expert and its gate of a MoE block; the routed experts are in `experts.ts`. */
export const sharedExpertMoe: Table = {
  "pre_mlp_layernorm.weight": "post_attention_layernorm.weight",
  "mlp.router.weight": "mlp.gate.weight",
  "mlp.shared_experts.linear_fc1.weight": gatedMlpOf("mlp.shared_expert.{gate,up}_proj.weight"),
  "mlp.shared_experts.linear_fc2.weight": "mlp.shared_expert.down_proj.weight",
  "mlp.shared_experts.gate_weight": "mlp.shared_expert_gate.weight"
}

/** Gated DeltaNet with separate `in_proj_qkv`, `in_proj_z`, `in_proj_b`, `in_proj_a`. */
export const gatedDeltaNetRows: Table = {
  "self_attention.in_proj.layer_norm_weight": "input_layernorm.weight",
  "self_attention.in_proj.weight": gatedDeltaNetOf("linear_attn.in_proj_{qkv,z,b,a}.weight"),
  "self_attention.conv1d.weight": "linear_attn.conv1d.weight",
  "self_attention.A_log": "linear_attn.A_log",
  "self_attention.dt_bias": "linear_attn.dt_bias",
  "self_attention.out_norm.weight": zeroCentredOf("linear_attn.norm.weight"),
  "self_attention.out_proj.weight": "linear_attn.out_proj.weight"
}

/**
 * Multi-token prediction in the `mtp.fc` convention: one projection with its norms, hence one module (FormatError if config.json
 * has more); `table` is its inner layer's, `field` says how many modules there are.
 */
export const fcMtp = (modules: number, table: Table, field: string, megatron = ""): ReadonlyArray<Row> => {
  if (modules > 1) throw new FormatError("config/mtp", `${modules} multi-token-prediction modules, of which only one has a projection (\`mtp.fc\`)`, { field })
  return [
    ...rows(`${megatron}mtp.layers.0.`, "mtp.", {
      "enorm.weight": "pre_fc_norm_embedding.weight",
      "hnorm.weight": "pre_fc_norm_hidden.weight",
      "eh_proj.weight": "fc.weight",
      "final_layernorm.weight": "norm.weight"
    }),
    ...rows(`${megatron}mtp.layers.*.mtp_model_layer.`, "mtp.layers.*.", table)
  ]
}

/** A vision block: LayerNorm with biases, one QKV tensor, a plain MLP. */
export const visionBlock: Table = {
  "self_attention.linear_qkv.layer_norm_weight": "norm1.weight",
  "self_attention.linear_qkv.layer_norm_bias": "norm1.bias",
  "self_attention.linear_qkv.weight": concatenatedQkvOf("attn.qkv.weight"),
  "self_attention.linear_qkv.bias": concatenatedQkvOf("attn.qkv.bias"),
  "self_attention.linear_proj.weight": "attn.proj.weight",
  "self_attention.linear_proj.bias": "attn.proj.bias",
  "mlp.linear_fc1.layer_norm_weight": "norm2.weight",
  "mlp.linear_fc1.layer_norm_bias": "norm2.bias",
  "mlp.linear_fc1.weight": "mlp.linear_fc1.weight",
  "mlp.linear_fc1.bias": "mlp.linear_fc1.bias",
  "mlp.linear_fc2.weight": "mlp.linear_fc2.weight",
  "mlp.linear_fc2.bias": "mlp.linear_fc2.bias"
}

/** A patch merger: a norm and two linear layers. */
export const patchMergerRows: Table = {
  "patch_norm.weight": "norm.weight",
  "patch_norm.bias": "norm.bias",
  "linear_fc1.weight": "linear_fc1.weight",
  "linear_fc1.bias": "linear_fc1.bias",
  "linear_fc2.weight": "linear_fc2.weight",
  "linear_fc2.bias": "linear_fc2.bias"
}

/** What stands in front of the vision blocks. */
export const visionFrame: Table = {
  "patch_embed.proj.weight": "patch_embed.proj.weight",
  "patch_embed.proj.bias": "patch_embed.proj.bias",
  "pos_embed.weight": "pos_embed.weight"
}
