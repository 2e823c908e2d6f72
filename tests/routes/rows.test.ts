/**
 * Every row of a family can match: a parameter of one of its test models, or of one of them with another switch. A shared table
 * may bring rows that the family has no use for, if it has use for others of the table.
 */
import { expect, it } from "vitest"
import type { z } from "zod"
import { families } from "../../routes/index.ts"
import * as blocks from "../../routes/shared/blocks.ts"
import { frameRows } from "../../routes/shared/llama.ts"
import { mambaMixerRows } from "../../routes/shared/mamba.ts"
import { latentAttentionRows } from "../../routes/shared/mla.ts"
import { router, sharedExperts } from "../../routes/shared/moe.ts"
import type { Family, HfHeaders, ModelDescription } from "../../src/bridge/Family.ts"
import { MappingRegistry } from "../../src/bridge/Registry.ts"
import { headersOf, noHeaders } from "../../src/space/HfSource.ts"
import { FormatError } from "../../src/errors.ts"
import { type Config, fieldsOf, sectionOf } from "../families/mutate.ts"
import { sourceOf, type Toy, toys } from "../families/toys.ts"

type Names = ReadonlyArray<string>

/** The shared tables, by what their rows name below a layer or a model. */
const SHARED: ReadonlyArray<Names> = [
  ...Object.values(blocks).flatMap((table) => (typeof table === "object" ? [Object.keys(table)] : [])),
  frameRows().map(({ megatron }) => megatron),
  ...[mambaMixerRows("mixer.", ""), latentAttentionRows(), router("gate", "bias"), sharedExperts()].map((table) => Object.keys(table))
]

/** Rows of single layers are the same row. */
const patternOf = (megatron: string): string => megatron.replace(/\.\d+(?=\.)/g, ".*")

/** What a row names below its layer, or below its model: decoder and multi-token prediction have one table. */
const nameBelow = (pattern: string): string => {
  const layer = ["mtp_model_layer.", "layers.*.", "list.*."].map((part) => pattern.lastIndexOf(part) + part.length * Number(pattern.includes(part)))
  const below = Math.max(...layer)
  return below > 0 ? pattern.slice(below) : pattern.replace(/^(?:thinker\.|llava_model\.)?language_model\./, "")
}

class RowUse {
  readonly #rows = new Set<string>()
  readonly #used = new Set<string>()

  /** `own`: its rows are looked at, too; the rows of a variation only count as used. */
  add({ model, rows }: Pick<ModelDescription, "model" | "rows">, own: boolean): void {
    const registry = new MappingRegistry(rows)
    if (own) for (const { megatron } of rows) this.#rows.add(patternOf(megatron))
    for (const entry of model) {
      const row = entry.kind === "parameter" ? registry.lookup(entry.name)?.row : undefined
      if (row) this.#used.add(patternOf(row.megatron))
    }
  }

  unused(): Names {
    const [all, used] = [this.#rows, this.#used].map((rows) => new Set([...rows].map(nameBelow))) as [Set<string>, Set<string>]
    const brought = SHARED.filter((table) => table.every((name) => all.has(name)) && table.some((name) => used.has(name)))
    return [...this.#rows].filter((row) => !used.has(nameBelow(row)) && !brought.some((table) => table.includes(nameBelow(row))))
  }
}

/** Each switch turned, each number that may be absent set or left out, multi-token prediction on: one at a time. */
const switched = function*(config: Config, schema: z.ZodType): Generator<Config> {
  for (const { kind, nullish, path } of fieldsOf(schema)) {
    const name = path.at(-1)!
    const values = kind === "boolean" ? [true, false] : /nextn|mtp/.test(name) ? [1] : nullish ? [null, 8] : []
    for (const value of values) {
      const changed = structuredClone(config)
      const section = sectionOf(changed, path)
      if (!section) continue
      section[name] = value
      yield changed
    }
  }
}

const described = (family: Family, config: unknown, headers: HfHeaders): ModelDescription | undefined => {
  const parsed = family.schema.safeParse(config)
  if (!parsed.success) return undefined
  try {
    return family.describe(parsed.data, headers)
  } catch (error) {
    if (error instanceof FormatError || error instanceof RangeError) return undefined
    throw error
  }
}

const useOf = (family: Family, models: ReadonlyArray<Toy>): RowUse => {
  const use = new RowUse()
  const opened = models.map((toy) => [toy, headersOf(sourceOf(toy, toy.tensors).weights)] as const)
  for (const [toy, headers] of opened) use.add(described(family, toy.config, headers)!, true)
  for (const [toy, headers] of opened) {
    for (const config of switched(toy.config as Config, family.schema)) {
      if (use.unused().length === 0) return use
      for (const seen of [noHeaders, headers]) {
        const description = described(family, config, seen)
        if (description) use.add(description, false)
      }
    }
  }
  return use
}

const byFamily = [...Map.groupBy(toys, (toy) => families.find(toy.config))].map(([family, models]) => [family.name, family, models] as const)

it.each(byFamily)("%s", (_, family, models) => {
  expect(useOf(family, models).unused()).toEqual([])
})

it("a row that matches nothing is found, in a table of its own or from a shared one", () => {
  const [toy] = toys.filter(({ architecture }) => architecture === "MixtralForCausalLM")
  const found = described(families.find(toy!.config), toy!.config, noHeaders)!
  const [row] = found.rows
  const use = new RowUse()
  use.add({ ...found, rows: [...found.rows, { ...row!, megatron: "decoder.layers.*.mlp.post_norm.weight" }, { ...row!, megatron: "decoder.layers.*.mlp.shared_experts.linear_fc1.weight" }] }, true)
  expect(use.unused()).toEqual(["decoder.layers.*.mlp.post_norm.weight", "decoder.layers.*.mlp.shared_experts.linear_fc1.weight"])
})
