/** Sarvam MoE: the layers of Bailing MoE V2 without multi-token prediction. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { bailingFields, bailingLayer, bailingTransformer, EMBEDDING } from "./shared/bailing.ts"
import { expertLayout } from "./shared/experts.ts"
import { commonOf, extraOf } from "./shared/llama.ts"
import { GROUPED, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { textModel } from "./shared/textModel.ts"

const PROVIDER = "megatron.bridge.models.sarvam.sarvam_provider.SarvamMoEModelProvider"

export const sarvamMoe = family({
  name: "sarvam-moe",
  architectures: ["SarvamMoEForCausalLM"],
  config: () => z.looseObject(bailingFields),
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const tc = bailingTransformer(t)
    return textModel({
      tc,
      table: bailingLayer(tc, experts),
      embedding: EMBEDDING,
      provider: gptProvider(PROVIDER, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        make_vocab_size_divisible_by: 128,
        // The class's own.
        init_method_std: float(0.006),
        recompute_modules: ["layernorm", "shared_experts", "mlp", "moe_act"],
        ...sigmoidRouter({ routed_scaling_factor: t.routed_scaling_factor }),
        moe_router_dtype: "fp32",
        moe_router_pre_softmax: true
      })
    })
  }
})
