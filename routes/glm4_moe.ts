/** GLM-4.5, 4.6 and 4.7: dense layers first, a sigmoid router with correction bias, multi-token prediction behind the decoder. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { defaulted } from "./shared/config.ts"
import { denseFirstFields, denseFirstMoe } from "./shared/denseFirstMoe.ts"
import { forwardOf, sigmoidRouterFacts } from "./shared/forward.ts"
import { BIAS_FUSIONS } from "./shared/fusions.ts"
import { commonOf, extraOf } from "./shared/llama.ts"
import { BLOCK_SPEC, GROUPED, router, sharedExperts, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { textLayout } from "./shared/textLayout.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const glm4Moe = family({
  name: "glm4-moe",
  architectures: ["Glm4MoeForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 8, rms_norm_eps: 1e-5, max_position_embeddings: 131_072, partial_rotary_factor: 0.5, n_shared_experts: 1, n_group: 1, topk_group: 1, routed_scaling_factor: 1 },
    z.looseObject({ ...denseFirstFields, use_qk_norm: z.boolean().nullish() })
  ),
  layout: textLayout,
  describe: (t, layout) => {
    const { mtp, table, tc } = denseFirstMoe(t, layout, {
      qkNorm: t.use_qk_norm ?? false,
      mlp: { ...router("mlp.gate.weight", "mlp.gate.e_score_correction_bias"), ...sharedExperts() }
    })
    return textModel({
      tc,
      table,
      rows: mtp.rows,
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter(t),
        transformer_layer_spec: BLOCK_SPEC,
        ...BIAS_FUSIONS,
        moe_router_dtype: "fp32",
        moe_router_bias_update_rate: 0,
        moe_router_load_balancing_type: "seq_aux_loss",
        moe_shared_expert_overlap: true,
        moe_aux_loss_coeff: float(0.001),
        mtp_num_layers: tc.mtp_num_layers,
        mtp_loss_scaling_factor: float(0.3)
      }),
      forward: forwardOf(t, { router: sigmoidRouterFacts(t) }),
      carried: mtp.carried,
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
