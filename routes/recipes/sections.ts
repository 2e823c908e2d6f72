/** Where the parts of a model lie in a checkpoint of a whole one, and which model each is by itself. */
import { LANGUAGES } from "../llava.ts"

/** What names begin with in the whole, and in the part. */
export type Renamed = readonly [whole: string, part: string]

export interface SectionRecipe {
  /** The section of config.json that is the part's. */
  readonly field: string
  /** The first of these of which the checkpoint has names. */
  readonly names: ReadonlyArray<readonly [Renamed, ...ReadonlyArray<Renamed>]>
  /** The class of the part alone, by the section's `model_type`. */
  readonly classes: Readonly<Record<string, string>>
  /** What that class has where the section says nothing, by the same. */
  readonly defaults?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** By the name of the part. */
export const SECTIONS: Readonly<Record<string, SectionRecipe>> = {
  language: {
    field: "text_config",
    names: [
      [["language_model.", ""]],
      [["model.language_model.", "model."], ["lm_head.", "lm_head."]],
      [["model.text_model.", "model."], ["lm_head.", "lm_head."]]
    ],
    classes: {
      llama: "LlamaForCausalLM",
      mistral: "MistralForCausalLM",
      qwen2: "Qwen2ForCausalLM",
      qwen3: "Qwen3ForCausalLM",
      qwen3_moe: "Qwen3MoeForCausalLM",
      gemma3_text: "Gemma3ForCausalLM"
    },
    defaults: LANGUAGES
  },
  images: {
    field: "vision_config",
    names: ["model.vision_tower.", "vision_tower.", "model.visual.", "visual."].map((prefix) => [[prefix, ""]]),
    classes: {
      clip_vision_model: "CLIPVisionModel",
      siglip_vision_model: "SiglipVisionModel",
      siglip2_vision_model: "Siglip2VisionModel",
      pixtral: "PixtralVisionModel",
      qwen2_5_vl: "Qwen2_5_VisionTransformerPretrainedModel",
      qwen2_5_vl_vision: "Qwen2_5_VisionTransformerPretrainedModel",
      qwen3_vl: "Qwen3VLVisionModel",
      qwen3_vl_vision: "Qwen3VLVisionModel",
      qwen3_vl_moe: "Qwen3VLMoeVisionModel",
      qwen3_vl_moe_vision: "Qwen3VLMoeVisionModel",
      qwen3_5: "Qwen3_5VisionModel",
      qwen3_5_vision: "Qwen3_5VisionModel",
      qwen3_5_moe: "Qwen3_5MoeVisionModel",
      qwen3_5_moe_vision: "Qwen3_5MoeVisionModel"
    }
  },
  audios: {
    field: "audio_config",
    names: ["model.audio_tower.", "audio_tower."].map((prefix) => [[prefix, ""]]),
    classes: { qwen2_audio_encoder: "Qwen2AudioEncoder" }
  }
}
