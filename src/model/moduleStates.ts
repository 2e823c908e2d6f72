/**
 * Which modules have an `_extra_state`, by their stored keys alone. What the modules of this room give a state to is asked of
 * them: small specimens of every kind of block are described, and their states collected (torch-dist-format.md D.4).
 */
import { compressedGpt } from "./compressedGpt.ts"
import { channelDeltaAttention, gatedLatentAttention } from "./deltaAttention.ts"
import { gpt } from "./gpt.ts"
import { hybrid, hybridLayer } from "./hybrid.ts"
import { lightningAttention } from "./lightningAttention.ts"
import { selfAttention } from "./modules.ts"
import type { Entry } from "./Parameter.ts"
import { Scope } from "./Scope.ts"
import type { DenseConfig, TransformerConfig } from "./TransformerConfig.ts"
import { visionTransformer } from "./vision.ts"

const DENSE: DenseConfig = {
  num_layers: 2,
  hidden_size: 2,
  num_attention_heads: 1,
  num_query_groups: 1,
  kv_channels: 2,
  ffn_hidden_size: 2,
  vocab_size: 2,
  normalization: "RMSNorm",
  gated_linear_unit: false,
  add_bias_linear: false,
  add_qkv_bias: false,
  qk_layernorm: true,
  softmax_type: "learnable",
  share_embeddings_and_output_weights: false,
  mtp_num_layers: 1
}
const EXPERTS: TransformerConfig = { ...DENSE, num_moe_experts: 1, moe_latent_size: 2, moe_shared_expert_intermediate_size: 2 }
const LINEAR: TransformerConfig = {
  ...DENSE,
  linear_attention_freq: [1, 0],
  linear_num_key_heads: 1,
  linear_num_value_heads: 1,
  linear_key_head_dim: 2,
  linear_value_head_dim: 2,
  linear_conv_kernel_dim: 2
}
const LATENT: TransformerConfig = {
  ...DENSE,
  multi_latent_attention: true,
  q_lora_rank: 2,
  kv_lora_rank: 2,
  qk_head_dim: 2,
  qk_pos_emb_head_dim: 2,
  v_head_dim: 2,
  experimental_attention_variant: "dsa",
  dsa_indexer_n_heads: 1,
  dsa_indexer_head_dim: 2
}
const MAMBA: TransformerConfig = { ...EXPERTS, mamba_num_heads: 1, mamba_head_dim: 2, mamba_num_groups: 1, mamba_state_dim: 2 }

const specimens = (): ReadonlyArray<Entry> => [
  ...[DENSE, EXPERTS, LINEAR, LATENT, { ...LATENT, q_lora_rank: null }, { ...LATENT, experimental_attention_variant: "" }].flatMap((c) => Scope.collect((root) => gpt(root, c))),
  ...Scope.collect((root) => hybrid(root, { ...MAMBA, num_layers: 4 }, {
    layer: (s, i) => hybridLayer(s, MAMBA, (["mamba", "attention", "mlp", "moe"] as const)[i]!),
    mtp: ["attention", "moe"]
  })),
  ...Scope.collect((root) => visionTransformer(root, { transformer: DENSE, patchEmbedding: [2, 2, 1, 1, 1], spatialMerge: 1, outputWidth: 2, deepstack: 1 })),
  ...Scope.collect((root) => {
    const layer = root.at("layer")
    selfAttention(layer.at("self_attention"), DENSE, { norms: "around" })
    lightningAttention(layer.at("lightning"), DENSE, 2)
    channelDeltaAttention(layer.at("delta"), DENSE, { heads: 1, headDim: 2, kernel: 2 })
    gatedLatentAttention(layer.at("gated"), LATENT)
  }),
  ...Scope.collect((root) => compressedGpt(root, {
    c: { ...EXPERTS, num_layers: 1 },
    attention: { hidden: 2, heads: 1, headDim: 2, queryRank: 2, outputGroups: 1, outputRank: 2, indexerHeads: 1, indexerHeadDim: 2 },
    ratios: [4, 0],
    streams: 2,
    tables: { layers: 0, experts: 1 }
  }))
]

const lastOf = (path: string): string => path.slice(path.lastIndexOf(".") + 1)

/** Names of modules that have a state wherever they occur, and of those that have one in some places only: `parent.name`. */
const collected = () => {
  const entries = specimens()
  // A state of None is that of a module whose kin has none.
  const stateful = new Set(entries.flatMap((e) => (e.kind === "state" && e.payload === "empty" ? [kindOf(e.key.slice(0, e.key.indexOf("._extra_state/")))] : [])))
  const names = new Set([...stateful].map(lastOf))
  for (const e of entries) {
    if (e.kind === "state") continue
    const module = moduleOf(e.parts[0]!.key)
    if (module !== undefined && !stateful.has(kindOf(module))) names.delete(lastOf(module))
  }
  return { stateful, names }
}

/** The module of a weight's key: what is in front of `weight`, `weight_w`, `weight.query` or an attention core's offsets. */
export const moduleOf = (key: string): string | undefined => /^(.+)\.(?:weight(?:_[wv]|\.[a-z]\w*)?|softmax_offset)$/i.exec(key)?.[1]

/** A module by its own name and that of the module it is in, whatever their numbers: `self_attention.linear_qkv`. */
export const kindOf = (module: string): string => module.split(".").filter((s) => !/^\d+$/.test(s)).slice(-2).join(".")

let known: ReturnType<typeof collected> | undefined

/** What Megatron builds of its own modules; a foreign tower may use their names for plain ones. */
const MEGATRON = /(?:^|\.)(?:decoder|mtp|merger|deepstack_merger_list)\./

/** Has Transformer Engine's form of this module a state? `maybe`: some blocks have a module of this name and place without one. */
export const givesState = (module: string): "yes" | "maybe" | "no" => {
  if (!MEGATRON.test(module)) return "no"
  known ??= collected()
  if (known.names.has(lastOf(module))) return "yes"
  return known.stateful.has(kindOf(module)) ? "maybe" : "no"
}
