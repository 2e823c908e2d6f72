/** dots.llm1: dense layers first, norms of each query and key head, a sigmoid router with correction bias, shared experts. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { NO_PLACE, refuseBiases } from "./shared/biases.ts"
import { count, defaulted, size } from "./shared/config.ts"
import { denseFirstFields, denseFirstMoe } from "./shared/denseFirstMoe.ts"
import { forwardOf, sigmoidRouterFacts, windowsAt } from "./shared/forward.ts"
import { BIAS_FUSIONS } from "./shared/fusions.ts"
import { windowFieldsOf } from "./shared/layerPatterns.ts"
import { commonOf, extraOf } from "./shared/llama.ts"
import { auxLossOf, BLOCK_SPEC, GROUPED, perLayer, router, sharedExperts, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { textLayout } from "./shared/textLayout.ts"
import { GPT, textModel } from "./shared/textModel.ts"
import { lostNote } from "./shared/trainerNeeds.ts"

const fields = {
  ...denseFirstFields,
  n_shared_experts: size,
  sliding_window: count.nullable().default(4096),
  max_window_layers: count.nullable().default(62),
  layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).max(100_000).nullish()
}

export const dots1 = family({
  name: "dots1",
  architectures: ["Dots1ForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 32, max_position_embeddings: 2048, first_k_dense_replace: 0, n_group: 1, topk_group: 1, norm_topk_prob: false, routed_scaling_factor: 1 },
    z.looseObject(fields)
  ),
  layout: textLayout,
  describe: (t, layout) => {
    refuseBiases(t, ["attention_bias"], NO_PLACE.shared)
    const { mtp, table, tc } = denseFirstMoe(t, layout, {
      qkNorm: true,
      mlp: { ...router("mlp.gate.weight", "mlp.gate.e_score_correction_bias"), ...sharedExperts() }
    })
    const kinds = t.layer_types
      ? perLayer(t.layer_types, t.num_hidden_layers, "layer_types")
      : Array.from({ length: t.num_hidden_layers }, (_, i) => (t.sliding_window && i >= (t.max_window_layers ?? t.num_hidden_layers) ? "sliding_attention" : "full_attention"))
    return textModel({
      tc,
      table,
      rows: mtp.rows,
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter(t),
        ...BIAS_FUSIONS,
        ...windowFieldsOf(t.sliding_window, kinds.map((kind) => kind === "sliding_attention")),
        transformer_layer_spec: BLOCK_SPEC,
        moe_router_dtype: "fp32",
        moe_router_bias_update_rate: 0,
        moe_router_load_balancing_type: "seq_aux_loss",
        moe_aux_loss_coeff: auxLossOf(t)
      }),
      forward: forwardOf(t, { windows: windowsAt(kinds, t.sliding_window), router: sigmoidRouterFacts(t) }),
      carried: mtp.carried,
      mtpFields: ["num_nextn_predict_layers"],
      // The trainer divides sigmoid scores by their sum wherever more than one expert is chosen.
      notes: t.norm_topk_prob !== true && t.num_experts_per_tok > 1 ? lostNote({ norm_topk_prob: false }) : []
    })
  }
})
