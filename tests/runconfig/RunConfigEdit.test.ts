/** Edits of a run configuration touch what they must and nothing else. */
import { describe, expect, it } from "vitest"
import { resolveLayout } from "../../src/index.ts"
import { RunConfigEdit } from "../../src/runconfig/RunConfigEdit.ts"

const GPT = `_target_: megatron.bridge.training.config.ConfigContainer
model:
  _target_: megatron.bridge.models.gpt_provider.GPTModelProvider
  add_bias_linear: false
  attention_dropout: 0.0
  bf16: true
  config_logger_dir: ''
  gated_linear_unit: true
  hidden_dropout: 0.0
  id2label:
    0: LABEL_0
    1: LABEL_1
  is_hybrid_model: false
  layernorm_epsilon: 1.0e-06
  normalization: RMSNorm
  num_layers: 2
  position_embedding_type: rope
  rotary_base: 1000000
  seq_length: 2048
  share_embeddings_and_output_weights: false
# how long
train:
  lr: .inf # forever
`

const edited = (text: string, change: (edit: RunConfigEdit) => void): readonly [string, ReadonlyArray<string>] => {
  const edit = new RunConfigEdit(Buffer.from(text))
  change(edit)
  return [edit.toString(), edit.notes]
}

describe("printing", () => {
  it("an untouched file is printed as it was: quotes, integer keys, floats, comments", () => {
    expect(edited(GPT, () => {})[0]).toBe(GPT)
  })
})

describe("GPT ↔ Hybrid", () => {
  it("the class, the pattern, the number of layers; back again", () => {
    const [hybrid, notes] = edited(GPT, (edit) => edit.toHybrid("*-*-"))
    expect(hybrid).toBe(GPT
      .replace("gpt_provider.GPTModelProvider", "hybrid.hybrid_provider.HybridModelProvider")
      .replace("  id2label:", "  hybrid_layer_pattern: \"*-*-\"\n  id2label:")
      .replace("is_hybrid_model: false", "is_hybrid_model: true")
      .replace("num_layers: 2", "num_layers: 4"))
    expect(notes).toEqual([])
    const [gpt] = edited(hybrid, (edit) => edit.toGpt())
    expect(gpt).toBe(GPT.replace("  id2label:", "  hybrid_layer_pattern: null\n  id2label:"))
  })

  it("says what the file leaves to the defaults of a class that it no longer names", () => {
    const [, notes] = edited(GPT.replace("  position_embedding_type: rope\n", "").replace("gpt_provider.GPT", "x_provider.X"), (edit) => edit.toHybrid("*-*-"))
    expect(notes.join()).toContain("what the former set by default must now be stated")
    expect(notes.join()).toContain("position_embedding_type")
  })

  it("an odd number of layers is no hybrid of pairs", () => {
    expect(() => edited(GPT.replace("num_layers: 2", "num_layers: 3"), (edit) => edit.toGpt())).toThrow("no even model.num_layers")
  })
})

describe("standard ↔ MIMO", () => {
  const layout = resolveLayout([], ["language", "images"]).components

  it("the provider is wrapped, and taken out as it was", () => {
    const [mimo] = edited(GPT, (edit) => edit.toMimo(layout))
    expect(mimo).toContain("    standard_provider:\n".slice(2) + "    _target_: megatron.bridge.models.gpt_provider.GPTModelProvider")
    expect(mimo).toContain("        rank_offset: 1")
    expect(mimo).toContain("    layernorm_epsilon: 1.0e-06")
    const [back] = edited(mimo, (edit) => edit.toStandard(0))
    expect(back).toBe(GPT.replace("# how long", "  tensor_model_parallel_size: 1\n# how long").replace("  position_embedding_type", "  pipeline_model_parallel_size: 1\n  position_embedding_type"))
  })

  it("multi-token prediction is switched off inside MIMO, and on again where layers of it are stored", () => {
    const text = GPT.replace("  normalization", "  mtp_num_layers: 1\n  normalization")
    const [mimo] = edited(text, (edit) => edit.toMimo(layout))
    expect(mimo).toContain("mtp_num_layers: null")
    expect(edited(mimo, (edit) => edit.toStandard(1))[0]).toContain("mtp_num_layers: 1")
  })

  it("a module that is repeated is stored once: how often it is used stands in the pattern, or in the configuration inside", () => {
    const around = (fields: string) => `model:\n  _target_: a.Wrapper\n  standard_provider:\n    _target_: a.B\n    mtp_num_layers: null\n    mtp_use_repeated_layer: true\n${fields}`
    expect(edited(around("    hybrid_layer_pattern: M*/*E/*E\n"), (edit) => edit.toStandard(1))[0]).toContain("mtp_num_layers: 2")
    expect(edited(around("    hf_text_config:\n      num_nextn_predict_layers: 3\n"), (edit) => edit.toStandard(1))[0]).toContain("mtp_num_layers: 3")
    const [text, notes] = edited(around(""), (edit) => edit.toStandard(1))
    expect(text).toContain("mtp_num_layers: 1")
    expect(notes.join()).toContain("how often its multi-token-prediction module is repeated")
  })

  it("what is no MIMO configuration is refused", () => {
    expect(() => edited(GPT, (edit) => edit.toStandard(0))).toThrow("has no model.standard_provider")
    expect(() => edited("train: 1\n", (edit) => edit.toMimo(layout))).toThrow("has no section `model`")
  })
})
