/** ERNIE 4.5, dense: Llama whose heads are rotated in neighbouring pairs, with one flag for all biases. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { biasFields } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { BIAS_FUSIONS } from "./shared/fusions.ts"
import { commonOf, denseFields, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields, scalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const ernie4_5 = family({
  name: "ernie4.5",
  architectures: ["Ernie4_5ForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 2, head_dim: 128, rms_norm_eps: 1e-5, rope_theta: 500_000, max_position_embeddings: 131_072, tie_word_embeddings: true },
    z.looseObject({ ...denseFields, use_bias: z.boolean().nullish() })
  ),
  describe: (t) => {
    const bias = t.use_bias ?? false
    const tc = transformerOf(t, biasFields({ qkv: bias, output: bias, mlp: bias }))
    return textModel({
      tc,
      table: { ...attention, ...denseMlp, ...mlpBiases },
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...BIAS_FUSIONS,
        ...scalingFields(t),
        ...llamaScalingFields(t),
        // None in attention either, whatever config.json says.
        attention_dropout: float(0),
        hidden_dropout: float(0),
        rotary_interleaved: true
      }),
      forward: forwardOf(t, { rotary: { interleaved: true } })
    })
  }
})
