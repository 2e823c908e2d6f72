/** Keys taken apart: whose they are, layers, experts and shards. */
import { describe, expect, it } from "vitest"
import { blockLayer, expertKey, indexedLayer, leadingAxes, stackedLayer } from "../../src/model/layerKeys.ts"
import { readShardKey, shardKey } from "../../src/model/shardKey.ts"
import { isTraining, modelKeyOf, roleOf, spaceOf, unwrapKey, wrapKey } from "../../src/model/storedKey.ts"

describe("roles", () => {
  it.each([
    ["decoder.layers.mlp.linear_fc1.weight", "model"],
    ["optimizer_head.weight", "model"],
    ["hf_source.model.norm.weight", "carried"],
    ["optimizer.state.param.decoder.final_layernorm.weight", "optimizer"],
    ["chained_1.optimizer.distributed.dp_group_idx_0.optimizer/shard_0_1", "optimizer"],
    ["mimo.images.optimizer.state.exp_avg.modality_submodules.images.module.encoders.clip.conv1.weight", "optimizer"],
    ["mimo.language.optimizer.mimo.language.param_groups/shard_0_1", "optimizer"],
    ["rng_state.language/shard_0.0_1.1", "rng"],
    ["rng_state/shard_0.0_1.1", "rng"],
    ["common_state/shard_0_1", "run"],
    ["opt_param_scheduler", "run"]
  ] as const)("%s: %s", (key, role) => {
    expect(roleOf(key)).toBe(role)
    expect(isTraining(key)).toBe(role !== "model" && role !== "carried")
  })

  it("a state of the optimizer belongs to its model tensor, wherever the optimizer is", () => {
    expect(modelKeyOf("mimo.images.chained_0.optimizer.state.param.a.b")).toEqual({ space: "mimo.images.chained_0.optimizer.state.param.", key: "a.b" })
    expect(modelKeyOf("optimizer.distributed.dp_group_idx_0.gbuf_idx_0.param")).toBeUndefined()
    expect(modelKeyOf("hf_source.a")).toBeUndefined()
    expect(spaceOf("mimo.images.optimizer.state.param.", undefined)).toBe("optimizer.state.param.")
    expect(spaceOf("optimizer.state.param.", "images")).toBe("mimo.images.optimizer.state.param.")
    expect(spaceOf("", "images")).toBe("")
  })

  it("wrappers go and come", () => {
    expect(unwrapKey("modality_submodules.images.module.module.encoders.x")).toBe("modality_submodules.images.encoders.x")
    expect(unwrapKey("module.decoder.x")).toBe("decoder.x")
    expect(wrapKey("language_model.decoder.x")).toBe("language_model.module.decoder.x")
    expect(wrapKey("decoder.x")).toBeUndefined()
  })
})

describe("layers and experts", () => {
  it("stacked and indexed", () => {
    expect(stackedLayer("vision.decoder.layers.mlp.w")).toEqual({ list: "vision.decoder.layers", rest: "mlp.w" })
    expect(stackedLayer("decoder.layers.7.mlp.w")).toBeUndefined()
    expect(indexedLayer("mtp.layers.0.transformer_layer.w")).toEqual({ list: "mtp.layers", index: 0, rest: "transformer_layer.w" })
    expect(blockLayer("mtp.layers.0.transformer_layer.w")).toBeUndefined()
    expect(blockLayer("a.decoder.layers.12.mlp.w")).toEqual({ list: "a.decoder.layers", index: 12, rest: "mlp.w" })
  })

  it("experts together and apart", () => {
    expect(expertKey("decoder.layers.mlp.experts.experts.linear_fc1.weight")).toEqual({ list: "decoder.layers.mlp.experts.experts", module: "linear_fc1", name: "weight" })
    expect(expertKey("x.experts.experts.31.linear_fc2.weight_w")).toEqual({ list: "x.experts.experts", expert: 31, module: "linear_fc2", name: "weight_w" })
    expect(leadingAxes("decoder.layers.mlp.experts.experts.linear_fc1")).toBe(2)
    expect(leadingAxes("decoder.layers.3.mlp.experts.experts.4.linear_fc1")).toBe(0)
  })
})

describe("shards", () => {
  it("are read as they are written", () => {
    for (const shard of [{ name: "a", index: [], counts: [] }, { name: "a.b", index: [3], counts: [4] }, { name: "c", index: [1, 0], counts: [2, 8] }]) {
      expect(readShardKey(shardKey(shard.name, shard.index, shard.counts))).toEqual(shard)
    }
    expect(shardKey("a", [], [])).toBe("a/shard_0_1")
    expect(readShardKey("a/other_0_1")).toBeUndefined()
  })
})
