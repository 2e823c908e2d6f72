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

type Rates = { readonly lr: number; readonly minLr: number }
type Usual = { readonly sft?: Rates; readonly lora?: Rates }

const VLM = {
  base: { sft: "_sft_common_vlm", lora: "_peft_common_vlm" }, datasets: ["cord-v2", "medpix", "raven", "rdr"],
  sft: { lr: 5e-6, minLr: 5e-7 }, lora: { lr: 1e-4, minLr: 1e-5 }
}
const TEXT = {
  base: { sft: "_sft_common", lora: "_peft_common" }, datasets: ["squad", "tulu3", "openmathinstruct2", "openmathinstruct2-thinking", "gsm8k"],
  sft: { lr: 5e-6, minLr: 0 }, lora: { lr: 1e-4, minLr: 0 }
}

const QWEN3_VL_STEP = "megatron.bridge.models.qwen_vl.qwen3_vl_step"
const VLM_STEP = "megatron.bridge.training.vlm_step"

/** Of the processors of Qwen3-VL and Qwen3.5. */
const QWEN3_PIXELS = { least: 65536, most: 16777216 }

const vlm = (step = VLM_STEP, usual: Usual = {}): Recipe => ({ standard: { ...VLM, step, ...usual } })
const text = (usual: Usual = {}): Recipe => ({ standard: { ...TEXT, step: "megatron.bridge.training.gpt_step", ...usual } })

const qwen35 = (usual: Usual): Recipe => ({
  ...vlm(QWEN3_VL_STEP, usual),
  mimo: {
    path: "examples/megatron_mimo/qwen35_vl/finetune_qwen35_vl.py",
    freeze: { language: "--freeze-llm", images: "--freeze-vision" },
    datasets: ["cord_v2", "rdr", "medpix"]
  },
  pixels: QWEN3_PIXELS
})

const GEMMA_VL = { sft: { lr: 5e-5, minLr: 5e-6 }, lora: { lr: 2e-4, minLr: 2e-5 } }

/**
 * By architecture; {@link recipeOf} answers for the others. Rates are those of the trainer's recipes of that architecture, of the
 * smaller models where they differ by size.
 */
export const RECIPES: Readonly<Record<string, Recipe>> = {
  Qwen3_5ForConditionalGeneration: qwen35({ lora: { lr: 1e-4, minLr: 3e-5 } }),
  Qwen3_5MoeForConditionalGeneration: qwen35({ sft: { lr: 2e-5, minLr: 2e-6 }, lora: { lr: 2e-4, minLr: 3e-5 } }),
  Qwen3VLForConditionalGeneration: { ...vlm(QWEN3_VL_STEP, { sft: { lr: 5e-5, minLr: 5e-6 } }), pixels: QWEN3_PIXELS },
  Qwen3VLMoeForConditionalGeneration: { ...vlm(QWEN3_VL_STEP, { sft: { lr: 5e-5, minLr: 5e-6 } }), pixels: QWEN3_PIXELS },
  Qwen2_5_VLForConditionalGeneration: { ...vlm(VLM_STEP, { sft: { lr: 5e-6, minLr: 1e-6 } }), pixels: { least: 3136, most: 12845056 } },
  Qwen3OmniMoeForConditionalGeneration: vlm("megatron.bridge.models.qwen_omni.qwen3_omni_step"),
  Qwen2AudioForConditionalGeneration: vlm("megatron.bridge.training.audio_lm_step"),
  Gemma3ForConditionalGeneration: vlm(VLM_STEP, GEMMA_VL),
  Gemma4ForConditionalGeneration: vlm(VLM_STEP, GEMMA_VL),
  Glm4vMoeForConditionalGeneration: vlm(),
  Exaone4_5_ForConditionalGeneration: vlm(VLM_STEP, { sft: { lr: 5e-6, minLr: 1e-6 } }),
  Mistral3ForConditionalGeneration: vlm(VLM_STEP, { lora: { lr: 2e-4, minLr: 2e-5 } }),
  KimiK25ForConditionalGeneration: vlm(VLM_STEP, { sft: { lr: 3e-4, minLr: 3e-5 } }),
  NemotronH_Nano_VL_V2: vlm("megatron.bridge.training.llava_step", { sft: { lr: 2e-5, minLr: 2e-6 }, lora: { lr: 2e-5, minLr: 2e-6 } }),
  NemotronH_Nano_Omni_Reasoning_V3: vlm("megatron.bridge.training.nemotron_omni_step"),
  NemotronH_Super_Omni_Reasoning_V3: vlm("megatron.bridge.training.nemotron_omni_step"),
  NemotronHForCausalLM: text({ sft: { lr: 5e-6, minLr: 1e-6 }, lora: { lr: 1e-4, minLr: 1e-5 } }),
  Qwen3NextForCausalLM: text({ sft: { lr: 5e-6, minLr: 5e-6 } })
}

/** The recipe of an architecture: its own, or the trainer's common one for text or for models with towers. */
export const recipeOf = (architecture: string, hasTower: boolean): Recipe =>
  (Object.hasOwn(RECIPES, architecture) ? RECIPES[architecture] : undefined) ?? (hasTower ? vlm() : text())
