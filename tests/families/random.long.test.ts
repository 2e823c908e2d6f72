/**
 * Random variations of every family's configs. What schema and description accept is planned without a remainder, standard and
 * as MIMO; import and then export is the identity on every element; and a tensor that is missing or renamed is named.
 */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { bind } from "../../src/bridge/Conversion.ts"
import type { Family, HfHeaders, ModelDescription } from "../../src/bridge/Family.ts"
import type { SourceTensor } from "../../src/conformance/Case.ts"
import { exportArray } from "../../src/plan/ExportDraft.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import type { ImportPlan } from "../../src/plan/ImportPlan.ts"
import { FormatError, isBridgeError } from "../../src/errors.ts"
import { storedArray } from "../../src/space/StoredWeights.ts"
import { standardModules } from "../../src/mimo/routes.ts"
import { volume } from "../../src/tensor/Copy.ts"
import { type Random, random } from "../tensor/random.ts"
import { assemble, Contents } from "./executor.ts"
import { exportOf, importOf } from "./inMemory.ts"
import { faultsOf } from "./providerFaults.ts"
import { type Config, variationOf } from "./mutate.ts"
import { sourceOf, type Toy, toys } from "./toys.ts"

const VARIATIONS = Number(process.env["VARIATIONS"] ?? 6)
/** Larger variations are planned, not run. */
const MOST_ELEMENTS = 150_000

const headersOf = (tensors: ReadonlyArray<{ readonly name: string; readonly shape: ReadonlyArray<number> }>): HfHeaders => {
  const byName = new Map(tensors.map((t) => [t.name, { ...t, dtype: "BF16" as const }]))
  return { names: [...byName.keys()], tensor: (name) => byName.get(name) }
}

/** Undefined if the schema, or the description, refuses the config. */
const described = (family: Family, config: Config, headers: HfHeaders): ModelDescription | undefined => {
  const parsed = family.schema.safeParse(config)
  if (!parsed.success) return undefined
  try {
    return family.describe(parsed.data, headers)
  } catch (error) {
    if (error instanceof FormatError) return undefined
    throw error
  }
}

const tensorsOf = (description: ModelDescription): ReadonlyArray<SourceTensor> => {
  const { hf } = bind(standardModules(description))
  return [...hf.values()]
    .map(({ name, shape }) => ({ name, dtype: "BF16", shape: [...shape], file: "model.safetensors" }))
}

/** A variation with its tensors, in the layout that the toy's own tensors show. */
const variationFrom = (toy: Toy, next: Random): Toy | undefined => {
  const family = families.find(toy.config)
  const config = variationOf(toy.config as Config, family.schema, next)
  const first = described(family, config, toy.tensors.some((t) => t.dtype !== "BF16" && t.dtype !== "F32") ? noHeaders : headersOf(toy.tensors))
  if (!first) return undefined
  const seen = described(family, config, headersOf(tensorsOf(first)))
  return seen && { ...toy, config, configText: JSON.stringify(config), tensors: tensorsOf(seen) }
}

/** Import and export every element in memory: the tensors must come back as they were. */
const roundTrip = (toy: Toy, plan: ImportPlan): void => {
  let element = 0
  const hf = new Map(toy.tensors.map(({ name, shape }) => [name, Float64Array.from({ length: volume(shape) }, () => element++)]))
  const source = sourceOf(toy, toy.tensors).weights
  const contents = new Contents()
  for (const [name, values] of hf) contents.put(storedArray(source, name), values)
  const back = exportOf(toy, plan)
  const stored = [...plan.checkpoint.metadata.tensors.values()].flatMap((t) => t.chunks)
  const chunks = new Contents()
  for (const { name, segments } of plan.checkpoint.files) {
    const places = stored.filter((c) => c.file === name).sort((x, y) => x.offset - y.offset).values()
    for (const segment of segments) {
      if (segment.kind !== "array") continue
      const array = back.stored.array(places.next().value!)
      const values = assemble(segment.array, contents)
      if (array) chunks.put(array, values)
    }
  }
  expect([...back.tensors.keys()].sort()).toEqual([...hf.keys()].sort())
  for (const tensor of back.tensors.values()) {
    const values = assemble(exportArray(back, tensor), chunks)
    const original = hf.get(tensor.name)!
    const wrong = values.findIndex((v, i) => v !== original[i])
    if (wrong >= 0 || values.length !== original.length) throw new Error(`${tensor.name} element ${wrong} does not come back`)
  }
}

const messageOf = (call: () => unknown): string => {
  try {
    call()
    return "(accepted)"
  } catch (error) {
    if (!isBridgeError(error)) throw error
    return [error.message, ...("names" in error ? error.names ?? [] : [])].join("\n")
  }
}

it.each(toys.map((toy) => [toy.name, toy] as const))("%s", (name, toy) => {
  const next = random([...name].reduce((seed, c) => (Math.imul(seed, 31) + c.charCodeAt(0)) | 0, 7))
  let accepted = 0
  for (let i = 0; i < VARIATIONS; i++) {
    const variation = variationFrom(toy, next)
    if (!variation) continue
    accepted++
    try {
      const { tensors } = variation
      const plan = importOf(variation)
      expect(plan.report.leftBehind).toEqual([])
      const small = tensors.reduce((sum, t) => sum + volume(t.shape), 0) <= MOST_ELEMENTS
      if (small) roundTrip(variation, plan)
      const family = families.find(variation.config)
      const description = described(family, variation.config as Config, headersOf(tensors))!
      expect(faultsOf(description)).toEqual([])
      if (description.components.length > 0) {
        const mimo = importOf(variation, "mimo")
        expect(mimo.report.components.reduce((n, c) => n + c.tensors, 0)).toBe(plan.report.components[0]!.tensors)
        if (small) roundTrip(variation, mimo)
      }
      const victim = tensors[next(tensors.length)]!
      const others = tensors.filter((t) => t !== victim)
      expect(messageOf(() => importOf(variation, "standard", others))).toContain(victim.name)
      expect(messageOf(() => importOf(variation, "standard", [...others, { ...victim, name: `${victim.name}_x` }]))).toContain(victim.name)
    } catch (error) {
      throw new Error(`variation ${i}: ${variation.configText}`, { cause: error })
    }
  }
  expect(accepted).toBeGreaterThan(0)
})
