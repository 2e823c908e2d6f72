/** Nemotron-4 and Minitron: LayerNorm with biases, a squared-ReLU MLP without gate, partly rotated heads. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { biasFields, flaggedBiases, flaggedZeroBiases, withZeroBiases } from "./shared/biases.ts"
import { attention, layerNormBiases, ungatedMlp } from "./shared/blocks.ts"
import { positions } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const nemotron = family({
  name: "nemotron",
  architectures: ["NemotronForCausalLM"],
  config: () => z.looseObject({
    ...denseFields,
    ...positions(4096),
    hidden_act: z.string().default("relu2"),
    norm_eps: z.number().default(1e-5),
    partial_rotary_factor: z.number().nullable().default(0.5),
    initializer_range: z.number().default(0.0134)
  }),
  describe: (t) => {
    const biases = flaggedBiases(t)
    const tc = transformerOf(t, { ...biasFields(biases), normalization: "LayerNorm", gated_linear_unit: false })
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...ungatedMlp, ...layerNormBiases }, biases),
      provider: gptProvider(GPT, tc, { ...commonOf(t), layernorm_epsilon: t.norm_eps }, { ...extraOf(t), apply_rope_fusion: true, masked_softmax_fusion: true, persist_layer_norm: true, layernorm_zero_centered_gamma: true }),
      forward: forwardOf(t, { epsilon: t.norm_eps, zeroCentred: true }),
      ...flaggedZeroBiases(t)
    })
  },
  impliedConfig: (m) => ({
    ...textConfig(m), model_type: "nemotron", norm_eps: m.number("layernorm_epsilon")!, partial_rotary_factor: m.number("rotary_percent")!,
    attention_bias: m.is("add_bias_linear"), mlp_bias: m.is("add_bias_linear")
  })
})
