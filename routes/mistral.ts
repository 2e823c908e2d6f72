/** Mistral 7B and its successors with text only: Llama with a provider class of its own and, at first, a sliding window. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { positions, size } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { publisherForm } from "../src/bridge/PublisherForm.ts"
import { assumedOf, textFieldsOf, textParams, textTensors } from "./shared/consolidated.ts"
import { textModel } from "./shared/textModel.ts"

/** Positions of the models whose params.json does not say them. */
const POSITIONS = 32_768

const windowed = z.strictObject({ ...textParams, sliding_window: z.union([size, z.string().regex(/^[1-9]\d{0,8}$/)]).nullish() })

export const mistral = family({
  name: "mistral",
  architectures: ["MistralForCausalLM"],
  config: () => z.looseObject({ ...denseFields, ...positions(131_072), num_key_value_heads: size.nullable().default(8), sliding_window: size.nullable().default(4096) }),
  describe: (t) => {
    const tc = transformerOf(t)
    return textModel({
      tc,
      table: { ...attention, ...denseMlp },
      provider: gptProvider("megatron.bridge.models.mistral.mistral_provider.MistralModelProvider", tc, commonOf(t), {
        ...extraOf(t),
        ...(t.sliding_window === null ? {} : { window_size: [t.sliding_window - 1, 0], cp_comm_type: "a2a" })
      }),
      forward: forwardOf(t, { windows: () => t.sliding_window })
    })
  },
  publisher: [publisherForm({
    applies: (p) => ["moe", "vision_encoder", "multimodal", "yarn", "llama_4_scaling", "quantization", "qk_nope_head_dim"].every((field) => !(field in p)) && p["model_type"] !== "mamba",
    params: windowed,
    config: (p) => ({
      architecture: "MistralForCausalLM",
      config: { model_type: "mistral", ...textFieldsOf(p, POSITIONS), sliding_window: p.sliding_window == null ? null : Number(p.sliding_window), hidden_act: "silu" },
      assumed: assumedOf(p, POSITIONS)
    }),
    tensors: textTensors("model.", "")
  })],
  // Without a window it is the model that Llama's class is.
  impliedConfig: (m) => {
    const window = m.value("window_size")
    return Array.isArray(window) ? { ...textConfig(m), model_type: "mistral", sliding_window: Number(window[0]) + 1 } : undefined
  }
})
