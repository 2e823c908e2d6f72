/** Mistral 3 and Ministral 3 with images: a Mistral language model behind a mirrored Pixtral tower and projector. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { publisherForm, type PublishedFields } from "../src/bridge/PublisherForm.ts"
import { float } from "../src/runconfig/Provider.ts"
import { plainLayer, plainWeight } from "../src/model/plain.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { count, defaulted, size } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { assumedOf, textFieldsOf, textParams, textTensors, TOWER_ASSUMED, towerFieldsOf, visionParams, visionTensors } from "./shared/consolidated.ts"
import { hfConfig, typed, whole, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, denseFields, transformerOf } from "./shared/llama.ts"
import { generationOf, languageAnd, mirrored, multimodalModel, tiedOf, WRAPPED_NAMES } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { pixelVision, pixelVisionFields } from "./shared/towers/pixelVision.ts"

/** Positions of the models whose params.json does not say them. */
const [POSITIONS, STRETCHED_POSITIONS] = [131_072, 262_144]
const STRETCHED_BASE = 1e6

/** Parameters of other models: experts, another modality, latent attention; codes instead of weights. */
const BEYOND = ["moe", "multimodal", "qk_nope_head_dim", "quantization"]

const withImages = z.strictObject({ ...textParams, vision_encoder: visionParams })
type ParamsWithImages = z.infer<typeof withImages>

const stretched = withImages.extend({
  yarn: z.strictObject({ original_max_position_embeddings: size, factor: z.number().positive(), beta: z.number(), alpha: z.number(), apply_scale: z.literal(false).optional() }),
  llama_4_scaling: z.strictObject({ original_max_position_embeddings: size, beta: z.number() })
})

const publishedConfig = (p: ParamsWithImages, positions: number, text: PublishedFields, base?: number) => ({
  architecture: "Mistral3ForConditionalGeneration",
  config: {
    model_type: "mistral3",
    image_token_index: p.vision_encoder.image_token_id,
    multimodal_projector_bias: p.vision_encoder.adapter_bias,
    projector_hidden_act: "gelu",
    spatial_merge_size: p.vision_encoder.spatial_merge_size,
    vision_feature_layer: -1,
    tie_word_embeddings: p.tied_embeddings,
    text_config: { ...textFieldsOf(p, positions, base), sliding_window: null, hidden_act: "silu", ...text },
    vision_config: towerFieldsOf(p.vision_encoder)
  },
  assumed: [...assumedOf(p, positions, base), TOWER_ASSUMED]
})

/** Images whose patches are merged, in front of a dense language model. */
const hasMergedImages = (p: PublishedFields): boolean => {
  const { vision_encoder: v } = p
  return typeof v === "object" && v !== null && "spatial_merge_size" in v && !BEYOND.some((field) => field in p)
}

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
  publisher: [
    publisherForm({
      applies: (p) => hasMergedImages(p) && !("yarn" in p || "llama_4_scaling" in p),
      params: withImages,
      config: (p) => publishedConfig(p, POSITIONS, { model_type: "mistral" }),
      tensors: [...textTensors<ParamsWithImages>("language_model.model.", "language_model."), ...visionTensors<ParamsWithImages>("")]
    }),
    publisherForm({
      applies: (p) => hasMergedImages(p) && "yarn" in p && "llama_4_scaling" in p,
      params: stretched,
      config: (p) => publishedConfig(p, STRETCHED_POSITIONS, {
        model_type: "ministral3",
        rope_parameters: {
          rope_type: "yarn", rope_theta: p.rope_theta ?? STRETCHED_BASE, factor: p.yarn.factor, original_max_position_embeddings: p.yarn.original_max_position_embeddings,
          beta_fast: p.yarn.beta, beta_slow: p.yarn.alpha, mscale: 1, mscale_all_dim: 1, llama_4_scaling_beta: p.llama_4_scaling.beta
        }
      }, STRETCHED_BASE),
      tensors: [...textTensors<z.infer<typeof stretched>>("model.language_model.", ""), ...visionTensors<z.infer<typeof stretched>>("model.")]
    })
  ],
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
