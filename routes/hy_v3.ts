/** Hunyuan V3: dense layers first, a sigmoid router, a shared MLP, multi-token prediction behind the decoder. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { NO_PLACE, refuseBiases } from "./shared/biases.ts"
import { defaulted } from "./shared/config.ts"
import { denseFirstFields, denseFirstMoe } from "./shared/denseFirstMoe.ts"
import { forwardOf, sigmoidRouterFacts } from "./shared/forward.ts"
import { commonOf, extraOf } from "./shared/llama.ts"
import { BLOCK_SPEC, GROUPED, router, sharedExperts, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { textLayout } from "./shared/textLayout.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const hyV3 = family({
  name: "hy-v3",
  architectures: ["HYV3ForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 8, head_dim: 128, rms_norm_eps: 1e-5, initializer_range: 0.006, rope_theta: 11_158_840, max_position_embeddings: 131_072, router_scaling_factor: 2.826 },
    z.looseObject({ ...denseFirstFields, qk_norm: z.boolean().nullish(), router_scaling_factor: z.number().nullish() })
  ),
  spellings: [
    [".mlp.router.gate.", ".mlp.gate."],
    [".mlp.expert_bias", ".mlp.e_score_correction_bias"],
    [".mlp.shared_mlp.", ".mlp.shared_experts."]
  ],
  layout: textLayout,
  describe: (t, layout) => {
    refuseBiases(t, ["attention_bias", "mlp_bias"], NO_PLACE.shared)
    const { mtp, table, tc } = denseFirstMoe(t, layout, {
      qkNorm: t.qk_norm ?? true,
      shared: 1,
      mlp: { ...router("mlp.router.gate.weight", "mlp.expert_bias"), ...sharedExperts("mlp.shared_mlp.") },
      finalNorm: "final_layernorm.weight"
    })
    return textModel({
      tc,
      table,
      rows: mtp.rows,
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter({ routed_scaling_factor: t.router_scaling_factor }),
        transformer_layer_spec: BLOCK_SPEC,
        attention_softmax_in_fp32: false,
        moe_router_dtype: "fp32",
        moe_router_bias_update_rate: 0,
        moe_router_load_balancing_type: "none"
      }),
      forward: forwardOf(t, { router: sigmoidRouterFacts({ routed_scaling_factor: t.router_scaling_factor }) }),
      carried: mtp.carried,
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
