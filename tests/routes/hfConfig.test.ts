/** Sections of config.json reach the trainer whole, in the names that its config classes have today. */
import { describe, expect, it } from "vitest"
import { hfConfig, whole, wholeVision } from "../../routes/shared/hfConfig.ts"

describe("a section", () => {
  it("keeps every field of the model and none of the file", () => {
    expect(whole({ hidden_size: 64, use_bias: null, new_field: "x", _name_or_path: "p", transformers_version: "4", auto_map: {}, quantization_config: {} }))
      .toEqual({ hidden_size: 64, use_bias: null, new_field: "x" })
  })

  it("has older spellings in today's: dtype, rotary settings", () => {
    expect(whole({ torch_dtype: "bfloat16", rope_theta: 1e6, rope_scaling: { type: "mrope", mrope_section: [2, 3, 3] } })).toEqual({
      dtype: "bfloat16",
      rope_parameters: { rope_theta: { $float: 1e6 }, rope_type: "default", mrope_section: [2, 3, 3] }
    })
    expect(wholeVision({ rope_theta: 10_000 })).toEqual({ rope_parameters: { rope_theta: { $float: 10_000 }, rope_type: "axial" } })
  })

  it("keeps today's rotary settings as they are", () => {
    const rope_parameters = { full_attention: { rope_type: "default" } }
    expect(whole({ rope_parameters, rope_theta: 1 })).toEqual({ rope_parameters })
  })

  it("leaves out what a config class keeps for itself, at any depth", () => {
    expect(whole({ text_config: { _name_or_path: "", _attn_implementation_autoset: true, hidden_size: 8 } })).toEqual({ text_config: { hidden_size: 8 } })
  })

  it("refuses what the trainer would take for something else", () => {
    expect(() => whole({ name: "${oc.env:HOME}" })).toThrow(/cannot be handed/)
    expect(() => whole({ nested: { _target_: "os.system" } })).toThrow(/cannot be handed/)
  })
})

it("the dtype of a config object is torch's, that of a section inside it a name", () => {
  expect(hfConfig("a.B", { ...whole({ dtype: "float16" }), text_config: whole({ dtype: "float16" }) }).fields).toEqual({
    dtype: { $name: "torch.float16" },
    text_config: { dtype: "float16" }
  })
})
