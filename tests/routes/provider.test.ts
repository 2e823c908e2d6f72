/** Provider fields that a model is rebuilt wrong without, or with. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import type { PythonValue } from "../../src/runconfig/Provider.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { faultsOf } from "../families/providerFaults.ts"
import { toys } from "../families/toys.ts"
import { describeCase } from "./describe.ts"

describe("what a provider says is what the model is built with", () => {
  it.each(toys.map(({ config, name }) => [name, config] as const))("%s", (_, config) => {
    const family = families.find(config)
    expect(faultsOf(family.describe(family.schema.parse(config), noHeaders))).toEqual([])
  })

  it("an absent width, a size of 0 and a contradiction are found", () => {
    const { modules, provider } = describeCase("qwen3-moe-a")
    const faults = (change: Record<string, unknown>) =>
      faultsOf({ modules, provider: { ...provider, fields: { ...provider.fields, ...change as Record<string, PythonValue> } } })
    expect(faults({})).toEqual([])
    expect(faults({ moe_ffn_hidden_size: 0 })).toEqual(["moe_ffn_hidden_size is 0", expect.stringContaining("moe_ffn_hidden_size is 0, the model is built with")])
    expect(faults({ window_size: undefined })).toEqual(["window_size is undefined"])
    expect(faults({ num_query_groups: 1 })).toEqual([expect.stringContaining("num_query_groups is 1, the model is built with")])
  })

  it.each(["qwen3-next-a", "qwen3-vl-moe-a", "qwen3-omni-moe-a", "qwen3.5-vl-moe-packed-a"])("%s: no width of dense MLPs where config.json has none", (name) => {
    const section = { intermediate_size: undefined }
    const change = name.startsWith("qwen3-next") ? section : name.startsWith("qwen3-omni") ? { thinker_config: { text_config: section } } : { text_config: section }
    expect(describeCase(name, change).provider.fields).not.toHaveProperty("ffn_hidden_size")
  })
})

/** The class of models without one of their own learns its positions unless it is told not to. */
const PLAIN = /\.(GPT|MLA)ModelProvider$/

it("no plain model learns its positions", () => {
  const positions = toys.flatMap(({ config, name }) => {
    const family = families.find(config)
    const { fields, target } = family.describe(family.schema.parse(config), noHeaders).provider
    return PLAIN.test(target) && !["rope", "mrope", "yarn", "none"].includes(String(fields["position_embedding_type"])) ? [name] : []
  })
  expect(positions).toEqual([])
})

it.each([[1000, 8], [151_936, 128], [50_257, 1]])("a vocabulary of %i is padded to multiples of %i", (vocabulary, multiple) => {
  const { config } = toys.find((toy) => toy.architecture === "LlamaForCausalLM")!
  const family = families.find(config)
  const { fields } = family.describe(family.schema.parse({ ...config, vocab_size: vocabulary }), noHeaders).provider
  expect(fields["make_vocab_size_divisible_by"]).toBe(multiple)
})

it.each(["deepseek-v3-noqlora-a", "deepseek-v2-a", "sarvam-mla-a"])("%s: layers whose queries have no rank have no query norm", (name) => {
  const { model, notes, provider } = describeCase(name)
  const own = model.flatMap((entry) => (entry.kind === "parameter" && entry.name.startsWith("decoder.layers.0.self_attention.linear_q") ? [entry.name] : []))
  expect(own).toEqual(["decoder.layers.0.self_attention.linear_q_proj.weight"])
  expect(provider.fields["transformer_layer_spec"]).toMatchObject({ _target_: "megatron.bridge.models.deepseek.attention.get_deepseek_decoder_block_spec" })
  expect(notes).toEqual([expect.stringContaining("q_lora_rank is null")])
})

it("with a rank they have the trainer's plain ones", () => {
  const { notes, provider } = describeCase("deepseek-v3-nomtp-a")
  expect(provider.fields["transformer_layer_spec"]).toMatchObject({ _target_: "megatron.core.models.gpt.gpt_layer_specs.get_gpt_decoder_block_spec" })
  expect(notes).toEqual([])
})
