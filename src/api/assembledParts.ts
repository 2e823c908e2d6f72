/**
 * The models that an assembly takes its parts from, described: a checkpoint of the part itself, or the part's section of a whole model,
 * which has a config.json and tensors among others there.
 */
import { Effect } from "effect"
import { type Renamed, type SectionRecipe, SECTIONS } from "../../routes/recipes/assembly.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import { architectureOf, type FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type JsonTree, type JsonValue, parseJsonTree } from "../document/StrictJson.ts"
import { quote, UsageError } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { describeModel } from "../space/describeModel.ts"
import { headersOf, type HfSource, openHfSource } from "../space/HfSource.ts"
import { openedWeights } from "../space/openedWeights.ts"
import { renamed } from "../space/StoredWeights.ts"
import { type Shape, volume } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"

export type JsonFields = { readonly [field: string]: JsonValue }

export interface DescribedPart {
  readonly description: ModelDescription
  /** Its config.json, and the same as it is written. */
  readonly json: JsonFields
  readonly tree: JsonTree
  /** Of its tensors, as the part alone has them. */
  readonly names: ReadonlyArray<string>
  /** Of most of its elements. */
  readonly dtype: DType | undefined
  /** Of a section: its tensors' names in the directory. */
  readonly section?: { readonly names: ReadonlyArray<Renamed>; readonly note: string }
}

const fieldsOf = (value: JsonValue | undefined): JsonFields | undefined => (typeof value === "object" && value !== null && !Array.isArray(value) ? value as JsonFields : undefined)

/** A model's config.json and tensors' names, as those of one of its parts. */
const sectionIn = (name: string, source: HfSource): { readonly json: JsonFields; readonly names: ReadonlyArray<Renamed>; readonly field: string } | undefined => {
  const recipe: SectionRecipe | undefined = Object.hasOwn(SECTIONS, name) ? SECTIONS[name] : undefined
  const whole = source.json as JsonFields
  const own = recipe && fieldsOf(whole[recipe.field])
  const names = recipe?.names.find(([[prefix]]) => source.weights.tensors.keys().some((tensor) => tensor.startsWith(prefix)))
  if (!recipe || !own || !names) return undefined
  const type = String(own["model_type"])
  const named = Object.hasOwn(recipe.classes, type) ? recipe.classes[type] : undefined
  if (named === undefined) {
    throw new UsageError({
      code: "usage/assembly",
      problem: `--hf-model ${name}: ${recipe.field} of ${quote(source.directory)} (${source.architecture}) is of type ${quote(type)}, which is no model by itself here`,
      hint: `Name a checkpoint of the part alone. Sections may be of type ${Object.keys(recipe.classes).join(", ")}.`
    })
  }
  const dtype = ["dtype", "torch_dtype"].flatMap((field) => (whole[field] === undefined ? [] : [[field, whole[field]] as const])).slice(0, 1)
  return { json: { ...Object.fromEntries(dtype), ...recipe.defaults?.[type] as JsonFields | undefined, ...own, architectures: [named] }, names, field: recipe.field }
}

const mostOf = (tensors: Iterable<{ readonly dtype: DType; readonly shape: Shape }>): DType | undefined => {
  const sizes = new Map<DType, number>()
  for (const { dtype, shape } of tensors) sizes.set(dtype, (sizes.get(dtype) ?? 0) + volume(shape))
  return [...sizes].sort(([, a], [, b]) => b - a)[0]?.[0]
}

/** Describe what `name` is taken from. `settings`: what the whole says of it. Errors: UsageError `usage/assembly`, those of reading. */
export const describedPart = Effect.fnUntraced(function*(families: FamilyRegistry, name: string, path: string, settings: object) {
  const source = yield* openHfSource(path)
  return yield* reading(async (): Promise<DescribedPart> => {
    const section = sectionIn(name, source)
    const json = section?.json ?? source.json as JsonFields
    const weights = openedWeights(source.weights, source)
    const headers = headersOf(section ? renamed(weights, section.names) : weights)
    const own = { ...source, json: { ...json, ...settings } as JsonValue, architecture: architectureOf(json) }
    const tree = parseJsonTree(source.bytes, { allowNonFinite: true, keepFloats: true })
    const part = {
      description: describeModel(families.find(json, source.path), own, headers),
      json,
      tree: (section && tree instanceof Map ? tree.get(section.field) : undefined) ?? tree,
      names: headers.names,
      dtype: mostOf(headers.names.flatMap((tensor) => headers.tensor(tensor) ?? []))
    }
    return section ? { ...part, section: { names: section.names, note: `${name}: ${section.field} of ${quote(path)}, tensors ${section.names.map(([prefix]) => `${prefix}*`).join(", ")}` } } : part
  })
})
