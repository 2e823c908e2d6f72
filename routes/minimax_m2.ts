/** MiniMax-M2: norms over all query and all key heads at once, sigmoid-scored experts in every layer. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float, pythonName } from "../src/runconfig/Provider.ts"
import { gpt, transformerLayer } from "../src/model/gpt.ts"
import type { Scope } from "../src/model/Scope.ts"
import { attentionBiases, biasFields, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, qkNorm } from "./shared/blocks.ts"
import { positions, size } from "./shared/config.ts"
import { BLOCK_SPARSE, expertLayout, routedExperts, SPARSE_BLOCK } from "./shared/experts.ts"
import { forwardOf, sigmoidRouterFacts } from "./shared/forward.ts"
import { commonOf, extraOf, headDimOf, transformerOf } from "./shared/llama.ts"
import { expertsOf, GROUPED, moeFields, router } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const minimaxM2 = family({
  name: "minimax-m2",
  architectures: ["MiniMaxM2ForCausalLM"],
  config: () => z.looseObject({
    ...moeFields,
    ...positions(196_608),
    num_key_value_heads: size.nullable().default(8),
    head_dim: size.nullable().default(128),
    rope_theta: z.number().nullable().default(5e6),
    intermediate_size: size,
    num_experts_per_tok: size,
    rotary_dim: size.nullish(),
    use_qk_norm: z.boolean().nullish(),
    qk_norm_type: z.literal("per_layer").nullish(),
    use_routing_bias: z.boolean().nullish()
  }),
  spellings: SPARSE_BLOCK,
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const biases = attentionBiases(t)
    const tc = transformerOf(t, {
      ...biasFields(biases),
      qk_layernorm: t.use_qk_norm ?? true,
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_ffn_hidden_size: t.intermediate_size,
      moe_router_enable_expert_bias: t.use_routing_bias ?? true
    })
    const layer = (s: Scope) => transformerLayer(s, tc, { linearAttention: false, moe: true }, { qkNorm: "cut" })
    return textModel({
      tc,
      build: (s) => gpt(s, tc, { layer }),
      table: withZeroBiases({
        ...attention,
        ...qkNorm,
        ...router("block_sparse_moe.gate.weight", "block_sparse_moe.e_score_correction_bias"),
        ...routedExperts(tc, experts, { names: BLOCK_SPARSE })
      }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        transformer_layer_spec: pythonName("megatron.bridge.models.minimax_m2.minimax_m2_provider.minimax_m2_layer_spec"),
        ...(t.rotary_dim ? { rotary_percent: float(t.rotary_dim / headDimOf(t)) } : {}),
        // Whatever the config says.
        moe_router_score_function: "sigmoid",
        moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001)
      }),
      forward: forwardOf(t, { router: sigmoidRouterFacts({}), ...(t.rotary_dim ? { rotary: { width: t.rotary_dim } } : {}) }),
      ...zeroBiases(biases)
    })
  }
})
