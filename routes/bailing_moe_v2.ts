/** Bailing MoE V2 (Ling 2.0). */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { appendedMtp } from "./shared/appendedMtp.ts"
import { bailingFields, bailingLayer, bailingTransformer, EMBEDDING } from "./shared/bailing.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf, sigmoidRouterFacts } from "./shared/forward.ts"
import { commonOf, extraOf } from "./shared/llama.ts"
import { auxLossOf, BLOCK_SPEC, GROUPED, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { textLayout } from "./shared/textLayout.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const bailingMoeV2 = family({
  name: "bailing-moe-v2",
  architectures: ["BailingMoeV2ForCausalLM"],
  config: () => defaulted({ max_position_embeddings: 32_768, rope_theta: 600_000, n_group: 8, topk_group: 4, routed_scaling_factor: 1 }, z.looseObject(bailingFields)),
  layout: textLayout,
  describe: (t, { experts, modules }) => {
    const tc = bailingTransformer(t, { mtp_num_layers: modules })
    const table = bailingLayer(tc, experts)
    const mtp = appendedMtp({
      layers: t.num_hidden_layers,
      modules,
      table,
      finalNorm: "final_layernorm.weight",
      embedding: `${EMBEDDING}.weight`,
      tied: tc.share_embeddings_and_output_weights
    })
    return textModel({
      tc,
      table,
      rows: mtp.rows,
      embedding: EMBEDDING,
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter(t),
        transformer_layer_spec: BLOCK_SPEC,
        moe_router_dtype: "fp32",
        moe_router_load_balancing_type: "none",
        moe_router_pre_softmax: true,
        moe_aux_loss_coeff: auxLossOf(t),
        mtp_num_layers: modules
      }),
      // The class that comes with the weights divides by the sum whenever there is one, whatever `norm_topk_prob` says.
      forward: forwardOf(t, { router: sigmoidRouterFacts({ ...t, norm_topk_prob: t.num_experts_per_tok > 1 }) }),
      carried: mtp.carried,
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
