/**
 * The fields of Megatron-Core's TransformerConfig that decide which parameters a model has, how they are shaped and how many
 * of them a token uses, under Megatron's own names: the same object goes into `run_config.yaml`, so that what is written and what the trainer rebuilds
 * cannot disagree.
 */
export interface TransformerConfig {
  readonly num_layers: number
  readonly hidden_size: number
  readonly num_attention_heads: number
  readonly num_query_groups: number
  /** Width of one head. */
  readonly kv_channels: number
  /** Width of dense MLPs; undefined where no layer has one and config.json names none. */
  readonly ffn_hidden_size?: number | undefined
  readonly vocab_size: number
  readonly normalization: "RMSNorm" | "LayerNorm"
  readonly gated_linear_unit: boolean
  readonly add_bias_linear: boolean
  readonly add_qkv_bias: boolean
  readonly qk_layernorm: boolean
  readonly attention_output_gate?: boolean
  /** `learnable`: one softmax offset (attention sink) per head. */
  readonly softmax_type?: "vanilla" | "learnable"
  /** Width of one value head where it differs from `kv_channels`. */
  readonly v_head_dim?: number
  /** Queries, keys and values come from low-rank projections (multi-latent attention). */
  readonly multi_latent_attention?: boolean
  /** Rank of the query projection; null: one projection of full rank. */
  readonly q_lora_rank?: number | null
  readonly kv_lora_rank?: number
  /** Width of a latent query or key head without rotary position, and with it. */
  readonly qk_head_dim?: number
  readonly qk_pos_emb_head_dim?: number
  /** `dsa`: an indexer in the attention core selects the keys (latent attention only). */
  readonly experimental_attention_variant?: string
  readonly dsa_indexer_n_heads?: number
  readonly dsa_indexer_head_dim?: number
  readonly share_embeddings_and_output_weights: boolean
  /** Layers differ in kind or size, so their indices stay in the stored keys. */
  readonly heterogeneous_block_specs?: boolean
  /** Every layer index stays in the stored key although the layers are alike. */
  readonly hetereogenous_dist_checkpoint?: boolean
  /** 1 = linear attention (Gated DeltaNet), 0 = full attention, per layer. */
  readonly linear_attention_freq?: ReadonlyArray<number>
  readonly linear_num_key_heads?: number
  readonly linear_num_value_heads?: number
  readonly linear_key_head_dim?: number
  readonly linear_value_head_dim?: number
  readonly linear_conv_kernel_dim?: number
  readonly num_moe_experts?: number | null
  /** Experts that a token goes through. */
  readonly moe_router_topk?: number | undefined
  /** 1 = MoE, 0 = dense, per layer; a number f: layer i is MoE where i % f = 0. */
  readonly moe_layer_freq?: number | ReadonlyArray<number>
  readonly moe_ffn_hidden_size?: number
  readonly moe_shared_expert_intermediate_size?: number | null
  readonly moe_shared_expert_gate?: boolean
  readonly moe_router_enable_expert_bias?: boolean
  /** Routed experts work at this width, between two projections. */
  readonly moe_latent_size?: number | null
  readonly mamba_num_heads?: number
  readonly mamba_head_dim?: number
  readonly mamba_num_groups?: number
  readonly mamba_state_dim?: number
  readonly mtp_num_layers?: number | null
  /** All predicted tokens share one multi-token-prediction module. */
  readonly mtp_use_repeated_layer?: boolean
}

/** With dense MLPs in every layer. */
export type DenseConfig = TransformerConfig & { readonly ffn_hidden_size: number }

/** Layers stored under one key with a leading layer axis, or each under its own (torch-dist-format.md, D.2). */
export const layerLayout = (c: TransformerConfig): "stacked" | "indexed" => {
  const varies = (freq: number | ReadonlyArray<number> | undefined) =>
    freq !== undefined && (typeof freq !== "number" || freq > 1)
  return c.hetereogenous_dist_checkpoint || c.heterogeneous_block_specs || varies(c.moe_layer_freq) || varies(c.linear_attention_freq) ? "indexed" : "stacked"
}

/** Whether layer `layer` (from 0) has linear attention. */
export const isLinearAttention = (c: TransformerConfig, layer: number): boolean => c.linear_attention_freq?.[layer] === 1

/** Whether layer `layer` (from 0) has experts. */
export const isMoe = (c: TransformerConfig, layer: number): boolean => {
  if (!c.num_moe_experts) return false
  const freq = c.moe_layer_freq ?? 1
  return typeof freq === "number" ? layer % freq === 0 : freq[layer] === 1
}
