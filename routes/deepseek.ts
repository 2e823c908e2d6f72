/** DeepSeek V2 and V3 (also Moonlight, Kanana): latent attention, experts behind a few dense layers; V3 predicts further tokens. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { defaulted } from "./shared/config.ts"
import { LATENT_FUSIONS } from "./shared/fusions.ts"
import { latentMoeConfig } from "./shared/implied.ts"
import { latentMoe, latentMoeFields } from "./shared/mla.ts"
import { auxLossOf } from "./shared/moe.ts"
import { textLayout } from "./shared/textLayout.ts"

const balanced = { ...LATENT_FUSIONS, moe_router_load_balancing_type: "seq_aux_loss", moe_shared_expert_overlap: true } as const

export const deepseekV2 = family({
  name: "deepseek-v2",
  architectures: ["DeepseekV2ForCausalLM"],
  config: () => defaulted({ q_lora_rank: 1536, n_shared_experts: 2, routed_scaling_factor: 1 }, z.looseObject(latentMoeFields)),
  layout: textLayout,
  describe: (t, layout) =>
    latentMoe(t, layout, {
      dense: 0,
      expertBias: false,
      router: {
        score: "softmax",
        scale: t.routed_scaling_factor ?? 1,
        ...(t["topk_method"] === "group_limited_greedy" && t.n_group && t.topk_group ? { groups: { count: t.n_group, chosen: t.topk_group, by: "best" } } : {})
      },
      extra: {
        ...balanced,
        seq_length: 4096,
        make_vocab_size_divisible_by: 3200,
        moe_router_score_function: t.scoring_func ?? "softmax",
        moe_aux_loss_coeff: auxLossOf(t)
      }
    })
})

export const deepseekV3 = family({
  name: "deepseek-v3",
  architectures: ["DeepseekV3ForCausalLM"],
  config: () => defaulted(
    { q_lora_rank: 1536, n_shared_experts: 1, n_group: 8, topk_group: 4, routed_scaling_factor: 2.5 },
    z.looseObject(latentMoeFields)
  ),
  layout: textLayout,
  describe: (t, layout) =>
    latentMoe(t, layout, {
      dense: 3,
      expertBias: true,
      extra: {
        ...balanced,
        seq_length: 4096,
        make_vocab_size_divisible_by: 1280,
        moe_router_score_function: "sigmoid",
        moe_aux_loss_coeff: float(0.0001)
      }
    }),
  impliedConfig: (m) => (m.is("multi_latent_attention") ? { ...latentMoeConfig(m), model_type: "deepseek_v3", topk_method: "noaux_tc" } : undefined)
})
