/** LLaVA as MIMO has the keys and shapes that the reference's own example model was saved with. */
import { readFileSync } from "node:fs"
import { expect, it } from "vitest"
import { importOf } from "../families/inMemory.ts"
import { tensorsOf } from "../families/tensorsOf.ts"

const facts = JSON.parse(readFileSync(new URL("../conformance/training/mimo-no-ddp-weights/facts.json", import.meta.url), "utf8")) as {
  readonly tensors: Readonly<Record<string, { readonly shape: ReadonlyArray<number> }>>
}

const config = {
  architectures: ["LlavaForConditionalGeneration"],
  dtype: "bfloat16",
  text_config: { model_type: "llama", hidden_size: 16, intermediate_size: 20, num_attention_heads: 4, num_key_value_heads: 2, num_hidden_layers: 2, vocab_size: 40 },
  vision_config: { hidden_size: 8, intermediate_size: 16, num_attention_heads: 2, num_hidden_layers: 3, image_size: 8, patch_size: 4 }
}

it("keys and shapes of the example's checkpoint", () => {
  const toy = { name: "llava", architecture: "LlavaForConditionalGeneration", config, configText: JSON.stringify(config), tensors: tensorsOf(config) }
  const { checkpoint: { metadata } } = importOf(toy, "mimo")
  const shapes = Object.fromEntries(Array.from(metadata.tensors, ([key, { shape }]) => [key, shape]))
  const stored = Object.fromEntries(Object.entries(facts.tensors).map(([key, { shape }]) => [key, shape]))
  expect(shapes).toEqual(stored)
})
