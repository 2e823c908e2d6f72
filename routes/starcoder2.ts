/** StarCoder2: LayerNorm, biases everywhere, a plain MLP, the head tied to the embedding, and a sliding window. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { activationName } from "./shared/activations.ts"
import { biasFields } from "./shared/biases.ts"
import { attention, layerNormBiases } from "./shared/blocks.ts"
import { defaulted, size } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { textConfig } from "./shared/implied.ts"
import { windowFieldsOf } from "./shared/layerPatterns.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const layer = {
  ...attention,
  ...layerNormBiases,
  "mlp.linear_fc1.layer_norm_weight": "post_attention_layernorm.weight",
  "mlp.linear_fc1.weight": "mlp.c_fc.weight",
  "mlp.linear_fc1.bias": "mlp.c_fc.bias",
  "mlp.linear_fc2.weight": "mlp.c_proj.weight",
  "mlp.linear_fc2.bias": "mlp.c_proj.bias"
}

export const starcoder2 = family({
  name: "starcoder2",
  architectures: ["Starcoder2ForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 2, hidden_act: "gelu_pytorch_tanh", max_position_embeddings: 4096, initializer_range: 0.018042, tie_word_embeddings: true },
    z.looseObject({
      ...denseFields,
      use_bias: z.boolean().default(true),
      norm_epsilon: z.number().default(1e-5),
      sliding_window: size.nullish(),
      residual_dropout: z.number().nullish()
    })
  ),
  describe: (t) => {
    const tc = transformerOf(t, {
      ...biasFields({ qkv: t.use_bias, output: t.use_bias, mlp: t.use_bias }),
      normalization: "LayerNorm",
      gated_linear_unit: false
    })
    return textModel({
      tc,
      table: layer,
      provider: gptProvider(GPT, tc, { ...commonOf(t), layernorm_epsilon: t.norm_epsilon }, {
        ...extraOf(t),
        ...DENSE_FUSIONS,
        hidden_dropout: float(t.residual_dropout ?? 0),
        ...windowFieldsOf(t.sliding_window, Array.from({ length: t.num_hidden_layers }, () => true))
      }),
      forward: forwardOf(t, { epsilon: t.norm_epsilon, windows: () => t.sliding_window })
    })
  },
  impliedConfig: (m) => {
    const window = m.value("window_size")
    if (activationName(m.text("activation_func") ?? "") !== "gelu_pytorch_tanh") return undefined
    return {
      ...textConfig(m), model_type: "starcoder2", use_bias: m.is("add_bias_linear"), norm_epsilon: m.number("layernorm_epsilon")!,
      sliding_window: Array.isArray(window) ? Number(window[0]) + 1 : null
    }
  }
})
