/** Jais 2: LayerNorm, biases everywhere, a squared-ReLU MLP without gate. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { activationName } from "./shared/activations.ts"
import { biasFields, flaggedBiases, flaggedZeroBiases, withZeroBiases } from "./shared/biases.ts"
import { attention, layerNormBiases, ungatedMlp } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const layer = { ...attention, ...ungatedMlp, ...layerNormBiases }

export const jais2 = family({
  name: "jais2",
  architectures: ["Jais2ForCausalLM"],
  config: () => defaulted(
    { hidden_act: "relu2", attention_bias: true, mlp_bias: true, max_position_embeddings: 8192 },
    z.looseObject({ ...denseFields, layer_norm_eps: z.number().default(1e-5) })
  ),
  describe: (t) => {
    const biases = flaggedBiases(t)
    const tc = transformerOf(t, { ...biasFields(biases), normalization: "LayerNorm", gated_linear_unit: false })
    return textModel({
      tc,
      table: withZeroBiases(layer, biases),
      provider: gptProvider(GPT, tc, { ...commonOf(t), layernorm_epsilon: t.layer_norm_eps }, { ...extraOf(t), ...DENSE_FUSIONS, ...llamaScalingFields(t) }),
      forward: forwardOf(t, { epsilon: t.layer_norm_eps }),
      ...flaggedZeroBiases(t)
    })
  },
  impliedConfig: (m) => (activationName(m.text("activation_func") ?? "") !== "relu2" ? undefined : {
    ...textConfig(m), model_type: "jais2", layer_norm_eps: m.number("layernorm_epsilon")!, attention_bias: m.is("add_bias_linear"), mlp_bias: m.is("add_bias_linear")
  })
})
