/** Whether the head is the embedding: one rule, whatever the family and wherever its config.json says so. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import type { HfHeaders } from "../../src/bridge/Family.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { type Toy, toys } from "../families/toys.ts"

type Section = { [key: string]: unknown }
const NESTED = ["thinker_config", "text_config", "llm_config", "language_config"]
const isSection = (value: unknown): value is Section => typeof value === "object" && value !== null && !Array.isArray(value)

/** The sections about the language model, from the outside in. */
const sectionsOf = (config: Section): ReadonlyArray<Section> => {
  const inner = NESTED.map((name) => config[name]).find(isSection)
  return [config, ...(inner ? sectionsOf(inner) : [])]
}

/** The toy's config with these flags, from the outside in; undefined: none. */
const flagged = (toy: Toy, flag: string, flags: ReadonlyArray<boolean | undefined>): Section => {
  const config = structuredClone(toy.config)
  for (const [i, section] of sectionsOf(config).entries()) {
    delete section[flag]
    if (flags[i] !== undefined) section[flag] = flags[i]
  }
  return config
}

const described = (config: Section, headers: HfHeaders) => {
  const family = families.find(config)
  return family.describe(family.schema.parse(config), headers)
}

/** The toy's own tensors, but for the two matrices: those are there that `stored` names. */
const headersWith = (toy: Toy, names: ReadonlyArray<string>, stored: ReadonlyArray<string>): HfHeaders => {
  const byName = new Map(toy.tensors.filter((t) => !names.includes(t.name)).map(({ name, shape }) => [name, { dtype: "BF16" as const, shape }]))
  for (const name of stored) byName.set(name, { dtype: "BF16", shape: [8, 8] })
  return { names: [...byName.keys()], tensor: (name) => byName.get(name) }
}

const oneOfEach = [...new Map(toys.map((toy) => [toy.architecture, toy])).values()].flatMap((toy) => {
  const { vocabulary } = described(toy.config, noHeaders)
  return vocabulary ? [[toy.architecture, toy, vocabulary] as const] : []
})

it("only a model that predicts no tokens has no vocabulary", () => {
  const without = families.architectures.filter((a) => !oneOfEach.some(([architecture]) => architecture === a))
  const encoders = new Set(toys.flatMap((toy) => (described(toy.config, noHeaders).encoder === undefined ? [] : [toy.architecture])))
  expect(without.filter((a) => !encoders.has(a))).toEqual(["Qwen3_5ForTokenClassification"])
  expect([...encoders].filter((a) => !without.includes(a))).toEqual([])
})

describe.each(oneOfEach)("%s", (_, toy, { embedding, flag = "tie_word_embeddings", head }) => {
  const depth = sectionsOf(toy.config).length
  const read = (flags: ReadonlyArray<boolean | undefined>, stored: ReadonlyArray<string>, ownHead?: boolean) =>
    described(flagged(toy, flag, flags), { ...headersWith(toy, [embedding, head], stored), ...(ownHead === undefined ? {} : { ownHead }) })
  const inner = (value: boolean): ReadonlyArray<boolean | undefined> => Array.from({ length: depth }, (_, i) => (i === depth - 1 ? value : undefined))
  const outer = (value: boolean): ReadonlyArray<boolean | undefined> => [value]

  it("a flag at any depth counts", () => {
    for (const value of [true, false]) {
      for (const flags of [inner(value), outer(value)]) {
        expect(read(flags, [embedding, ...(value ? [] : [head])]).vocabulary!.tied).toBe(value)
        expect(read(flags, [embedding, head]).vocabulary!.tied).toBe(value)
      }
    }
  })

  it("where no head is stored, any flag that says tied makes it the embedding, and contradictions are named", () => {
    if (depth === 1) return
    for (const value of [true, false]) {
      const flags = outer(value).concat(inner(!value).slice(1))
      const bare = read(flags, [embedding])
      expect(bare.vocabulary!.tied).toBe(true)
      expect(bare.notes!.join("\n")).toContain("contradicts itself")
      // With a head in store the outermost flag decides.
      expect(read(flags, [embedding, head]).vocabulary!.tied).toBe(value)
    }
  })

  it("contents and trained checkpoints win over the flags", () => {
    expect(read(outer(true), [embedding, head], true).vocabulary!.tied).toBe(false)
    expect(read(outer(true), [embedding], false).vocabulary!.tied).toBe(true)
    expect(read(outer(false), [embedding, head], false).vocabulary!.tied).toBe(false)
  })

  it("a head that is the only matrix stored is the embedding", () => {
    const { model, rows } = read(outer(true), [head])
    expect(rows.some((row) => row.hf.includes(embedding))).toBe(false)
    expect(rows.filter((row) => row.hf.includes(head)).map((row) => row.megatron)).toContainEqual(expect.stringMatching(/embedding\.word_embeddings\.weight$/))
    expect(model.some((entry) => entry.kind === "parameter" && entry.name.endsWith("output_layer.weight"))).toBe(false)
  })

  it("what it says and the model agree", () => {
    for (const tied of [true, false]) {
      const { carried, model, provider } = read(outer(tied), [embedding, head])
      expect(model.some((entry) => entry.kind === "parameter" && entry.name.endsWith("output_layer.weight"))).toBe(!tied)
      expect(provider.fields["share_embeddings_and_output_weights"]).toBe(tied)
      expect(carried.some((rule) => rule.pattern === head && rule.alias === embedding)).toBe(tied)
    }
  })
})
