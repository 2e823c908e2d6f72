/** OLMoE: norms over all query and all key heads at once, routed experts in every layer. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float, pythonName } from "../src/runconfig/Provider.ts"
import { gpt, transformerLayer } from "../src/model/gpt.ts"
import type { Scope } from "../src/model/Scope.ts"
import { attentionBiases, biasFields, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, qkNorm } from "./shared/blocks.ts"
import { defaulted, size } from "./shared/config.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { forwardOf, softmaxRouter } from "./shared/forward.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { expertsOf, GROUPED, moeFields, router } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const olmoe = family({
  name: "olmoe",
  architectures: ["OlmoeForCausalLM"],
  config: () => defaulted({ num_key_value_heads: 16, rms_norm_eps: 1e-5, max_position_embeddings: 4096 }, z.looseObject({ ...moeFields, intermediate_size: size, num_experts_per_tok: size })),
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const biases = attentionBiases(t)
    const tc = transformerOf(t, {
      ...biasFields(biases),
      qk_layernorm: true,
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_ffn_hidden_size: t.intermediate_size
    })
    const layer = (s: Scope) => transformerLayer(s, tc, { linearAttention: false, moe: true }, { qkNorm: "replicated" })
    return textModel({
      tc,
      build: (s) => gpt(s, tc, { layer }),
      table: withZeroBiases({ ...attention, ...qkNorm, ...router("mlp.gate.weight"), ...routedExperts(tc, experts) }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        transformer_layer_spec: pythonName("megatron.bridge.models.olmoe.olmoe_provider.olmoe_layer_spec"),
        persist_layer_norm: true,
        moe_router_dtype: "fp32",
        moe_router_load_balancing_type: "seq_aux_loss",
        moe_router_pre_softmax: true,
        moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.01)
      }),
      forward: typeof t["clip_qkv"] === "number" ? undefined : forwardOf(t, { router: softmaxRouter(t) }),
      ...zeroBiases(biases)
    })
  }
})
