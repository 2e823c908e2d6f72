/** Stretched rotary positions: what run_config.yaml says of them, and that it says so where it cannot. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { toys } from "../families/toys.ts"
import { describeCase, fieldsOf } from "./describe.ts"

const notesOf = (...toy: Parameters<typeof describeCase>) => describeCase(...toy).notes ?? []

/** The two places and spellings of one stretch. */
const spellings = (kind: string, section: object) => [
  { rope_parameters: undefined, rope_theta: 10_000, rope_scaling: { type: kind, ...section } },
  { rope_parameters: undefined, rope_theta: 10_000, rope_scaling: { rope_type: kind, ...section } },
  { rope_scaling: undefined, rope_parameters: { rope_theta: 10_000, rope_type: kind, ...section } }
]

const YARN = { factor: 4, original_max_position_embeddings: 1024, beta_fast: 16, beta_slow: 2, truncate: false }

describe("yarn is carried, whatever its place and spelling", () => {
  it.each(spellings("yarn", YARN))("%j", (change) => {
    expect(fieldsOf("qwen3-untied-a", change)).toMatchObject({
      position_embedding_type: "yarn",
      yarn_rotary_scaling_factor: 4,
      yarn_original_max_position_embeddings: 1024,
      yarn_beta_fast: 16,
      yarn_beta_slow: 2,
      yarn_mscale: null,
      yarn_correction_range_round_to_int: false,
      rotary_base: 10_000
    })
    expect(notesOf("qwen3-untied-a", change)).toEqual([])
  })

  it("by latent attention under names of its own", () => {
    const change = { rope_scaling: { type: "yarn", ...YARN, truncate: undefined, mscale: 0.7, mscale_all_dim: 0.8 } }
    expect(fieldsOf("kimi-k2-a", change)).toMatchObject({
      position_embedding_type: "rope", rotary_scaling_factor: 4, original_max_position_embeddings: 1024, beta_fast: 16, beta_slow: 2, mscale: 0.7, mscale_all_dim: 0.8
    })
    expect(notesOf("kimi-k2-a", change)).toEqual([])
  })

  it("but for its attention factor, which a note names", () => {
    expect(notesOf("qwen3-untied-a", spellings("yarn", { ...YARN, attention_factor: 0.5 })[2])).toEqual([
      expect.stringContaining("by yarn otherwise than run_config.yaml (attention_factor 0.5, there nothing)")
    ])
  })
})

describe("other types", () => {
  it.each(spellings("llama3", { factor: 32, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 }))("llama3 where the provider knows it: %j", (change) => {
    expect(fieldsOf("llama-a", change)).toMatchObject({ rope_scaling: true, rope_scaling_factor: 32 })
    expect(notesOf("llama-a", change)).toEqual([])
  })

  it("llama3 with bounds that the trainer does not have", () => {
    const [change] = spellings("llama3", { factor: 8, low_freq_factor: 2, high_freq_factor: 4, original_max_position_embeddings: 4096 })
    expect(notesOf("llama-a", change)).toEqual([expect.stringContaining("(low_freq_factor 2, there 1; original_max_position_embeddings 4096, there 8192)")])
  })

  it("a factor of the provider's own", () => {
    const [, , change] = spellings("llama3", { factor: 16 })
    for (const name of ["exaone-moe-a", "exaone-4-tied-a"]) {
      expect(fieldsOf(name, change)).toMatchObject({ rope_scaling: true, rope_scaling_factor: 16 })
      expect(notesOf(name, change)).toEqual([])
    }
  })

  it.each([
    ["llama-a", "dynamic", { factor: 2 }],
    ["qwen3-untied-a", "longrope", { long_factor: [1, 2], short_factor: [1, 1] }],
    ["kimi-k2-a", "dynamic", { factor: 2 }],
    ["glm-4.5-a", "ntk", { factor: 2 }]
  ])("%s has no field for %s", (name, kind, section) => {
    for (const change of spellings(kind, section)) {
      expect(notesOf(name, change)).toEqual([expect.stringContaining(`stretches rotary positions by ${kind}, for which run_config.yaml has no field`)])
    }
  })

  it("known ones that the provider does not read", () => {
    const [, , change] = spellings("linear", { factor: 2 })
    expect(notesOf("qwen3-untied-a", change)).toEqual([expect.stringContaining("by linear otherwise than run_config.yaml (factor 2, there nothing)")])
  })

  it("beside latent attention they leave the factor 1, and are noted", () => {
    const change = { rope_scaling: { type: "dynamic", factor: 3 } }
    expect(fieldsOf("kimi-k2-a", change)).toMatchObject({ rotary_scaling_factor: 1, mscale_all_dim: 1 })
  })

  it("in a section of a multimodal model", () => {
    const change = { text_config: { rope_parameters: { rope_theta: 1e6, rope_type: "dynamic", factor: 2 } } }
    expect(notesOf("qwen2.5-vl-a", change)).toEqual([expect.stringContaining("by dynamic")])
  })
})

it("GPT-OSS is stretched where its config says nothing", () => {
  const silent = { rope_parameters: undefined, rope_scaling: null }
  expect(fieldsOf("gpt-oss-a", silent)).toMatchObject({ position_embedding_type: "yarn", yarn_rotary_scaling_factor: 32, yarn_original_max_position_embeddings: 4096, rotary_base: 150_000 })
  expect(notesOf("gpt-oss-a", silent)).toEqual([])
})

describe("Ministral 3 is stretched by its provider", () => {
  const text = (rope_parameters: object) => ({ text_config: { rope_parameters } })
  const published = { rope_theta: 1e6, rope_type: "yarn", factor: 16, original_max_position_embeddings: 16_384, beta_fast: 32, beta_slow: 1, mscale: 1, mscale_all_dim: 1 }

  it("as published", () => expect(notesOf("ministral3-a", text(published))).toEqual([]))

  it("or otherwise than config.json says", () => {
    expect(notesOf("ministral3-a", text({ ...published, factor: 8 }))).toEqual([expect.stringContaining("(factor 8, there 16)")])
    expect(notesOf("ministral3-a", text({ rope_theta: 1e6, rope_type: "default" }))).toEqual([expect.stringContaining("config.json does not")])
  })
})

it("of the test models, these are stretched beyond what their providers know", () => {
  const noted = toys.filter(({ config }) => {
    const family = families.find(config)
    return family.describe(family.schema.parse(config), noHeaders).notes?.some((note) => note.includes("positions"))
  })
  expect(noted.map((toy) => toy.name)).toEqual(["ministral3-a", "ministral3-fp8-a", "exaone-4.5-mtp", "internvl-qwen2", "mistral3-tied", "olmo3", "phi3-longrope"])
})
