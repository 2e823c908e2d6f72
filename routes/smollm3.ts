/** SmolLM3: Llama whose every fourth layer does not encode positions. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { biasFields, flaggedBiases, flaggedZeroBiases, withZeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { count, defaulted, size } from "./shared/config.ts"
import { forwardOf, windowsAt } from "./shared/forward.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { textConfig } from "./shared/implied.ts"
import { noRopeFields, windowFieldsOf } from "./shared/layerPatterns.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { perLayer } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { windowFields } from "./shared/slidingTypes.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const fields = {
  ...denseFields,
  ...windowFields,
  /** 1: the layer encodes positions. */
  no_rope_layers: z.array(count).max(100_000).nullish(),
  no_rope_layer_interval: size.default(4)
}

const layersOf = (t: z.infer<z.ZodObject<typeof fields>>) => {
  const layers = t.num_hidden_layers
  const encoded = t.no_rope_layers
    ? perLayer(t.no_rope_layers, layers, "no_rope_layers").map((own) => own !== 0)
    : Array.from({ length: layers }, (_, i) => (i + 1) % t.no_rope_layer_interval !== 0)
  const kinds = t.layer_types
    ? perLayer(t.layer_types, layers, "layer_types")
    : encoded.map((own) => (t.use_sliding_window && t.sliding_window && !own ? "sliding_attention" : "full_attention"))
  return { encoded, kinds }
}

export const smolLm3 = family({
  name: "smollm3",
  architectures: ["SmolLM3ForCausalLM"],
  config: () => defaulted({ num_key_value_heads: 4, rope_theta: 2e6, max_position_embeddings: 32_768, tie_word_embeddings: true }, z.looseObject(fields)),
  describe: (t) => {
    const biases = flaggedBiases(t)
    const tc = transformerOf(t, biasFields(biases))
    const { encoded, kinds } = layersOf(t)
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...denseMlp, ...mlpBiases }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...DENSE_FUSIONS,
        ...llamaScalingFields(t),
        ...noRopeFields(encoded),
        ...windowFieldsOf(t.sliding_window, kinds.map((kind) => kind === "sliding_attention"))
      }),
      forward: forwardOf(t, { windows: windowsAt(kinds, t.sliding_window), layer: (i) => (encoded[i] ? {} : { rotary: null }) }),
      ...flaggedZeroBiases(t)
    })
  },
  impliedConfig: (m) => {
    const skipped = m.value("no_rope_freq")
    if (!Array.isArray(skipped) || m.value("window_size") !== null) return undefined
    return { ...textConfig(m), model_type: "smollm3", attention_bias: m.is("add_bias_linear"), mlp_bias: m.is("add_bias_linear"), no_rope_layers: skipped.map((own) => (own === 0 ? 1 : 0)) }
  }
})
