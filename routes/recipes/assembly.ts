/**
 * Models that are put together from checkpoints of their parts, as data: what each part is called, and where it stands in both tensor
 * spaces. Names of components, modules and projections are those of the reference's examples (examples/megatron_mimo/llava).
 */

export { type Renamed, type SectionRecipe, SECTIONS } from "./sections.ts"

/** A configuration, or a part of one, as config.json has it. */
type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [field: string]: Json }

export interface ModalityRecipe {
  /** Component, and key below `modality_submodules`. */
  readonly name: string
  /** What names of the encoder's tensors begin with in the whole, and its parameters in the standard model. */
  readonly hf: string
  readonly megatron: string
  readonly projector: { readonly hf: string; readonly megatron: string }
  /** What the whole says of the encoder, besides its config.json. */
  readonly settings?: { readonly [field: string]: Json }
  /** Where its tensors begin like this, what stands in front of them in the published form. */
  readonly within?: readonly [begin: RegExp, prefix: string]
}

export interface AssemblyRecipe {
  readonly language: { readonly hf: string; readonly megatron: string }
  readonly modalities: ReadonlyArray<ModalityRecipe>
  /** The config.json of the whole, where transformers has a class for it; `tokens`: ids that stand for modalities. */
  readonly whole?: {
    readonly architecture: string
    /** Ids of the tokens that stand for a modality, where nothing else is said. */
    readonly tokens: Readonly<Record<string, number>>
    /** Sections of it that are the config of a part, or the section of that name in it. */
    readonly sections: Readonly<Record<string, string>>
    readonly config: (parts: Readonly<Record<string, { readonly [field: string]: Json }>>, tokens: Readonly<Record<string, number>>) => { readonly [field: string]: Json }
  }
}

const LANGUAGE = { hf: "language_model.", megatron: "language_model." }

const images: ModalityRecipe = {
  name: "images",
  hf: "vision_tower.",
  megatron: "vision_model.",
  projector: { hf: "multi_modal_projector.", megatron: "vision_projection." },
  // transformers 5 leaves `vision_model.` out of a tower alone.
  within: [/^(embeddings|encoder)\./, "vision_model."]
}

/** The last but one layer's output, as LLaVA takes it. */
const PENULTIMATE = -2
const clipped: ModalityRecipe = { ...images, settings: { vision_feature_layer: PENULTIMATE } }

const audios: ModalityRecipe = {
  name: "audios",
  hf: "audio_tower.",
  megatron: "audio_model.",
  projector: { hf: "audio_projector.", megatron: "audio_projection." }
}

const section = (config: { readonly [field: string]: Json }, inner?: string): { readonly [field: string]: Json } => {
  const found = inner === undefined ? undefined : config[inner]
  const { architectures: _, transformers_version: __, ...fields } = typeof found === "object" && found !== null && !Array.isArray(found) ? found as { readonly [field: string]: Json } : config
  return fields
}

/** By the name that `--recipe` takes. */
export const ASSEMBLIES: Readonly<Record<string, AssemblyRecipe>> = {
  llava: {
    language: LANGUAGE,
    modalities: [clipped],
    whole: {
      architecture: "LlavaForConditionalGeneration",
      tokens: { images: 32_000 },
      sections: { text_config: "language", vision_config: "images" },
      config: (parts, tokens) => {
        const { model_type: _, ...vision } = section(parts["images"]!, "vision_config")
        const projector = parts["images.projector"]!
        return {
          architectures: ["LlavaForConditionalGeneration"],
          model_type: "llava",
          ...(parts["language"]!["dtype"] === undefined ? {} : { dtype: parts["language"]!["dtype"] }),
          image_token_index: tokens["images"]!,
          multimodal_projector_bias: projector["bias"] ?? true,
          projector_hidden_act: "gelu",
          text_config: section(parts["language"]!),
          tie_word_embeddings: parts["language"]!["tie_word_embeddings"] ?? false,
          vision_config: { ...vision, model_type: String(parts["images"]!["model_type"]).startsWith("siglip") ? "siglip_vision_model" : "clip_vision_model" },
          vision_feature_layer: PENULTIMATE,
          vision_feature_select_strategy: String(parts["images"]!["model_type"]).startsWith("siglip") ? "full" : "default"
        }
      }
    }
  },
  images: { language: LANGUAGE, modalities: [images] },
  audio: { language: LANGUAGE, modalities: [audios] },
  "llava-audio": { language: LANGUAGE, modalities: [clipped, audios] }
}

/** Names of a projector's two layers, as checkpoints have them: transformers', LLaVA's own, those of a projector alone. */
export const PROJECTOR_LAYERS: ReadonlyArray<readonly [string, string]> = [
  ["multi_modal_projector.linear_1", "multi_modal_projector.linear_2"],
  ["model.multi_modal_projector.linear_1", "model.multi_modal_projector.linear_2"],
  ["model.mm_projector.0", "model.mm_projector.2"],
  ["mm_projector.0", "mm_projector.2"],
  ["linear_1", "linear_2"],
  ["0", "2"]
]
