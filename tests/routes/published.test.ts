/**
 * Models at their published sizes: every tensor that transformers builds for the config has a row, by name and shape, and none else has one
 * (`published.json`, which tests/interop/publishedTensors.py makes); and what the trainer does not do is said.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { volume } from "../../src/tensor/Copy.ts"
import { faultsOf } from "../families/providerFaults.ts"
import { tensorsOf } from "../families/tensorsOf.ts"

interface Published {
  readonly config: Readonly<Record<string, unknown>>
  /** Where the config was read; docs/models.md lists it. */
  readonly source: string
  readonly expected: { readonly tensors: number; readonly parameters: number; readonly sha256: string }
}

const published = Object.entries(JSON.parse(readFileSync(new URL("published.json", import.meta.url), "utf8")) as Readonly<Record<string, Published>>)
const described = ({ config }: Published) => {
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders)
}
const notesOf = (name: string) => described(published.find(([own]) => own === name)![1]).notes

describe.each(published)("%s", (_, model) => {
  it("has the tensors that transformers builds", () => {
    const tensors = tensorsOf(model.config)
    const lines = tensors.map(({ name, shape }) => `${name} ${shape.join("x")}`).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    expect({
      tensors: tensors.length,
      parameters: tensors.reduce((n, { shape }) => n + volume(shape), 0),
      sha256: createHash("sha256").update(lines.join("\n")).digest("hex")
    }).toEqual(model.expected)
  })

  it("has a provider that fits them", () => expect(faultsOf(described(model))).toEqual([]))
})

describe("what the trainer does not do", () => {
  it.each([
    ["allenai/OLMo-2-1124-13B", "it needs norms of the outputs of attention and MLP (linear_proj.post_layernorm, linear_fc2.post_layernorm); norms of queries and keys over all heads at once"],
    ["allenai/Olmo-3-1125-32B", "positions that are stretched in the layers of full attention and not in those with a window"],
    ["zai-org/GLM-4-9B-0414", "it needs norms of the outputs of attention and MLP"],
    ["tencent/Hunyuan-7B-Instruct", "it needs norms of queries and keys behind the rotary embedding"],
    ["tencent/Hunyuan-A13B-Instruct", "it needs norms of queries and keys behind the rotary embedding"],
    ["ibm-granite/granite-3.3-8b-instruct", "no field for residual_multiplier 0.22"]
  ])("%s: is said", (name, note) => expect(notesOf(name)).toEqual(expect.arrayContaining([expect.stringContaining(note)])))

  it.each(["microsoft/phi-4", "HuggingFaceTB/SmolLM3-3B", "bigcode/starcoder2-3b", "ByteDance-Seed/Seed-OSS-36B-Base", "baidu/ERNIE-4.5-0.3B-PT", "rednote-hilab/dots.llm1.base"])("%s: nothing", (name) => {
    expect(notesOf(name)).toEqual([])
  })
})

it("factors that the trainer has fields for are in them", () => {
  const { fields } = described(published.find(([name]) => name === "ibm-granite/granite-3.3-8b-instruct")![1]).provider
  expect(fields).toMatchObject({
    use_mup: true, mup_base_hidden_size: 4096, mup_embedding_mult: { $float: 12 }, mup_output_mult: { $float: 1 / 16 }, softmax_scale: { $float: 0.0078125 }
  })
})

it("layers that differ are listed", () => {
  const fieldsOf = (name: string) => described(published.find(([own]) => own === name)![1]).provider.fields
  expect((fieldsOf("HuggingFaceTB/SmolLM3-3B")["no_rope_freq"] as ReadonlyArray<number>).slice(0, 8)).toEqual([0, 0, 0, 1, 0, 0, 0, 1])
  expect(fieldsOf("facebook/cwm")["window_size"]).toEqual([8191, 0])
  expect((fieldsOf("facebook/cwm")["window_attn_skip_freq"] as ReadonlyArray<number>).slice(0, 5)).toEqual([0, 1, 1, 1, 0])
  expect(fieldsOf("bigcode/starcoder2-3b")["window_size"]).toEqual([4095, 0])
  // Given by a factor: 10 000 · 1000^(128 / 126).
  expect(fieldsOf("tencent/Hunyuan-7B-Instruct")["rotary_base"]).toBeCloseTo(11_158_839.9, 0)
})
