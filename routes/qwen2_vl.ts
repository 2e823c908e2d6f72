/** Qwen2-VL: a Qwen2 language model behind a mirrored vision tower with rotary positions. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf, tailWindows } from "./shared/forward.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { generationOf, languageAnd, mirrored, mropeOf, multimodalModel, sectioned, tiedOf, visionTokens } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT } from "./shared/textModel.ts"
import { axialVision, axialVisionFields } from "./shared/towers/axialVision.ts"
import { NEEDS, needsNote } from "./shared/trainerNeeds.ts"

/** Until transformers 4.52 the language model stood alone in `model`; checkpoints are still published like this. */
const GENERATIONS = [
  { signs: ["model.layers.", "model.embed_tokens.", "model.norm.", "visual."], model: "model.", visual: "visual." },
  { signs: ["model.language_model.", "model.visual."], model: "model.language_model.", visual: "model.visual." }
]

const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "visual.", encoder: "qwen_visual" })

/** No class of the reference builds this one; Megatron names are those of its successor. */
export const qwen2Vl = family({
  name: "qwen2-vl",
  architectures: ["Qwen2VLForConditionalGeneration"],
  mimo: [{ providers: [GPT], components: COMPONENTS }],
  config: sectioned("text_config", z.looseObject({
    text_config: defaulted({ num_key_value_heads: 8, rms_norm_eps: 1e-5, max_position_embeddings: 32_768 }, z.looseObject(denseFields)),
    vision_config: z.looseObject(axialVisionFields),
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
      towers: [axialVision("visual", v)],
      rows: mirrored("visual.", visual),
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), position_embedding_type: "mrope", mrope_section: mropeOf(t) }),
      // Three axes of positions, which are one for text.
      forward: forwardOf(t, { windows: tailWindows(t) }),
      components: COMPONENTS,
      notes: needsNote(NEEDS.imageTower)
    })
  }
})
