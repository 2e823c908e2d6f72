/** How tensor-parallel ranks divide a parameter: the table of training-checkpoints.md 4.3, held against what modules say. */
import { describe, expect, it } from "vitest"
import { rowsOfParts, splitAxisOf, splitOf } from "../../src/model/splits.ts"

const AXIS_0 = [
  "embedding.word_embeddings.weight", "output_layer.weight", "output_layer.bias", "decoder.layers.self_attention.linear_qkv.weight", "decoder.layers.self_attention.linear_qkv.bias",
  "decoder.layers.mlp.linear_fc1.weight", "decoder.layers.mlp.linear_fc1.bias", "decoder.layers.3.self_attention.linear_q_proj.weight", "decoder.layers.self_attention.linear_q_up_proj.weight",
  "decoder.layers.self_attention.linear_kv_up_proj.weight", "decoder.layers.0.mixer.in_proj.weight", "decoder.layers.0.mixer.conv1d.bias", "decoder.layers.0.mixer.A_log", "decoder.layers.0.mixer.D",
  "decoder.layers.0.mixer.dt_bias", "decoder.layers.0.mixer.norm.weight", "decoder.layers.self_attention.core_attention.softmax_offset", "mtp.layers.0.eh_proj.weight",
  "decoder.layers.mlp.experts.experts.linear_fc1.weight"
]
const AXIS_1 = ["decoder.layers.self_attention.linear_proj.weight", "decoder.layers.mlp.linear_fc2.weight", "decoder.layers.0.mixer.out_proj.weight", "decoder.layers.mlp.experts.experts.linear_fc2.weight"]
const WHOLE = [
  "decoder.final_layernorm.weight", "decoder.layers.self_attention.linear_qkv.layer_norm_weight", "embedding.position_embeddings.weight", "decoder.layers.self_attention.linear_proj.bias",
  "decoder.layers.mlp.linear_fc2.bias", "decoder.layers.mlp.router.weight", "decoder.layers.mlp.router.expert_bias", "decoder.layers.self_attention.linear_kv_down_proj.weight",
  "decoder.layers.mlp.shared_experts.gate_weight", "modality_submodules.images.encoders.clip.class_token", "modality_submodules.images.encoders.clip.conv1.weight", "decoder.layers.self_attention.q_layernorm.weight"
]

describe("the axis that ranks divide", () => {
  it.each([...AXIS_0.map((key) => [key, 0] as const), ...AXIS_1.map((key) => [key, 1] as const), ...WHOLE.map((key) => [key, undefined] as const)])("%s: %s", (key, axis) => {
    expect(splitOf(key)?.axis).toBe(axis)
    expect(splitAxisOf(key)).toBe(axis)
  })

  it("is known of halves, experts and parts that are stored apart, and of nothing else", () => {
    expect(["decoder.layers.mlp.linear_fc1.weight_v", "decoder.layers.0.mlp.experts.linear_fc2.weight7", "decoder.layers.0.self_attention.in_proj.weight.beta", "decoder.layers.0.novelty.weight"].map(splitAxisOf)).toEqual([0, 1, 0, "unknown"])
  })
})

describe("rows that are cut each by itself", () => {
  it("are the gate's and the other half's of an MLP, not of a patch merger", () => {
    expect(["decoder.layers.mlp.linear_fc1.weight", "decoder.layers.mlp.shared_experts.linear_fc1.bias", "vision_model.merger.linear_fc1.weight"].map((key) => splitOf(key)?.parts)).toEqual(["halves", "halves", "whole"])
  })

  it("of a fused projection follow from the rows beside it", () => {
    expect(splitOf("decoder.layers.0.mixer.in_proj.weight")?.parts).toEqual(["z", "x", "B", "C", "dt"])
    expect(rowsOfParts(["z", "x", "B", "C", "dt"], 8 + 8 + 6 + 6 + 4, { output: 8, heads: 4 })).toEqual([8, 8, 6, 6, 4])
    expect(rowsOfParts(["query", "key", "value"], 4 + 4 + 12, { output: 12, heads: 4 })).toEqual([4, 4, 12])
    expect(rowsOfParts(["query", "key", "value"], 21, { output: 12, heads: 4 })).toBe(undefined)
  })
})
