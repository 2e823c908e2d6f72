/** Seed-OSS: Llama with biases on query, key and value. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { biasFields, type LinearBiases, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const seedOss = family({
  name: "seed-oss",
  architectures: ["SeedOssForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 8, head_dim: 128, attention_bias: true, attention_dropout: 0.1, max_position_embeddings: 524_288 },
    z.looseObject({ ...denseFields, attention_out_bias: z.boolean().nullish(), residual_dropout: z.number().nullish() })
  ),
  describe: (t) => {
    const biases: LinearBiases = { qkv: t.attention_bias ?? false, output: t.attention_out_bias ?? false, mlp: t.mlp_bias ?? false }
    const tc = transformerOf(t, biasFields(biases))
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...denseMlp, ...mlpBiases }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...DENSE_FUSIONS, ...llamaScalingFields(t), hidden_dropout: float(t.residual_dropout ?? 0.1) }),
      forward: forwardOf(t),
      ...zeroBiases(biases, Object.entries({ attention_bias: biases.qkv, attention_out_bias: biases.output, mlp_bias: biases.mlp })
        .flatMap(([path, has]) => (has ? [] : [{ path, value: true, add: true as const }])))
    })
  }
})
