/** EXAONE 4: norms of the outputs of attention and MLP instead of their inputs, and of each query and key head. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { pythonName } from "../src/runconfig/Provider.ts"
import { afterNorms, attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { positions, size } from "./shared/config.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const exaone4 = family({
  name: "exaone4",
  architectures: ["Exaone4ForCausalLM"],
  config: z.looseObject({ ...denseFields, ...positions(2048), num_key_value_heads: size.default(32), rms_norm_eps: z.number().default(1e-5) }),
  describe: (t) => {
    const tc = transformerOf(t, { qk_layernorm: true })
    return textModel({
      tc,
      norms: "after",
      table: { ...attention, ...qkNorm, ...denseMlp, ...afterNorms },
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...llamaScalingFields(t),
        transformer_layer_spec: pythonName("megatron.bridge.models.exaone.exaone4.exaone4_provider.exaone4_layer_spec")
      })
    })
  }
})
