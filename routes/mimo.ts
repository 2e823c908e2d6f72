/** MiMo 7B: Qwen2 with a multi-token-prediction head whose input projection takes the hidden state first. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { swappedHalvesOf } from "../src/bridge/kinds.ts"
import { rows } from "../src/bridge/Registry.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { many } from "./shared/config.ts"
import { forwardOf, tailWindows } from "./shared/forward.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const layer = { ...attention, ...denseMlp }

export const mimo = family({
  name: "mimo",
  architectures: ["MiMoForCausalLM"],
  config: () => z.looseObject({ ...denseFields, num_nextn_predict_layers: many.nullish() }),
  describe: (t) => {
    const tc = transformerOf(t, { add_qkv_bias: true, mtp_num_layers: t.num_nextn_predict_layers ?? 0 })
    return textModel({
      tc,
      table: layer,
      rows: [
        ...rows("mtp.layers.*.", "model.mtp_layers.*.", {
          "enorm.weight": "token_layernorm.weight",
          "hnorm.weight": "hidden_layernorm.weight",
          "eh_proj.weight": swappedHalvesOf("input_proj.weight"),
          "final_layernorm.weight": "final_layernorm.weight"
        }),
        ...rows("mtp.layers.*.mtp_model_layer.", "model.mtp_layers.*.", layer)
      ],
      provider: gptProvider(GPT, tc, commonOf(t), extraOf(t)),
      forward: forwardOf(t, { windows: tailWindows(t) }),
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
