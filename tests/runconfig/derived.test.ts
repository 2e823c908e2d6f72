/** What Megatron's configuration class computes from its fields stands in the file, by Megatron's rules. */
import { describe, expect, it } from "vitest"
import type { ModuleParallelism } from "../../src/parallel/ModuleParallelism.ts"
import { complete } from "../../src/runconfig/derived.ts"
import { float, type Provider, pythonName } from "../../src/runconfig/Provider.ts"

const alone: ModuleParallelism = { tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 }
const fields = (own: Provider["fields"], pp = 1) => complete({ target: "a.Provider", fields: own }, { ...alone, pp })
const std = (method: unknown) => (method as { fields: { std: { $float: number } } }).fields.std.$float

describe("initialisation", () => {
  it("output projections: std / √(2 · layers)", () => {
    const made = fields({ num_layers: 8, init_method_std: float(0.02) })
    expect(std(made["init_method"])).toBe(0.02)
    expect(std(made["output_layer_init_method"])).toBe(0.005)
  })

  it("of a hybrid model, whose layers are attention, Mamba or MLP: std / √layers", () => {
    expect(std(fields({ num_layers: 16, is_hybrid_model: true, init_method_std: float(0.02) })["output_layer_init_method"])).toBe(0.005)
  })

  it("embeddings have the same spread, unless theirs is given", () => {
    expect(std(fields({ num_layers: 2, init_method_std: float(0.006) })["embedding_init_method"])).toBe(0.006)
    expect(std(fields({ num_layers: 2, embedding_init_method_std: float(1) })["embedding_init_method"])).toBe(1)
  })
})

it("autocast has the dtype of the parameters; so have activations between pipeline stages", () => {
  const half = pythonName("torch.float16")
  expect(fields({ params_dtype: half })["autocast_dtype"]).toEqual(half)
  expect("pipeline_dtype" in fields({ params_dtype: half })).toBe(false)
  expect(fields({ params_dtype: half }, 2)).toMatchObject({ pipeline_dtype: half, microbatch_group_size_per_vp_stage: 2 })
})

it("what the provider states itself stays", () => {
  expect(fields({ recompute_modules: ["moe_act"] })["recompute_modules"]).toEqual(["moe_act"])
})

describe("what only the final model has", () => {
  it("a width of dense layers, also where all layers are mixtures of experts", () => {
    expect(fields({ hidden_size: 64 })["ffn_hidden_size"]).toBe(256)
    expect(fields({ hidden_size: 64, ffn_hidden_size: 96 })["ffn_hidden_size"]).toBe(96)
  })

  it("today's name of the attention variant", () => {
    expect(fields({ experimental_attention_variant: "gated_delta_net" })["experimental_attention_variant"]).toBe("gdn")
    expect(fields({ experimental_attention_variant: "dsa" })["experimental_attention_variant"]).toBe("dsa")
  })

  it("padding of tokens that the hybrid dispatcher sends", () => {
    const flex = { moe_token_dispatcher_type: "flex", moe_flex_dispatcher_backend: "hybridep" }
    expect(fields(flex)["moe_hybridep_pad_uneven_dispatch_inputs"]).toBe(true)
    expect("moe_hybridep_pad_uneven_dispatch_inputs" in fields({ ...flex, moe_flex_dispatcher_backend: "deepep" })).toBe(false)
  })
})
