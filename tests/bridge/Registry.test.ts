/** The lookup rules of the mapping registry, which are the reference's. */
import { describe, expect, it } from "vitest"
import { direct, gatedMlpOf, qkvOf } from "../../src/bridge/kinds.ts"
import { MappingRegistry, resolve, rows } from "../../src/bridge/Registry.ts"

const row = (megatron: string, ...hf: ReadonlyArray<string>) => ({ megatron, hf, kind: direct })

describe("patterns", () => {
  it("* stands for digits only", () => {
    const registry = new MappingRegistry([row("layers.*.weight", "l.*.w")])
    expect(registry.lookup("layers.12.weight")?.names).toEqual(["l.12.w"])
    expect(registry.lookup("layers.x.weight")).toBeUndefined()
    expect(registry.lookup("layers..weight")).toBeUndefined()
  })

  it("** stands for anything", () => {
    expect(new MappingRegistry([row("visual.**", "v.**")]).lookup("visual.blocks.0.norm")?.names).toEqual(["v.blocks.0.norm"])
  })

  it("captures fill every ** first, then every *", () => {
    expect(resolve("a.*.b.**", ["x", "1"])).toBe("a.1.b.x")
  })

  it("patterns match whole names; dots are dots", () => {
    const registry = new MappingRegistry([row("a.b", "x")])
    expect(registry.lookup("a.b.c")).toBeUndefined()
    expect(registry.lookup("aXb")).toBeUndefined()
  })

  it("a row may ignore captures, never invent them", () => {
    expect(new MappingRegistry([row("experts.*.weight*", "layer.*.packed")]).lookup("experts.3.weight7")?.names).toEqual(["layer.3.packed"])
    expect(() => new MappingRegistry([row("a", "b.*")])).toThrow("more wildcards")
  })
})

describe("order", () => {
  it("the first matching row wins, even if a later one is exact", () => {
    const registry = new MappingRegistry([row("layers.*.w", "general.*"), row("layers.0.w", "special")])
    expect(registry.lookup("layers.0.w")?.names).toEqual(["general.0"])
  })

  it("a literal number in front of a wildcard row is seen for its own name only", () => {
    const registry = new MappingRegistry([row("layers.0.w", "special"), row("layers.*.w", "general.*")])
    expect(registry.lookup("layers.1.w")?.names).toEqual(["general.1"])
    expect(registry.lookup("layers.0.w")?.names).toEqual(["special"])
    expect(registry.lookup("layers.10.w")?.names).toEqual(["general.10"])
  })
})

it("tables are rows below two prefixes", () => {
  const registry = new MappingRegistry(rows("decoder.layers.*.", "model.layers.*.", {
    "self_attention.linear_qkv.weight": qkvOf("self_attn.{q,k,v}_proj.weight"),
    "mlp.linear_fc1.weight": gatedMlpOf("mlp.{gate,up}_proj.weight")
  }))
  expect(registry.lookup("decoder.layers.3.self_attention.linear_qkv.weight")?.names).toEqual([
    "model.layers.3.self_attn.q_proj.weight", "model.layers.3.self_attn.k_proj.weight", "model.layers.3.self_attn.v_proj.weight"
  ])
  expect(registry.describe()[1]).toBe("decoder.layers.*.mlp.linear_fc1.weight ⇐ model.layers.*.mlp.gate_proj.weight, model.layers.*.mlp.up_proj.weight [gated-mlp]")
  expect(() => gatedMlpOf("mlp.{a,b,c}.weight")).toThrow("takes 2 names")
})

it("stripping a prefix keeps the rows below it and leaves HF names alone", () => {
  const registry = new MappingRegistry([row("vision.norm", "v.norm"), row("language.norm", "l.norm")]).strip("vision.")
  expect(registry.lookup("norm")?.names).toEqual(["v.norm"])
  expect(registry.rows).toHaveLength(1)
})

it("the rows that would claim an HF tensor can be asked for", () => {
  expect(new MappingRegistry([row("a.*.x", "b.*.y")]).claimants("b.7.y").map((r) => r.megatron)).toEqual(["a.*.x"])
})
