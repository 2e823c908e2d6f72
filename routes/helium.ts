/** Helium: Llama whose heads are rotated in neighbouring pairs. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { biasFields, type LinearBiases, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { BIAS_FUSIONS } from "./shared/fusions.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const helium = family({
  name: "helium",
  architectures: ["HeliumForCausalLM"],
  config: () => defaulted({ num_key_value_heads: 20, head_dim: 128, rms_norm_eps: 1e-8, rope_theta: 1e5, max_position_embeddings: 4096 }, z.looseObject(denseFields)),
  describe: (t) => {
    // The output of attention has none whatever the flag says.
    const biases: LinearBiases = { qkv: t.attention_bias ?? false, output: false, mlp: t.mlp_bias ?? false }
    const tc = transformerOf(t, biasFields(biases))
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...denseMlp, ...mlpBiases }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...BIAS_FUSIONS, ...llamaScalingFields(t), rotary_interleaved: true }),
      forward: forwardOf(t, { rotary: { interleaved: true } }),
      ...zeroBiases(biases)
    })
  },
  impliedConfig: (m) => (m.is("add_bias_linear") || !m.is("rotary_interleaved") ? undefined : { ...textConfig(m), model_type: "helium", attention_bias: m.is("add_qkv_bias"), mlp_bias: false })
})
