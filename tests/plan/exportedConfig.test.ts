/** config.json of an export: what stays byte for byte, and what is rewritten. */
import { describe, expect, it } from "vitest"
import { exportedConfig, type ConfigEdits } from "../../src/plan/exportedConfig.ts"
import { parseJson } from "../../src/document/StrictJson.ts"

const exported = (text: string, edits: Partial<ConfigEdits>): string => {
  const bytes = Buffer.from(text)
  const config = { directory: "/hf", path: "/hf/config.json", bytes, json: parseJson(bytes, { allowNonFinite: true }), architecture: "A" }
  return Buffer.from(exportedConfig(config, { fields: [], torchDtype: "source", quantization: "keep", ...edits })).toString()
}

const odd = `{"rope_theta":10000.0,  "quantization_config":{"quant_method":"fp8"},"dtype":"bfloat16"}`

describe("an exported config.json", () => {
  it("is the original, spacing and all, if nothing changes", () => {
    expect(exported(odd, {})).toBe(odd)
    expect(exported(`{ "a": 1 }`, { quantization: "remove", fields: [{ path: "mtp.layers", value: 0 }], torchDtype: "float16" })).toBe(`{ "a": 1 }`)
  })

  it("says nothing of quantisation if no tensor is quantised, at the top or in a section", () => {
    expect(exported(odd, { quantization: "remove" })).toBe(`{\n  "rope_theta": 10000.0,\n  "dtype": "bfloat16"\n}\n`)
    const nested = `{"text_config": {"quantization_config": {}, "n": 1}, "quantization_config": {}}`
    expect(JSON.parse(exported(nested, { quantization: "remove" }))).toEqual({ text_config: { n: 1 } })
  })

  it.each([
    [{ quant_method: "fp8" }, { quant_method: "fp8", modules_to_not_convert: ["m.q"] }],
    [{ quant_method: "fp8", modules_to_not_convert: ["lm_head"] }, { quant_method: "fp8", modules_to_not_convert: ["lm_head", "m.q"] }],
    [{ quant_method: "fp8", ignored_layers: ["lm_head"] }, { quant_method: "fp8", ignored_layers: ["lm_head", "m.q"] }],
    [{ quant_method: "compressed-tensors" }, { quant_method: "compressed-tensors", ignore: ["m.q"] }]
  ])("names the modules that are not quantised where the quantiser looks: %j", (before, after) => {
    expect(JSON.parse(exported(JSON.stringify({ quantization_config: before }), { quantization: { except: ["m.q"] } }))).toEqual({ quantization_config: after })
  })

  it("has the dtype that was asked for, in every section that states one", () => {
    const text = `{"dtype": "bfloat16", "text_config": {"torch_dtype": "bfloat16"}, "vision_config": {}}`
    expect(JSON.parse(exported(text, { torchDtype: "float32" }))).toEqual({ dtype: "float32", text_config: { torch_dtype: "float32" }, vision_config: {} })
  })

  it("counts no layers where they were left out", () => {
    expect(JSON.parse(exported(`{"text_config": {"mtp_num_hidden_layers": 1}}`, { fields: [{ path: "text_config.mtp_num_hidden_layers", value: 0 }] }))).toEqual({ text_config: { mtp_num_hidden_layers: 0 } })
  })
})
