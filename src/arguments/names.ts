/**
 * The fields of a trainer's provider (Megatron-Core's TransformerConfig and what a model class adds to it) and the arguments of
 * Megatron-LM that say the same: one table, read in both directions. What is not in it does not change the model.
 * Sources: `core_transformer_config_from_args`, `gpt_config_from_args` and `hybrid_config_from_args` of Megatron-LM.
 */

/** When the arguments mean anything: the others hold defaults in every run. */
export type Part = "all" | "gpt" | "experts" | "latent" | "linear" | "sparse" | "hybrid" | "mtp" | "yarn"

interface Same {
  readonly part: Part
  readonly names: ReadonlyArray<string>
}

/** Same name on both sides. */
export const SAME: ReadonlyArray<Same> = [
  {
    part: "all",
    names: [
      "num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "kv_channels", "normalization", "layernorm_epsilon", "layernorm_zero_centered_gamma",
      "add_bias_linear", "add_qkv_bias", "qk_layernorm", "qk_l2_norm", "glu_linear_offset", "activation_func_clamp_value", "attention_output_gate", "softmax_type",
      "apply_residual_connection_post_layernorm", "apply_query_key_layer_scaling", "attention_softmax_in_fp32", "fp32_residual_connection", "hidden_dropout",
      "attention_dropout", "init_method_std", "position_embedding_type", "rotary_base", "rotary_percent", "rotary_interleaved", "window_size",
      "window_attn_skip_freq", "no_rope_freq", "mrope_section", "make_vocab_size_divisible_by", "bf16", "fp16", "params_dtype", "fp16_lm_cross_entropy",
      "tensor_model_parallel_size", "pipeline_model_parallel_size", "virtual_pipeline_model_parallel_size", "context_parallel_size", "expert_model_parallel_size",
      "expert_tensor_parallel_size", "sequence_parallel", "pipeline_model_parallel_layout", "account_for_embedding_in_pipeline_split", "account_for_loss_in_pipeline_split",
      "experimental_attention_variant", "use_mup", "mup_width_mult", "mup_embedding_mult", "mup_output_mult", "mup_attn_scale_power"
    ]
  },
  {
    part: "experts",
    names: [
      "moe_layer_freq", "moe_ffn_hidden_size", "moe_router_topk", "moe_router_score_function", "moe_router_pre_softmax", "moe_router_topk_scaling_factor",
      "moe_router_enable_expert_bias", "moe_router_bias_update_rate", "moe_router_num_groups", "moe_router_group_topk", "moe_router_dtype",
      "moe_router_load_balancing_type", "moe_aux_loss_coeff", "moe_z_loss_coeff", "moe_shared_expert_intermediate_size", "moe_shared_expert_gate",
      "moe_latent_size", "moe_grouped_gemm", "moe_token_dispatcher_type", "moe_apply_probs_on_input"
    ]
  },
  {
    part: "latent",
    names: ["multi_latent_attention", "q_lora_rank", "kv_lora_rank", "qk_head_dim", "qk_pos_emb_head_dim", "v_head_dim", "rope_type", "rotary_scaling_factor", "mscale", "mscale_all_dim"]
  },
  {
    part: "linear",
    names: ["linear_attention_freq", "linear_conv_kernel_dim", "linear_key_head_dim", "linear_value_head_dim", "linear_num_key_heads", "linear_num_value_heads"]
  },
  {
    part: "sparse",
    names: ["dsa_indexer_n_heads", "dsa_indexer_head_dim", "dsa_indexer_topk", "dsa_indexer_topk_freq", "dsa_indexer_skip_topk_offset"]
  },
  { part: "hybrid", names: ["hybrid_layer_pattern", "is_hybrid_model", "mamba_state_dim", "mamba_head_dim", "mamba_num_groups", "mamba_num_heads"] },
  { part: "mtp", names: ["mtp_num_layers", "mtp_use_repeated_layer", "mtp_loss_scaling_factor"] },
  {
    part: "yarn",
    names: ["yarn_original_max_position_embeddings", "yarn_beta_fast", "yarn_beta_slow", "yarn_correction_range_round_to_int"]
  }
]

interface Renamed {
  readonly part: Part
  readonly argument: string
  readonly field: string
  /** One is true where the other is false. */
  readonly negated?: true
}

/** Another name, sometimes the opposite of it. */
export const RENAMED: ReadonlyArray<Renamed> = [
  { part: "all", argument: "padded_vocab_size", field: "vocab_size" },
  { part: "all", argument: "max_position_embeddings", field: "seq_length" },
  { part: "all", argument: "untie_embeddings_and_output_weights", field: "share_embeddings_and_output_weights", negated: true },
  { part: "gpt", argument: "use_rope_scaling", field: "rope_scaling" },
  { part: "gpt", argument: "rope_scaling_factor", field: "rope_scaling_factor" },
  { part: "all", argument: "rotary_seq_len_interpolation_factor", field: "seq_len_interpolation_factor" },
  { part: "all", argument: "decoder_first_pipeline_num_layers", field: "num_layers_in_first_pipeline_stage" },
  { part: "all", argument: "decoder_last_pipeline_num_layers", field: "num_layers_in_last_pipeline_stage" },
  { part: "experts", argument: "num_experts", field: "num_moe_experts" },
  { part: "yarn", argument: "rotary_scaling_factor", field: "yarn_rotary_scaling_factor" },
  { part: "yarn", argument: "mscale", field: "yarn_mscale" },
  { part: "yarn", argument: "mscale_all_dim", field: "yarn_mscale_all_dim" }
]

/** Earlier names of arguments. */
export const EARLIER: Readonly<Record<string, ReadonlyArray<string>>> = {
  layernorm_epsilon: ["norm_epsilon"],
  layernorm_zero_centered_gamma: ["apply_layernorm_1p"],
  hybrid_layer_pattern: ["hybrid_override_pattern"],
  tensor_model_parallel_size: ["model_parallel_size"]
}

/** The activation between the two projections of an MLP, by the flag that chooses it; none of them: the last. */
export const ACTIVATIONS: ReadonlyArray<{ readonly flag?: string; readonly field: string; readonly gated?: true }> = [
  { flag: "swiglu", field: "torch.nn.functional.silu", gated: true },
  { flag: "squared_relu", field: "megatron.core.activations.squared_relu" },
  { flag: "quick_geglu", field: "megatron.core.activations.quick_gelu", gated: true },
  { field: "torch.nn.functional.gelu" }
]
