/** Llama 1-3 and the many models that publish themselves under its architecture. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp, linearBiases } from "./shared/blocks.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { biasesOf, commonOf, denseFields, extraOf, requiredBiases, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const llama = family({
  name: "llama",
  architectures: ["LlamaForCausalLM"],
  config: z.looseObject(denseFields),
  describe: (t) => {
    const tc = transformerOf(t, biasesOf(t))
    return textModel({
      tc,
      table: { ...attention, ...denseMlp, ...linearBiases },
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...DENSE_FUSIONS, ...llamaScalingFields(t) }),
      carried: requiredBiases(t)
    })
  }
})
