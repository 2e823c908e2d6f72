/** Qwen2 and Qwen2.5: Llama with biases on q, k and v. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { positions, size } from "./shared/config.ts"
import { forwardOf, tailWindows } from "./shared/forward.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const qwen2 = family({
  name: "qwen2",
  architectures: ["Qwen2ForCausalLM"],
  config: () => z.looseObject({ ...denseFields, ...positions(32_768), num_key_value_heads: size.nullable().default(32) }),
  describe: (t) => {
    const tc = transformerOf(t, { add_qkv_bias: true })
    return textModel({
      tc,
      table: { ...attention, ...denseMlp },
      provider: gptProvider(GPT, tc, commonOf(t), extraOf(t)),
      forward: forwardOf(t, { windows: tailWindows(t) })
    })
  },
  impliedConfig: (m) => ({ ...textConfig(m), model_type: "qwen2", use_sliding_window: false })
})
