/** Provider fields that a model is rebuilt wrong without. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { toys } from "../families/toys.ts"
import { describeCase } from "./describe.ts"

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
