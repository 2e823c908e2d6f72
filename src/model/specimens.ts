/** Small specimens of every kind of block that the modules of this room build: what they give their parts is asked of these. */
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
  gated_linear_unit: true,
  add_bias_linear: false,
  add_qkv_bias: false,
  qk_layernorm: true,
  softmax_type: "learnable",
  share_embeddings_and_output_weights: false,
  mtp_num_layers: 1
}
const EXPERTS: TransformerConfig = { ...DENSE, num_moe_experts: 1, moe_latent_size: 2, moe_shared_expert_intermediate_size: 2 }
const BIASED: TransformerConfig = { ...EXPERTS, normalization: "LayerNorm", add_bias_linear: true, add_qkv_bias: true, moe_shared_expert_gate: true, moe_router_enable_expert_bias: true }
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

/** The entries of all of them. */
export const specimens = (): ReadonlyArray<Entry> => [
  ...[DENSE, EXPERTS, { ...DENSE, normalization: "LayerNorm" as const, add_bias_linear: true }, BIASED, LINEAR, LATENT, { ...LATENT, q_lora_rank: null }, { ...LATENT, experimental_attention_variant: "" }].flatMap((c) => Scope.collect((root) => gpt(root, c))),
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
