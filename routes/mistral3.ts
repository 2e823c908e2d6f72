/** Mistral 3 and Ministral 3 with images: a Mistral language model behind a mirrored Pixtral tower and projector. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { plainLayer, plainWeight } from "../src/model/plain.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { count, defaulted, size } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { hfConfig, typed, whole, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, denseFields, transformerOf } from "./shared/llama.ts"
import { generationOf, languageAnd, mirrored, multimodalModel, tiedOf, WRAPPED_NAMES } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { pixelVision, pixelVisionFields } from "./shared/towers/pixelVision.ts"

/** The provider class stretches positions like this whatever config.json says; the reference does not read it. */
const YARN = {
  position_embedding_type: "yarn",
  yarn_rotary_scaling_factor: float(16),
  yarn_original_max_position_embeddings: 16_384,
  yarn_beta_fast: float(32),
  yarn_beta_slow: float(1),
  yarn_mscale: float(1),
  yarn_mscale_all_dim: float(1),
  yarn_correction_range_round_to_int: false
}

const PROVIDER = "megatron.bridge.models.ministral3.ministral3_provider.Ministral3ModelProvider"
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_tower.", encoder: "pixtral", projectors: ["multi_modal_projector."] })

const forwardFields = z.looseObject({
  sliding_window: size.nullish(),
  rope_parameters: z.looseObject({ llama_4_scaling_beta: z.number().nullish(), original_max_position_embeddings: size.nullish() }).nullish()
})

/** A window of all layers, and scores that grow with positions: of the two language models, one has the latter. */
const attentionOf = (t: object) => {
  const { rope_parameters: rope, sliding_window: window } = forwardFields.parse(t)
  const { llama_4_scaling_beta: beta, original_max_position_embeddings: length } = rope ?? {}
  return { window, growth: beta && length ? { beta, length } : undefined }
}

export const mistral3 = family({
  name: "mistral3",
  architectures: ["Mistral3ForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: () => z.looseObject({
    text_config: defaulted({ num_key_value_heads: 8, head_dim: 128, rms_norm_eps: 1e-5, rope_theta: 1e6, max_position_embeddings: 262_144 }, z.looseObject(denseFields)),
    vision_config: z.looseObject(pixelVisionFields),
    image_token_index: count.nullish(),
    image_token_id: count.nullish(),
    multimodal_projector_bias: z.boolean().default(false),
    spatial_merge_size: size.default(2),
    vision_feature_layer: z.union([z.int(), z.array(z.int()).min(1)]).default(-1),
    tie_word_embeddings: z.boolean().nullish()
  }),
  layout: (_, headers) => generationOf(headers, WRAPPED_NAMES),
  describe: (c, { head, model, outer }) => {
    const { text_config: t, vision_config: v } = c
    const { growth, window } = attentionOf(t)
    const tc = transformerOf(t, { share_embeddings_and_output_weights: tiedOf(c, true) })
    const features = v.hidden_size * (Array.isArray(c.vision_feature_layer) ? c.vision_feature_layer.length : 1)
    return multimodalModel({
      tc,
      names: { megatron: "language_model.", model, head },
      table: { ...attention, ...denseMlp },
      towers: [
        pixelVision("vision_tower", v),
        {
          kind: "projector",
          path: "multi_modal_projector",
          sizes: { input: v.hidden_size * c.spatial_merge_size ** 2, hidden: t.hidden_size, output: t.hidden_size },
          build: (s) => {
            plainWeight(s, "norm", [v.hidden_size])
            plainWeight(s, "patch_merger.merging_layer", [v.hidden_size, v.hidden_size * c.spatial_merge_size ** 2])
            plainLayer(s, "linear_1", [t.hidden_size, features], c.multimodal_projector_bias)
            plainLayer(s, "linear_2", [t.hidden_size, t.hidden_size], c.multimodal_projector_bias)
          }
        }
      ],
      rows: [...mirrored("vision_tower.", `${outer}vision_tower.`), ...mirrored("multi_modal_projector.", `${outer}multi_modal_projector.`)],
      provider: gptProvider(PROVIDER, tc, { ...commonOf(t), dtype: "bfloat16" }, {
        ...YARN,
        make_vocab_size_divisible_by: 128,
        image_token_id: c.image_token_index ?? c.image_token_id ?? undefined,
        hf_config: hfConfig("mistral3.configuration_mistral3.Mistral3Config", {
          ...whole(c),
          text_config: whole(t),
          vision_config: typed("pixtral", wholeVision(v))
        })
      }),
      forward: forwardOf(t, { windows: () => window, layer: () => ({ growth }) }),
      components: COMPONENTS
    })
  }
})
