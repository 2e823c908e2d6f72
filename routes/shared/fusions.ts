/** Fused kernels and precisions that the reference chooses per family; classes differ in what they take by default. */
import type { PythonValue } from "../../src/runconfig/Provider.ts"

type Fields = Readonly<Record<string, PythonValue>>

/** Models with latent attention. */
export const LATENT_FUSIONS: Fields = {
  attention_softmax_in_fp32: false,
  bias_activation_fusion: true,
  bias_dropout_fusion: true,
  cross_entropy_fusion_impl: "te",
  cross_entropy_loss_fusion: true,
  gradient_accumulation_fusion: true,
  masked_softmax_fusion: true,
  persist_layer_norm: true
}

/** Bias, dropout and norm in one kernel. */
export const BIAS_FUSIONS: Fields = { bias_activation_fusion: true, bias_dropout_fusion: true, persist_layer_norm: true }

/** The same, and rotary embedding: dense models without anything of their own. */
export const DENSE_FUSIONS: Fields = { ...BIAS_FUSIONS, apply_rope_fusion: true, masked_softmax_fusion: true }

/** Experts whose tokens travel by the hybrid dispatcher. */
export const HYBRID_DISPATCH: Fields = { moe_token_dispatcher_type: "flex", moe_flex_dispatcher_backend: "hybridep", moe_flex_dispatcher_num_sms: 16 }
