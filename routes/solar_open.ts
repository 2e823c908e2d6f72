/** Solar Open: llama-like attention, routed experts and a shared one in every layer, a sigmoid router with correction bias. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention } from "./shared/blocks.ts"
import { defaulted, size } from "./shared/config.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { forwardOf, sigmoidRouterFacts } from "./shared/forward.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { auxLossOf, expertsOf, GROUPED, moeFields, router, sharedExperts, sharedWidth, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const solarOpen = family({
  name: "solar-open",
  architectures: ["SolarOpenForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 8, head_dim: 128, rms_norm_eps: 1e-5, rope_theta: 1e6, n_shared_experts: 1, n_group: 1, topk_group: 1, routed_scaling_factor: 1 },
    z.looseObject({ ...moeFields, moe_intermediate_size: size.default(1280), num_experts_per_tok: size.default(8) })
  ),
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const tc = transformerOf(t, {
      // The output projection has no bias whatever the flag says.
      add_qkv_bias: t.attention_bias ?? false,
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_ffn_hidden_size: t.moe_intermediate_size,
      moe_shared_expert_intermediate_size: sharedWidth(t),
      moe_router_enable_expert_bias: true
    })
    return textModel({
      tc,
      table: { ...attention, ...router("mlp.gate.weight", "mlp.gate.e_score_correction_bias"), ...sharedExperts(), ...routedExperts(tc, experts) },
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter(t),
        moe_router_dtype: "fp32",
        moe_router_load_balancing_type: "seq_aux_loss",
        moe_aux_loss_coeff: auxLossOf(t)
      }),
      forward: forwardOf(t, { router: sigmoidRouterFacts(t) })
    })
  }
})
