/** Qwen3, dense: norms of each query and key head, no biases, optionally multi-token prediction. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attentionBiases, biasFields, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, fcMtp, mlpBiases, qkNorm } from "./shared/blocks.ts"
import { many, positions, size } from "./shared/config.ts"
import { forwardOf, tailWindows } from "./shared/forward.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const table = { ...attention, ...qkNorm, ...denseMlp, ...mlpBiases }

export const qwen3 = family({
  name: "qwen3",
  architectures: ["Qwen3ForCausalLM"],
  config: () => z.looseObject({
    ...denseFields,
    ...positions(32_768),
    num_key_value_heads: size.nullable().default(32),
    head_dim: size.default(128),
    mtp_num_hidden_layers: many.nullish(),
    num_nextn_predict_layers: many.nullish()
  }),
  describe: (t) => {
    const biases = attentionBiases(t)
    const layer = withZeroBiases(table, biases)
    const modules = t.mtp_num_hidden_layers ?? t.num_nextn_predict_layers ?? 0
    const tc = transformerOf(t, { ...biasFields(biases), qk_layernorm: true, mtp_num_layers: modules })
    return textModel({
      tc,
      table: layer,
      rows: fcMtp(modules, layer, "mtp_num_hidden_layers"),
      provider: gptProvider(GPT, tc, commonOf(t), extraOf(t)),
      forward: forwardOf(t, { windows: tailWindows(t) }),
      ...zeroBiases(biases),
      mtpFields: ["mtp_num_hidden_layers", "num_nextn_predict_layers"]
    })
  },
  impliedConfig: (m) => {
    const modules = m.number("mtp_num_layers") ?? 0
    return {
      ...textConfig(m), model_type: "qwen3", attention_bias: m.is("add_bias_linear"), use_sliding_window: false,
      ...(modules > 0 ? { mtp_num_hidden_layers: modules } : {})
    }
  }
})
