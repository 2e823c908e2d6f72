/** Recipes are data about the trainer: of architectures that are known, and (with a checkout) with its steps and rates. */
import { execFileSync, spawnSync } from "node:child_process"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { recipeOf, RECIPES, type StandardRecipe } from "../../routes/recipes/index.ts"

const bridge = process.env["MEGATRON_BRIDGE"]

/** The trainer's recipes of an architecture: beginnings of their names, for all weights and for adapters; none where it has none. */
const SOURCES: Readonly<Record<string, { readonly step?: string; readonly sft?: string; readonly lora?: string }>> = {
  Qwen3_5ForConditionalGeneration: { step: "qwen35_vl_", sft: "qwen35_vl_27b_sft_", lora: "qwen35_vl_27b_peft_" },
  Qwen3_5MoeForConditionalGeneration: { step: "qwen35_vl_", sft: "qwen35_vl_397b_a17b_sft_", lora: "qwen35_vl_397b_a17b_peft_" },
  Qwen3VLForConditionalGeneration: { step: "qwen3_vl_", sft: "qwen3_vl_8b_sft_2gpu", lora: "qwen3_vl_8b_peft_1gpu_h100_bf16_config" },
  Qwen3VLMoeForConditionalGeneration: { step: "qwen3_vl_", sft: "qwen3_vl_30b_a3b_sft_", lora: "qwen3_vl_30b_a3b_peft_" },
  Qwen2_5_VLForConditionalGeneration: { step: "qwen25_vl_", sft: "qwen25_vl_7b_sft_", lora: "qwen25_vl_7b_peft_" },
  Qwen3OmniMoeForConditionalGeneration: { step: "qwen3_omni_", sft: "qwen3_omni_30b_a3b_sft_" },
  Qwen2AudioForConditionalGeneration: { step: "qwen2_audio_" },
  Gemma3ForConditionalGeneration: { step: "gemma3_vl_", sft: "gemma3_vl_12b_sft_", lora: "gemma3_vl_12b_peft_" },
  Gemma4ForConditionalGeneration: { step: "gemma4_vl_", sft: "gemma4_vl_26b_sft_", lora: "gemma4_vl_26b_peft_" },
  Glm4vMoeForConditionalGeneration: { step: "glm_45v_", sft: "glm_45v_sft_", lora: "glm_45v_peft_" },
  Exaone4_5_ForConditionalGeneration: { sft: "exaone45_vl_33b_sft_", lora: "exaone45_vl_33b_peft_" },
  Mistral3ForConditionalGeneration: { step: "ministral3_", sft: "ministral3_8b_sft_", lora: "ministral3_8b_peft_" },
  KimiK25ForConditionalGeneration: { step: "kimi_k25_vl_", sft: "kimi_k25_vl_sft_" },
  NemotronH_Nano_VL_V2: { step: "nemotron_nano_v2_vl_", sft: "nemotron_nano_v2_vl_12b_sft_", lora: "nemotron_nano_v2_vl_12b_peft_" },
  NemotronH_Nano_Omni_Reasoning_V3: { step: "nemotron_omni_", lora: "nemotron_omni_cord_v2_peft_" },
  NemotronH_Super_Omni_Reasoning_V3: { step: "nemotron_omni_" },
  NemotronHForCausalLM: { sft: "nemotronh_8b_sft_", lora: "nemotronh_8b_peft_" },
  Qwen3NextForCausalLM: { sft: "qwen3_next_80b_a3b_sft_" }
}

describe("recipes", () => {
  it("are of architectures that are known, each with its source", () => {
    const known = new Set(families.architectures)
    expect(Object.keys(RECIPES).filter((architecture) => !known.has(architecture))).toEqual([])
    expect(Object.keys(SOURCES).sort()).toEqual(Object.keys(RECIPES).sort())
  })

  it("rates fall", () => {
    for (const { standard: { lora, sft } } of [...Object.values(RECIPES), recipeOf("unknown", true), recipeOf("unknown", false)]) {
      expect(sft.minLr).toBeLessThanOrEqual(sft.lr)
      expect(lora.minLr).toBeLessThan(lora.lr)
    }
  })
})

describe.skipIf(bridge === undefined || spawnSync("python3", ["--version"]).status !== 0)("the trainer's recipes", () => {
  type Found = { readonly base: string | null; readonly max_lr?: number; readonly min_lr?: number }
  const read = (): { readonly recipes: Readonly<Record<string, Found>>; readonly steps: Readonly<Record<string, string>> } =>
    JSON.parse(execFileSync("python3", [join(new URL(".", import.meta.url).pathname, "trainerRecipes.py"), bridge!], { encoding: "utf8" }))

  it("have these steps, bases and rates", () => {
    const { recipes, steps } = read()
    const problems: Array<unknown> = []
    for (const [architecture, { lora, sft, step }] of Object.entries(SOURCES)) {
      const { standard } = RECIPES[architecture]!
      if (step !== undefined && steps[step] !== standard.step.split(".").at(-1)) problems.push([architecture, step, steps[step]])
      for (const [mode, prefix] of [["sft", sft], ["lora", lora]] as const) {
        if (prefix === undefined) continue
        const [name, found] = Object.entries(recipes).find(([recipe]) => recipe.startsWith(prefix)) ?? [prefix, undefined]
        if (found === undefined || !agrees(standard, mode, found)) problems.push([architecture, mode, name, found])
      }
    }
    expect(problems).toEqual([])
  })

  /** A recipe that says no rate has that of its base, which the common ones of this project have as well. */
  const agrees = (standard: StandardRecipe, mode: "sft" | "lora", { base, max_lr: lr, min_lr: minLr }: Found): boolean => {
    const near = (a: number, b: number | undefined): boolean => b === undefined || Math.abs(a - b) <= 1e-9
    return near(standard[mode].lr, lr) && near(standard[mode].minLr, minLr) && (base === null || base === standard.base[mode])
  }
})
