/** A component may own several parts of a model: a tower and the projector behind it. */
import { describe, expect, it } from "vitest"
import type { Component } from "../../src/bridge/Component.ts"
import { direct } from "../../src/bridge/kinds.ts"
import { routeModules, validateRouteTable } from "../../src/mimo/routes.ts"
import { Scope } from "../../src/model/Scope.ts"

const language: Component = { name: "language", sourcePrefix: "language_model.", targetModulePath: "language_model" }
const images: Component = {
  name: "images",
  sourcePrefix: "tower.",
  targetModulePath: "modality_submodules.images.encoders.vit",
  also: [{ sourcePrefix: "projector.", targetModulePath: "modality_submodules.images.input_projections.0" }]
}

const description = {
  model: Scope.collect((root) => {
    root.parameter("tower.conv.weight", [4, 4])
    root.parameter("projector.proj.weight", [4, 4])
    root.at("projector").state("proj", "none")
    root.parameter("language_model.output_layer.weight", [4, 4])
  }),
  rows: [
    { megatron: "tower.**", hf: ["visual.**"], kind: direct },
    { megatron: "projector.proj.weight", hf: ["proj.weight"], kind: direct },
    { megatron: "language_model.**", hf: ["model.**"], kind: direct }
  ],
  provider: { target: "x", fields: {} },
  components: [language, images],
  carried: [],
  mtpFields: []
}

describe("a component of several routes", () => {
  const [, vision] = routeModules(description)

  it("is one module below what its paths have in common", () => {
    expect(vision!.keyPrefix).toBe("modality_submodules.images.")
    expect(vision!.entries.map((e) => (e.kind === "parameter" ? e.name : e.key))).toEqual([
      "encoders.vit.conv.weight",
      "input_projections.0.proj.weight",
      "input_projections.0.proj._extra_state/shard_0_1"
    ])
  })

  it("keeps its rows", () => {
    expect(vision!.registry.lookup("encoders.vit.conv.weight")?.names).toEqual(["visual.conv.weight"])
    expect(vision!.registry.lookup("input_projections.0.proj.weight")?.names).toEqual(["proj.weight"])
  })

  it("may put one part inside another, but not inside another component's", () => {
    const inside = { ...language, also: [{ sourcePrefix: "indexers.", targetModulePath: "language_model.indexers" }] }
    expect(() => validateRouteTable([inside, images])).not.toThrow()
    const astray = { ...images, also: [{ sourcePrefix: "projector.", targetModulePath: "language_model.projector" }] }
    expect(() => validateRouteTable([language, astray])).toThrow("target module paths contain one another")
  })

  it("must not claim a prefix of another part", () => {
    const twice = { ...images, also: [{ sourcePrefix: "tower.blocks.", targetModulePath: "modality_submodules.images.input_projections.0" }] }
    expect(() => validateRouteTable([language, twice])).toThrow("source prefixes contain one another")
  })
})
