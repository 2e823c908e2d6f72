/** Qwen2-MoE (also Qwen1.5-MoE): biases on q, k and v, a gated shared expert beside the routed ones. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { attention, denseMlp, sharedExpertMoe } from "./shared/blocks.ts"
import { many, size } from "./shared/config.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { forwardOf, softmaxRouter } from "./shared/forward.ts"
import { denseLayers, textConfig } from "./shared/implied.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { BLOCK_SPEC, GROUPED, moeFields, sparseMoe } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const qwen2Moe = family({
  name: "qwen2-moe",
  architectures: ["Qwen2MoeForCausalLM"],
  config: () => z.looseObject({
    ...moeFields,
    num_experts_per_tok: size,
    moe_intermediate_size: size,
    shared_expert_intermediate_size: size,
    decoder_sparse_step: size.nullish(),
    mlp_only_layers: z.array(many).nullish(),
    qkv_bias: z.boolean().nullish()
  }),
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const tc = transformerOf(t, {
      add_qkv_bias: t.qkv_bias ?? true,
      ...sparseMoe(t),
      moe_shared_expert_intermediate_size: t.shared_expert_intermediate_size,
      moe_shared_expert_gate: true
    })
    return textModel({
      tc,
      table: { ...attention, ...denseMlp, ...sharedExpertMoe, ...routedExperts(tc, experts) },
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        transformer_layer_spec: tc.moe_layer_freq ? BLOCK_SPEC : undefined,
        moe_router_pre_softmax: !(t.norm_topk_prob ?? false),
        moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001)
      }),
      // Alternating windows have never been published.
      forward: t["use_sliding_window"] === true ? undefined : forwardOf(t, { router: softmaxRouter(t) })
    })
  },
  impliedConfig: (m) => ({
    ...textConfig(m), model_type: "qwen2_moe", qkv_bias: m.is("add_qkv_bias"), shared_expert_intermediate_size: m.number("moe_shared_expert_intermediate_size") ?? null,
    num_experts: m.number("num_moe_experts") ?? null, num_experts_per_tok: m.number("moe_router_topk")!,
    moe_intermediate_size: m.number("moe_ffn_hidden_size") ?? null, decoder_sparse_step: 1, mlp_only_layers: denseLayers(m), norm_topk_prob: !m.is("moe_router_pre_softmax")
  })
})
