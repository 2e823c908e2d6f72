/** Names of norms under the two layer specifications, layer by layer, as Megatron-Core wrote them. */
import { describe, expect, it } from "vitest"
import { layerSpecNames, withoutLocalForm } from "../../src/model/layerSpec.ts"

const named = (keys: ReadonlyArray<string>, spec: "te" | "local") => {
  const nameOf = layerSpecNames(keys)
  return keys.map((key) => nameOf(key, spec)).filter((key) => /norm/.test(key))
}

const GQA = ["self_attention.linear_qkv.weight", "self_attention.linear_proj.weight"]
const DENSE = ["mlp.linear_fc1.weight", "mlp.linear_fc2.weight"]
const EXPERTS = ["mlp.router.weight", "mlp.experts.experts.linear_fc1.weight", "mlp.shared_experts.linear_fc1.weight"]
const LATENT = ["self_attention.linear_q_up_proj.weight", "self_attention.linear_kv_up_proj.weight", "self_attention.linear_kv_down_proj.weight"]
const layer = (prefix: string, ...names: ReadonlyArray<string>) => names.map((name) => `${prefix}.${name}`)

describe("norms", () => {
  it("of experts behind grouped-query attention differ, stacked, indexed, in towers' neighbours and in optimizer names alike", () => {
    for (const prefix of ["decoder.layers", "decoder.layers.3", "language_model.module.decoder.layers.0", "mtp.layers.0.transformer_layer", "mtp.layers.0.mtp_model_layer"]) {
      const te = layer(prefix, ...GQA, ...EXPERTS, "self_attention.linear_qkv.layer_norm_weight", "pre_mlp_layernorm.weight")
      const local = layer(prefix, ...GQA, ...EXPERTS, "self_attention.linear_qkv.layer_norm_weight", "mlp.linear_fc1.layer_norm_weight")
      expect(named(te, "local")).toEqual(named(local, "local"))
      expect(named(local, "te")).toEqual(layer(prefix, "self_attention.linear_qkv.layer_norm_weight", "pre_mlp_layernorm.weight"))
    }
  })

  it("of dense layers have one name, and are read under the modules' own", () => {
    const own = layer("vision_model.decoder.layers", ...GQA, ...DENSE, "input_layernorm.weight", "input_layernorm.bias", "pre_mlp_layernorm.weight")
    const te = layer("vision_model.decoder.layers", "self_attention.linear_qkv.layer_norm_weight", "self_attention.linear_qkv.layer_norm_bias", "mlp.linear_fc1.layer_norm_weight")
    expect(named(own, "te")).toEqual(te)
    expect(named(own, "local")).toEqual(te)
  })

  it("of latent attention are fused or modules; its input norm is a module for both", () => {
    const te = ["self_attention.linear_q_up_proj.layer_norm_weight", "self_attention.linear_kv_up_proj.layer_norm_weight", "input_layernorm.weight", "mlp.linear_fc1.layer_norm_weight"]
    const local = ["self_attention.q_layernorm.weight", "self_attention.kv_layernorm.weight", "input_layernorm.weight", "pre_mlp_layernorm.weight"]
    expect(named(layer("decoder.layers.0", ...LATENT, ...DENSE, ...te), "local")).toEqual(layer("decoder.layers.0", ...local))
    expect(named(layer("decoder.layers.0", ...LATENT, ...DENSE, ...local), "te")).toEqual(layer("decoder.layers.0", ...te))
    expect(named(layer("decoder.layers.0", ...LATENT, ...EXPERTS, "pre_mlp_layernorm.weight"), "local")).toEqual(["decoder.layers.0.pre_mlp_layernorm.weight"])
  })

  it("of latent attention with an indexer are modules for both, also in layers without one of their own", () => {
    const keys = [...layer("decoder.layers.0", ...LATENT, "self_attention.core_attention.indexer.linear_wk.weight"), ...layer("decoder.layers.1", ...LATENT, "self_attention.kv_layernorm.weight")]
    expect(named(keys, "te")).toEqual(["decoder.layers.1.self_attention.kv_layernorm.weight"])
    expect(withoutLocalForm(keys)).toMatch(/indexer/)
  })

  it("of mixers and delta nets are read under the modules' own names", () => {
    expect(named(layer("decoder.layers.0", "mixer.in_proj.weight.z", "norm.weight", "mixer.norm.weight"), "te"))
      .toEqual(layer("decoder.layers.0", "mixer.in_proj.layer_norm_weight", "mixer.norm.weight"))
    expect(named(layer("decoder.layers.0", "self_attention.in_proj.weight.query", "input_layernorm.weight"), "te"))
      .toEqual(layer("decoder.layers.0", "self_attention.in_proj.layer_norm_weight"))
  })

  it("of layers with modules of their own keep their names, and so does one whose other name is taken", () => {
    const apart = layer("decoder.layers", ...GQA, ...DENSE, "input_layernorm.weight", "post_mlp_layernorm.weight")
    const both = layer("decoder.layers", ...GQA, ...DENSE, "input_layernorm.weight", "self_attention.linear_qkv.layer_norm_weight")
    const gated = layer("decoder.layers.0", ...GQA, "self_attention.linear_gate.weight", "input_layernorm.weight")
    for (const keys of [apart, both, gated]) expect(named(keys, "te")).toEqual(keys.filter((key) => /norm/.test(key)))
  })

  it("cost no more than the keys are long", () => {
    const hostile = ["layers.".repeat(20_000), `${"layers.1.".repeat(20_000)}norm.weight`, "a".repeat(100_000)]
    expect(named(hostile, "te").length).toBe(1)
  })
})
