/** GLM-4.7-Flash: latent attention, experts behind a dense layer, multi-token prediction as an appended layer. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { defaulted } from "./shared/config.ts"
import { BIAS_FUSIONS } from "./shared/fusions.ts"
import { latentMoe, latentMoeFields } from "./shared/mla.ts"
import { textLayout } from "./shared/textLayout.ts"

export const glm4MoeLite = family({
  name: "glm-4.7-flash",
  architectures: ["Glm4MoeLiteForCausalLM"],
  config: () => defaulted(
    { q_lora_rank: 768, rms_norm_eps: 1e-5, n_shared_experts: 1, n_group: 1, topk_group: 1, routed_scaling_factor: 1.8, max_position_embeddings: 202_752 },
    z.looseObject(latentMoeFields)
  ),
  layout: textLayout,
  describe: (t, layout) =>
    latentMoe(t, layout, {
      dense: 1,
      expertBias: true,
      extra: {
        ...BIAS_FUSIONS,
        moe_router_load_balancing_type: "seq_aux_loss",
        moe_router_score_function: "sigmoid",
        moe_router_bias_update_rate: 0,
        moe_shared_expert_overlap: true,
        moe_aux_loss_coeff: float(0.001),
        mtp_num_layers: t.num_nextn_predict_layers,
        mtp_loss_scaling_factor: float(0.3)
      }
    })
})
