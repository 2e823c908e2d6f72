/** Qwen3-MoE: norms of each query and key head, routed experts without shared ones. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { attentionBiases, biasFields, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { many, positions, size } from "./shared/config.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { forwardOf, softmaxRouter } from "./shared/forward.ts"
import { denseLayers, textConfig } from "./shared/implied.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { GROUPED, moeFields, router, sparseMoe } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const qwen3Moe = family({
  name: "qwen3-moe",
  architectures: ["Qwen3MoeForCausalLM"],
  config: () => z.looseObject({
    ...moeFields,
    ...positions(32_768),
    num_key_value_heads: size.nullable().default(4),
    intermediate_size: size.default(6144),
    num_experts_per_tok: size.default(8),
    moe_intermediate_size: size,
    decoder_sparse_step: size.nullish(),
    mlp_only_layers: z.array(many).nullish()
  }),
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const biases = attentionBiases(t)
    const tc = transformerOf(t, { ...biasFields(biases), qk_layernorm: true, ...sparseMoe(t) })
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...qkNorm, ...denseMlp, ...router("mlp.gate.weight"), ...routedExperts(tc, experts) }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        moe_router_pre_softmax: !(t.norm_topk_prob ?? false),
        moe_aux_loss_coeff: float(0.001)
      }),
      forward: t["use_sliding_window"] === true ? undefined : forwardOf(t, { router: softmaxRouter(t) }),
      ...zeroBiases(biases)
    })
  },
  impliedConfig: (m) => ({
    ...textConfig(m), model_type: "qwen3_moe", attention_bias: m.is("add_bias_linear"), num_experts: m.number("num_moe_experts") ?? null, num_experts_per_tok: m.number("moe_router_topk")!,
    moe_intermediate_size: m.number("moe_ffn_hidden_size") ?? null, decoder_sparse_step: 1, mlp_only_layers: denseLayers(m), norm_topk_prob: !m.is("moe_router_pre_softmax")
  })
})
