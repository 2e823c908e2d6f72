/** Qwen2.5-VL: a Qwen2 language model behind a mirrored window-attention vision tower. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf, tailWindows } from "./shared/forward.ts"
import { hfConfig, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { generationOf, languageAnd, mirrored, multimodalModel, sectioned, tiedOf, tokenIds, visionTokens, vocabularyMarks } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { windowVision, windowVisionFields } from "./shared/towers/windowVision.ts"

/** Until transformers 4.52 the language model stood alone in `model`; checkpoints are still published like this. */
const GENERATIONS = [
  { signs: ["model.layers.", "model.embed_tokens.", "model.norm.", "visual."], model: "model.", visual: "visual." },
  { signs: ["model.language_model.", "model.visual."], model: "model.language_model.", visual: "model.visual." }
]

const PROVIDER = "megatron.bridge.models.qwen_vl.qwen25_vl_provider.Qwen25VLModelProvider"
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "visual.", encoder: "qwen_visual" })

export const qwen2_5Vl = family({
  name: "qwen2.5-vl",
  architectures: ["Qwen2_5_VLForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: sectioned("text_config", z.looseObject({
    text_config: defaulted({ num_key_value_heads: 8, rms_norm_eps: 1e-5, rope_theta: 1e6, max_position_embeddings: 32_768 }, z.looseObject(denseFields)),
    vision_config: z.looseObject(windowVisionFields),
    tie_word_embeddings: z.boolean().nullish(),
    ...visionTokens
  })),
  layout: (_, headers) => generationOf(headers, GENERATIONS),
  describe: (c, { model, visual }) => {
    const { text_config: t, vision_config: v } = c
    const tc = transformerOf(t, { add_qkv_bias: true, share_embeddings_and_output_weights: tiedOf(c) })
    return multimodalModel({
      tc,
      names: { megatron: "language_model.", model, head: "" },
      table: { ...attention, ...denseMlp },
      towers: [windowVision("visual", v, { qkv: "one" })],
      rows: mirrored("visual.", visual),
      // Rotary sections stay the provider's: the reference does not read them.
      provider: gptProvider(PROVIDER, tc, commonOf(t), {
        ...extraOf(t),
        ...tokenIds(c),
        ...vocabularyMarks(t, { bos_token_id: undefined, eos_token_id: undefined }),
        vision_token_id: typeof c["vision_token_id"] === "number" ? c["vision_token_id"] : undefined,
        position_embedding_type: "mrope",
        vision_config: hfConfig("qwen2_5_vl.configuration_qwen2_5_vl.Qwen2_5_VLVisionConfig", wholeVision(v))
      }),
      // Three axes of positions, which are one for text.
      forward: forwardOf(t, { windows: tailWindows(t) }),
      components: COMPONENTS
    })
  }
})
