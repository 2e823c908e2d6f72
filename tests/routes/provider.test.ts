/** Provider fields that a model is rebuilt wrong without. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { noHeaders } from "../../src/convert/HfSource.ts"
import { toys } from "../families/toys.ts"

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
