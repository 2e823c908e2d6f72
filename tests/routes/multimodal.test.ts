/** What multimodal families share: generations of names, config sections handed to the trainer. */
import { describe, expect, it } from "vitest"
import { section } from "../../routes/shared/hfConfig.ts"
import { generationOf, WRAPPED_NAMES } from "../../routes/shared/multimodal.ts"

const headers = (...names: ReadonlyArray<string>) => ({ names, tensor: () => undefined })

describe("the generation of a checkpoint's names", () => {
  it("is read from its tensors", () => {
    expect(generationOf(headers("language_model.lm_head.weight", "vision_tower.ln_pre.weight"), WRAPPED_NAMES).head).toBe("language_model.")
    expect(generationOf(headers("model.language_model.norm.weight", "lm_head.weight"), WRAPPED_NAMES).head).toBe("")
  })

  it("is the published one where there are none", () => {
    expect(generationOf(headers(), WRAPPED_NAMES).model).toBe("language_model.model.")
  })

  it("must be one", () => {
    expect(() => generationOf(headers("language_model.model.norm.weight", "model.vision_tower.ln_pre.weight"), WRAPPED_NAMES))
      .toThrow("language_model.model.norm.weight and model.vision_tower.ln_pre.weight")
  })
})

describe("a config section for the trainer", () => {
  it("has the named fields, floats as floats", () => {
    expect(section({ depth: 2, attention_dropout: 0, hidden_act: null, other: 1 }, ["depth", "attention_dropout", "hidden_act", "absent"]))
      .toEqual({ depth: 2, attention_dropout: { $float: 0 }, hidden_act: null })
  })

  it.each([
    ["an object of the trainer's", { rope_parameters: { _target_: "os.system" } }],
    ["a name", { rope_parameters: { $name: "os.system" } }],
    ["an interpolation", { rope_parameters: "${oc.env:HOME}" }],
    ["a bottomless value", { rope_parameters: [[[[[[[[1]]]]]]]] }]
  ])("never hands over %s", (_, source) => {
    expect(() => section(source, ["rope_parameters"])).toThrow("cannot be handed to the trainer")
  })
})
