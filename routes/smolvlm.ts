/** SmolVLM and Idefics 3: a Llama language model behind a mirrored SigLIP tower, whose patches are folded together and projected by one matrix. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { plainWeight } from "../src/model/plain.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { count, defaulted, many, size } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { commonOf, extraOf, textFields, transformerOf } from "./shared/llama.ts"
import { languageAnd, mirrored, multimodalModel, tiedOf } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT } from "./shared/textModel.ts"
import { pairVision, pairVisionFields } from "./shared/towers/pairVision.ts"
import { NEEDS, needsNote } from "./shared/trainerNeeds.ts"

/** What published text sections leave out: the values of Llama's config class. */
const TEXT = {
  num_hidden_layers: 32, hidden_size: 4096, intermediate_size: 11_008, num_attention_heads: 32, vocab_size: 32_000, max_position_embeddings: 2048, rms_norm_eps: 1e-6
}

const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_model.", encoder: "siglip", projectors: ["connector."] })

/** No class of the reference builds these; Megatron names are those of the model's own parts. */
export const smolVlm = family({
  name: "smolvlm",
  architectures: ["SmolVLMForConditionalGeneration", "Idefics3ForConditionalGeneration"],
  mimo: [{ providers: [GPT], components: COMPONENTS }],
  config: () => z.looseObject({
    text_config: defaulted(TEXT, z.looseObject({ ...textFields, num_hidden_layers: many.min(1), intermediate_size: size })),
    vision_config: defaulted({ hidden_size: 1152, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 16, image_size: 224, patch_size: 32 }, z.looseObject(pairVisionFields)),
    scale_factor: size.max(64).default(2),
    image_token_id: count.nullish(),
    tie_word_embeddings: z.boolean().nullish()
  }),
  describe: (c) => {
    const { scale_factor: fold, text_config: t, vision_config: v } = c
    const tc = transformerOf(t, { share_embeddings_and_output_weights: tiedOf(c) })
    return multimodalModel({
      tc,
      names: { megatron: "language_model.", model: "model.text_model.", head: "" },
      table: { ...attention, ...denseMlp },
      towers: [
        pairVision("vision_model", v),
        {
          kind: "projector",
          path: "connector",
          sizes: { input: v.hidden_size * fold ** 2, output: t.hidden_size },
          build: (s) => plainWeight(s, "modality_projection.proj", [t.hidden_size, v.hidden_size * fold ** 2])
        }
      ],
      rows: [...mirrored("vision_model.", "model.vision_model."), ...mirrored("connector.", "model.connector.")],
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...llamaScalingFields(t) }),
      forward: forwardOf(t),
      components: COMPONENTS,
      notes: needsNote(NEEDS.imageTower)
    })
  }
})
