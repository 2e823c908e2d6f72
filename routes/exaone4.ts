/** EXAONE 4: norms of the outputs of attention and MLP instead of their inputs, and of each query and key head. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { pythonName } from "../src/runconfig/Provider.ts"
import { afterNorms, attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { count, positions, size } from "./shared/config.ts"
import { forwardOf, windowsAt } from "./shared/forward.ts"
import { commonOf, denseFields, extraOf, type TextConfig, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { slidingPattern, slidingTypes } from "./shared/slidingTypes.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const pattern = z.object({ layer_types: z.array(z.string()).max(100_000).nullish(), sliding_window: count.nullable().default(4096), sliding_window_pattern: slidingPattern })

/** Positions are encoded in layers with a window only, where there are any. */
const forward = (t: TextConfig) => {
  const { data } = pattern.safeParse(t)
  if (data === undefined) return undefined
  const kinds = slidingTypes({ ...data, num_hidden_layers: t.num_hidden_layers })
  return forwardOf(t, {
    windows: windowsAt(kinds, data.sliding_window),
    layer: (i) => (data.sliding_window === null || kinds[i] === "sliding_attention" ? {} : { rotary: null })
  })
}

export const exaone4 = family({
  name: "exaone4",
  architectures: ["Exaone4ForCausalLM"],
  config: () => z.looseObject({ ...denseFields, ...positions(2048), num_key_value_heads: size.default(32), rms_norm_eps: z.number().default(1e-5) }),
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
      }),
      forward: forward(t)
    })
  }
})
