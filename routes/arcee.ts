/** Arcee Foundation Models: Llama with a squared-ReLU MLP without gate. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { activationName } from "./shared/activations.ts"
import { biasFields, flaggedBiases, flaggedZeroBiases, withZeroBiases } from "./shared/biases.ts"
import { attention, ungatedMlp } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const layer = { ...attention, ...ungatedMlp }

export const arcee = family({
  name: "arcee",
  architectures: ["ArceeForCausalLM"],
  config: () => defaulted({ hidden_act: "relu2", rms_norm_eps: 1e-5, max_position_embeddings: 4096 }, z.looseObject(denseFields)),
  describe: (t) => {
    const biases = flaggedBiases(t)
    const tc = transformerOf(t, { ...biasFields(biases), gated_linear_unit: false })
    return textModel({
      tc,
      table: withZeroBiases(layer, biases),
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...DENSE_FUSIONS, ...llamaScalingFields(t) }),
      forward: forwardOf(t),
      ...flaggedZeroBiases(t)
    })
  },
  impliedConfig: (m) => (activationName(m.text("activation_func") ?? "") !== "relu2" ? undefined : { ...textConfig(m), model_type: "arcee", attention_bias: m.is("add_bias_linear"), mlp_bias: m.is("add_bias_linear") })
})
