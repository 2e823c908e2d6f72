/** Components, and the rules of a route table. */
import { describe, expect, it } from "vitest"
import type { Component } from "../../src/bridge/Component.ts"
import { direct } from "../../src/bridge/kinds.ts"
import { gpt } from "../../src/model/gpt.ts"
import { Scope } from "../../src/model/Scope.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import { routeModules, validateRouteTable } from "../../src/mimo/routes.ts"

const language: Component = { name: "language", sourcePrefix: "language_model.", targetModulePath: "language_model" }
const images: Component = { name: "images", sourcePrefix: "vision_model.", targetModulePath: "modality_submodules.images.encoders.tower" }

describe("a route table is refused when", () => {
  it.each<[string, ReadonlyArray<Component>, string]>([
    ["two components have one name", [language, { ...images, name: "language" }], "two components have one name"],
    ["there is no language model", [images], "no component `language`"],
    ["a source prefix does not end in a dot", [{ ...language, sourcePrefix: "language_model" }], "must end in a dot"],
    ["one source prefix contains another", [language, { ...images, sourcePrefix: "language_model.vision." }], "source prefixes contain one another"],
    ["a modality's path names another modality", [language, { ...images, name: "audio" }], "routed to another modality"],
    ["target paths contain one another", [language, { ...images, name: "images", targetModulePath: "language_model.tower" }], "target module paths contain one another"]
  ])("%s", (_, table, problem) => {
    expect(() => validateRouteTable(table)).toThrow(problem)
  })
})

const tiny: TransformerConfig = {
  num_layers: 1, hidden_size: 4, num_attention_heads: 1, num_query_groups: 1, kv_channels: 4, ffn_hidden_size: 8, vocab_size: 16,
  normalization: "RMSNorm", gated_linear_unit: true, add_bias_linear: false, add_qkv_bias: false, qk_layernorm: false, share_embeddings_and_output_weights: true
}

const description = (components: ReadonlyArray<Component>) => ({
  model: Scope.collect((root) => {
    root.at("vision_model").parameter("proj.weight", [4, 4])
    gpt(root.at("language_model"), tiny)
  }),
  rows: [
    { megatron: "vision_model.**", hf: ["visual.**"], kind: direct },
    { megatron: "language_model.**", hf: ["model.**"], kind: direct }
  ],
  provider: { target: "x", fields: {} },
  components,
  carried: [],
  mtpFields: []
})

describe("routing", () => {
  it("strips source prefixes and puts target module paths in front of stored keys", () => {
    const [lm, vision] = routeModules(description([language, images]))
    expect(vision!.entries.map((e) => (e.kind === "parameter" ? e.name : e.key))).toEqual(["proj.weight"])
    expect(vision!.keyPrefix).toBe("modality_submodules.images.encoders.tower.")
    expect(vision!.registry.lookup("proj.weight")?.names).toEqual(["visual.proj.weight"])
    expect(lm!.entries[0]).toMatchObject({ name: "embedding.word_embeddings.weight" })
    expect(lm!.keyPrefix).toBe("language_model.")
  })

  it("a parameter below no component is named", () => {
    expect(() => routeModules(description([language]))).toThrow("vision_model.proj.weight")
  })

  it("a model of one part has no MIMO form", () => {
    expect(() => routeModules(description([]))).toThrow("single component")
  })
})
