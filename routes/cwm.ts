/** Code World Model: Llama that looks back through a window in three of four layers. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { biasFields, type LinearBiases, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { count, defaulted } from "./shared/config.ts"
import { forwardOf, windowsAt } from "./shared/forward.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { windowFieldsOf } from "./shared/layerPatterns.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { perLayer } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const PUBLISHED_ROPE = { rope_theta: 1e6, factor: 16, high_freq_factor: 4, low_freq_factor: 1, original_max_position_embeddings: 8192, rope_type: "llama3" }

export const cwm = family({
  name: "cwm",
  architectures: ["CwmForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 8, head_dim: 128, rms_norm_eps: 1e-5, max_position_embeddings: 131_072, sliding_window: 8192, rope_parameters: PUBLISHED_ROPE },
    z.looseObject({ ...denseFields, sliding_window: count.nullish(), layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).max(100_000).nullish() })
  ),
  describe: (t) => {
    const biases: LinearBiases = { qkv: false, output: false, mlp: t.mlp_bias ?? false }
    const tc = transformerOf(t, biasFields(biases))
    const kinds = t.layer_types
      ? perLayer(t.layer_types, t.num_hidden_layers, "layer_types")
      : Array.from({ length: t.num_hidden_layers }, (_, i) => (i % 4 === 0 ? "full_attention" : "sliding_attention"))
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...denseMlp, ...mlpBiases }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...DENSE_FUSIONS,
        ...llamaScalingFields(t),
        ...windowFieldsOf(t.sliding_window, kinds.map((kind) => kind === "sliding_attention"))
      }),
      forward: forwardOf(t, { windows: windowsAt(kinds, t.sliding_window) }),
      ...zeroBiases(biases)
    })
  }
})
