/**
 * How released trainers train these models, as data: which script runs the MegatronMIMO form, which recipes and which step the standard
 * form has, what their processors make of images. Sources: the recipes and examples of Megatron-Bridge; the processors' published
 * configurations.
 */

/** The example script of a MegatronMIMO model. */
export interface MimoScript {
  /** Path in a checkout of the trainer. */
  readonly path: string
  /** Option names by what they freeze. */
  readonly freeze: Readonly<Record<string, string>>
  /** Presets of `--dataset-name`, the usual one first. */
  readonly datasets: ReadonlyArray<string>
}

/** How the trainer trains the standard form. */
export interface StandardRecipe {
  /** Module of its `forward_step`. */
  readonly step: string
  /** The common configurations of the trainer: text, or models with towers. */
  readonly base: { readonly sft: string; readonly lora: string }
  /** Presets of the trainer that fit them, the usual one first. */
  readonly datasets: ReadonlyArray<string>
  /** The trainer's usual values. */
  readonly sft: { readonly lr: number; readonly minLr: number }
  readonly lora: { readonly lr: number; readonly minLr: number }
}

export interface Recipe {
  /** Absent: no released trainer runs the MegatronMIMO form. */
  readonly mimo?: MimoScript
  readonly standard: StandardRecipe
  /** Pixels of an image, between which a processor scales it. */
  readonly pixels?: { readonly least: number; readonly most: number }
}

const VLM = { base: { sft: "_sft_common_vlm", lora: "_peft_common_vlm" }, datasets: ["cord-v2", "medpix", "raven", "rdr"], sft: { lr: 5e-6, minLr: 5e-7 }, lora: { lr: 1e-4, minLr: 1e-5 } }
const TEXT = { base: { sft: "_sft_common", lora: "_peft_common" }, datasets: ["squad", "tulu3", "openmathinstruct2", "openmathinstruct2-thinking", "gsm8k"], sft: { lr: 5e-6, minLr: 0 }, lora: { lr: 1e-4, minLr: 1e-5 } }

const QWEN3_VL_STEP = "megatron.bridge.models.qwen_vl.qwen3_vl_step"

const qwen35: Recipe = {
  mimo: {
    path: "examples/megatron_mimo/qwen35_vl/finetune_qwen35_vl.py",
    freeze: { language: "--freeze-llm", images: "--freeze-vision" },
    datasets: ["cord_v2", "rdr", "medpix"]
  },
  standard: { step: QWEN3_VL_STEP, ...VLM },
  pixels: { least: 65536, most: 16777216 }
}

const vlm = (step = "megatron.bridge.training.vlm_step"): Recipe => ({ standard: { step, ...VLM } })
const text: Recipe = { standard: { step: "megatron.bridge.training.gpt_step", ...TEXT } }

/** By architecture; {@link recipeOf} answers for the others. */
const RECIPES: Readonly<Record<string, Recipe>> = {
  Qwen3_5ForConditionalGeneration: qwen35,
  Qwen3_5MoeForConditionalGeneration: qwen35,
  Qwen3VLForConditionalGeneration: vlm(QWEN3_VL_STEP),
  Qwen3VLMoeForConditionalGeneration: vlm(QWEN3_VL_STEP),
  Qwen2_5_VLForConditionalGeneration: { ...vlm(), pixels: { least: 3136, most: 12845056 } },
  Qwen3OmniMoeForConditionalGeneration: vlm("megatron.bridge.models.qwen_omni.qwen3_omni_step"),
  Qwen2AudioForConditionalGeneration: vlm("megatron.bridge.training.audio_lm_step"),
  Gemma3ForConditionalGeneration: vlm()
}

/** The recipe of an architecture: its own, or the trainer's common one for text or for models with towers. */
export const recipeOf = (architecture: string, hasTower: boolean): Recipe =>
  (Object.hasOwn(RECIPES, architecture) ? RECIPES[architecture] : undefined) ?? (hasTower ? vlm() : text)
