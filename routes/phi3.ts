/** Phi-3 and Phi-4: one tensor for query, key and value, one for gate and up, partly rotated heads in the small ones. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { concatenatedQkvOf } from "../src/bridge/kinds.ts"
import { float } from "../src/runconfig/Provider.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { defaulted, size } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { DENSE_FUSIONS } from "./shared/fusions.ts"
import { windowFieldsOf } from "./shared/layerPatterns.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

/** Its class reads these older types as the one that it has. */
const OLD_TYPES = new Set(["su", "yarn"])

const renamed = (section: unknown): unknown => {
  if (typeof section !== "object" || section === null) return section
  return Object.fromEntries(Object.entries(section).map(([key, value]) => [key, /^(rope_)?type$/.test(key) && OLD_TYPES.has(String(value)) ? "longrope" : value]))
}

const schema = z.preprocess(
  (c) => (typeof c === "object" && c !== null ? Object.fromEntries(Object.entries(c).map(([key, value]) => [key, /^rope_(scaling|parameters)$/.test(key) ? renamed(value) : value])) : c),
  defaulted(
    { rms_norm_eps: 1e-5, max_position_embeddings: 4096 },
    z.looseObject({ ...denseFields, sliding_window: size.nullish(), resid_pdrop: z.number().nullish() })
  )
)

const layer = {
  ...attention,
  ...denseMlp,
  "self_attention.linear_qkv.weight": concatenatedQkvOf("self_attn.qkv_proj.weight"),
  "mlp.linear_fc1.weight": "mlp.gate_up_proj.weight"
}

export const phi3 = family({
  name: "phi3",
  architectures: ["Phi3ForCausalLM"],
  config: () => schema,
  describe: (t) => {
    const tc = transformerOf(t)
    return textModel({
      tc,
      table: layer,
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...DENSE_FUSIONS,
        hidden_dropout: float(t.resid_pdrop ?? 0),
        ...windowFieldsOf(t.sliding_window, Array.from({ length: t.num_hidden_layers }, () => true))
      }),
      forward: forwardOf(t, { windows: () => t.sliding_window })
    })
  }
})
