/** Which components a checkpoint has, by what it shows. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { FamilyRegistry } from "../../src/bridge/FamilyRegistry.ts"
import type { Family } from "../../src/bridge/Family.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { recogniseComponents } from "../../src/mimo/recognise.ts"
import { componentOf, route, unroute } from "../../src/mimo/routing.ts"
import { toys } from "../families/toys.ts"

const components = (encoder: string, also: ReadonlyArray<string> = []) => [
  { name: "language", sourcePrefix: "language_model.", targetModulePath: "language_model" },
  {
    name: "images",
    sourcePrefix: "tower.",
    targetModulePath: `modality_submodules.images.encoders.${encoder}`,
    also: also.map((sourcePrefix, i) => ({ sourcePrefix, targetModulePath: `modality_submodules.images.input_projections.${i}` }))
  }
]
const known = (name: string, provider: string, table: ReturnType<typeof components>): Family =>
  ({ ...families.families[0]!, name, architectures: [name], mimo: [{ providers: [provider], components: table }] })

const registry = new FamilyRegistry([
  known("one", "own.Class", components("vit")),
  known("two", "shared.Class", components("clip")),
  known("three", "shared.Class", components("siglip", ["projector."]))
])
const keys = ["language_model.a", "tower.b"]
const standard = { form: "standard", keys } as const

describe("recognise", () => {
  it("by the provider class", () => {
    expect(recogniseComponents(registry, { ...standard, provider: "own.Class" })).toEqual({ components: components("vit") })
  })

  it("among families of one class, by the prefixes that have tensors", () => {
    expect(recogniseComponents(registry, { ...standard, provider: "shared.Class" })).toEqual({ components: components("clip") })
    expect(recogniseComponents(registry, { form: "standard", keys: [...keys, "projector.c"], provider: "shared.Class" })).toEqual({ components: components("siglip", ["projector."]) })
  })

  it("without a class, by tensors that fit one family only, and says so", () => {
    const found = recogniseComponents(registry, { form: "mimo", keys: ["language_model.a", "modality_submodules.images.encoders.clip.b"] })
    expect(found).toMatchObject({ components: components("clip"), note: expect.stringContaining("taken for one of two by the names") as string })
  })

  it("does not choose among several", () => {
    expect(recogniseComponents(registry, standard)).toMatchObject({ problem: expect.stringContaining("fit the families one, two, which") as string, hint: expect.stringContaining("--hf-model") as string })
  })

  it("a model without a component's tensors has a single one", () => {
    expect(recogniseComponents(registry, { form: "standard", keys: ["decoder.a"], provider: "shared.Class" })).toEqual({ components: [] })
  })
})

describe("routing", () => {
  const table = [{ ...components("vit", ["projector."])[0]!, also: [{ sourcePrefix: "indexers.", targetModulePath: "language_model.inner" }] }, components("vit", ["projector."])[1]!]

  it("knows every route of a component, in both directions", () => {
    for (const [key, to, component] of [
      ["projector.w", "modality_submodules.images.input_projections.0.w", "images"],
      ["indexers.w", "language_model.inner.w", "language"],
      ["language_model.w", "language_model.w", "language"]
    ] as const) {
      expect(route(table, key)).toEqual({ component, key: to })
      expect(unroute(table, to)).toEqual({ component, key })
      expect(componentOf(table, "mimo", to)).toBe(component)
    }
    expect(route(table, "other.w")).toBeUndefined()
  })
})

it("every family's table holds the components and the provider of each of its models", () => {
  const strangers = toys.flatMap((toy) => {
    const family = families.find(toy.config)
    const { components: own, provider } = family.describe(family.schema.parse(toy.config), noHeaders)
    if (own.length < 2) return []
    const forms = family.mimo?.filter(({ providers }) => providers.includes(provider.target)) ?? []
    return forms.some((form) => own.every((c) => form.components.some((other) => JSON.stringify(other) === JSON.stringify(c)))) ? [] : [`${family.name}: ${toy.name}`]
  })
  expect(strangers).toEqual([])
})
