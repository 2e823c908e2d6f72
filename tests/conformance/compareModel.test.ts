/** A field of the model section may be missing only if its class has the value anyway, or for a listed reason. */
import { describe, expect, it } from "vitest"
import { compareModel } from "../../src/conformance/compareModel.ts"

const GPT = { _target_: "megatron.bridge.models.gpt_provider.GPTModelProvider" }
const HYBRID = { _target_: "megatron.bridge.models.hybrid.hybrid_provider.HybridModelProvider" }
const VISION = { _target_: "transformers.models.siglip.configuration_siglip.SiglipVisionConfig" }

describe("a field that is left out", () => {
  it("is none where the class has the value", () => {
    expect(compareModel(GPT, { ...GPT, bias_dropout_fusion: false, num_moe_experts: null })).toEqual([])
  })

  it("is one where the class has another value", () => {
    expect(compareModel(GPT, { ...GPT, bias_dropout_fusion: true })).toEqual([
      "run_config model.bias_dropout_fusion is missing: the reference has true, which is no known default"
    ])
  })

  it("is judged by the class, not by what most classes have", () => {
    expect(compareModel(HYBRID, { ...HYBRID, bias_dropout_fusion: true })).toEqual([])
    expect(compareModel(HYBRID, { ...HYBRID, bias_dropout_fusion: false })).toHaveLength(1)
  })

  it("is one where the class is unknown", () => {
    expect(compareModel({ _target_: "a.B" }, { _target_: "a.B", size: 0 })).toHaveLength(1)
  })

  it("is found at any depth", () => {
    const theirs = { ...GPT, vision_config: { ...VISION, hidden_size: 32 } }
    expect(compareModel({ ...GPT, vision_config: VISION }, theirs)).toEqual([expect.stringContaining("model.vision_config.hidden_size is missing")])
    expect(compareModel(GPT, theirs)).toEqual([expect.stringContaining("model.vision_config is missing")])
  })

  it("may be of the run", () => {
    expect(compareModel(GPT, { ...GPT, hf_model_id: "./hf" })).toEqual([])
  })
})

describe("a field that is there", () => {
  it("has the reference's value", () => {
    expect(compareModel({ ...GPT, num_layers: 2 }, { ...GPT, num_layers: 3 })).toEqual(["run_config model.num_layers: 2, the reference has 3"])
  })

  it("exists in the reference", () => {
    expect(compareModel({ ...GPT, num_layer: 2 }, GPT)).toEqual(["run_config model.num_layer: the reference has no such field"])
  })

  it("may be a config as JSON text, whatever the order of its keys", () => {
    expect(compareModel({ ...GPT, text: `{"a":1,"b":2}` }, { ...GPT, text: `{"b": 2, "a": 1.0}` })).toEqual([])
    expect(compareModel({ ...GPT, text: `{"a":1}` }, { ...GPT, text: `{"a":2}` })).toHaveLength(1)
  })

  it("stands for a function that the reference's own loader refuses", () => {
    const refused = { _call_: false, _target_: "megatron.bridge.models.ernie.ernie_45_bridge._ernie45_decoder_block_spec" }
    const instead = { _args_: [], _partial_: true, _target_: "megatron.core.models.gpt.gpt_layer_specs.get_gpt_decoder_block_spec", use_transformer_engine: true }
    expect(compareModel({ ...GPT, spec: instead }, { ...GPT, spec: refused })).toEqual([])
    expect(compareModel({ ...GPT, spec: { ...instead, use_transformer_engine: false } }, { ...GPT, spec: refused })).not.toEqual([])
  })
})
