/** ERNIE 4.5 MoE: a router with correction bias, shared experts, attention without biases and norms. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { sliceOf } from "../src/bridge/kinds/elementary.ts"
import { float } from "../src/runconfig/Provider.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { ernieFields, ernieTransformer, paddleMtp } from "./shared/ernie.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { forwardOf } from "./shared/forward.ts"
import { commonOf } from "./shared/llama.ts"
import { BLOCK_SPEC, GROUPED, router, sharedExperts } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"
import { size } from "./shared/config.ts"

export const ernie4_5Moe = family({
  name: "ernie4.5-moe",
  architectures: ["Ernie4_5_MoeForCausalLM"],
  config: () => z.looseObject({ ...ernieFields, moe_intermediate_size: size }),
  spellings: [[".mlp.moe_statics.", ".mlp.gate.moe_statics."]],
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const ffn = t.moe_intermediate_size
    const tc = ernieTransformer(t, ffn, t.tie_word_embeddings ?? true)
    return textModel({
      tc,
      table: {
        ...attention,
        ...denseMlp,
        ...router("mlp.gate.weight"),
        "mlp.router.expert_bias": sliceOf(0, 1, "mlp.moe_statics.e_score_correction_bias"),
        ...sharedExperts(),
        ...routedExperts(tc, experts)
      },
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...GROUPED,
        // What the reference's own function calls; its loader refuses that function, because its name is private.
        transformer_layer_spec: BLOCK_SPEC,
        hidden_dropout: float(0),
        rotary_interleaved: true,
        moe_router_dtype: "fp32",
        moe_router_score_function: "sigmoid",
        moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001)
      }),
      forward: forwardOf(t, {
        rotary: { interleaved: true },
        router: { score: "softmax", normalized: { least: typeof t["moe_norm_min"] === "number" ? t["moe_norm_min"] : 1e-12 }, scale: 1 }
      }),
      carried: paddleMtp
    })
  }
})
