/** Llama 1-3 and the many models that publish themselves under its architecture. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { biasFields, flaggedBiases, flaggedZeroBiases, withZeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { positions } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const llama = family({
  name: "llama",
  architectures: ["LlamaForCausalLM"],
  config: () => z.looseObject({ ...denseFields, ...positions(2048) }),
  describe: (t) => {
    const biases = flaggedBiases(t)
    const tc = transformerOf(t, biasFields(biases))
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...denseMlp, ...mlpBiases }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...DENSE_FUSIONS, ...llamaScalingFields(t) }),
      forward: forwardOf(t),
      ...flaggedZeroBiases(t)
    })
  },
  impliedConfig: (m) => ({ ...textConfig(m), model_type: "llama", attention_bias: m.is("add_bias_linear"), mlp_bias: m.is("add_bias_linear") })
})
