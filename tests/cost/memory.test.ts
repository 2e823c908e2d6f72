/** Memory of every rank: exact parameters of every test model, and states and activations of a layout that is known from elsewhere. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { frozenParts } from "../../src/cost/freezing.ts"
import { ADAM, fitsIn, layoutMemory, type MemorySettings } from "../../src/cost/memory.ts"
import { modelProfile } from "../../src/cost/profile.ts"
import { parameterCount } from "../../src/cost/weights.ts"
import { images, sequences, together } from "../../src/cost/Workload.ts"
import { resolveLayout, standardLayout } from "../../src/parallel/Layout.ts"
import { parseComponent } from "../../src/parallel/ModuleParallelism.ts"
import { volume } from "../../src/tensor/Copy.ts"
import { toys } from "../families/toys.ts"
import { published } from "./published.ts"

const GIB = 2 ** 30

const matches = (pattern: string) =>
  new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("**", "\u0000").replaceAll("*", "\\d+").replaceAll("\u0000", ".*")}$`)

/** Where the trainer's model has parameters that the checkpoint has not, and why. */
const MORE: Readonly<Record<string, string>> = {
  "step-3.5-a": "padded heads", "step-3.5-mtp": "padded heads", "step-3.7": "padded heads", whisper: "biases of keys, zeros", "whisper-model": "biases of keys, zeros", "gemma-4-shared-kv": "layers that share keys have projections of their own"
}

const profiles = toys.map((toy) => {
  const tensors = new Map(toy.tensors.map((t) => [t.name, t]))
  const family = families.find(toy.config)
  const description = family.describe(family.schema.parse(toy.config), { names: [...tensors.keys()], tensor: (name) => tensors.get(name) })
  const forms = description.components.length > 0 ? ["standard", "mimo"] as const : ["standard"] as const
  return { toy, description, profiles: forms.map((form) => modelProfile(description, form)) }
})

describe("parameters of every test model", () => {
  it("are the elements of its tensors", () => {
    const differing = profiles.flatMap(({ description, profiles: [standard], toy }) => {
      if ("quantization_config" in toy.config) return []
      const carried = description.carried.map((c) => matches(c.pattern))
      const stored = toy.tensors.filter((t) => !carried.some((c) => c.test(t.name))).reduce((sum, t) => sum + volume(t.shape), 0)
      const difference = parameterCount(standard!.weights) - stored
      return difference === 0 || (difference > 0 && (description.zeroFilled !== undefined || toy.name in MORE)) ? [] : [[toy.name, difference]]
    })
    expect(differing).toEqual([])
    expect(profiles.filter(({ toy }) => "quantization_config" in toy.config).length).toBeLessThan(profiles.length / 5)
  })

  it("are all on the one rank of the smallest layout, component by component", () => {
    for (const { description, profiles: all, toy } of profiles) {
      for (const profile of all) {
        const cut = { tp: 1, pp: 1, ep: 1, etp: 1 }
        const sum = profile.components.flatMap((c) => profile.stageWeights(c, cut)).reduce((n, s) => n + s.dense + s.experts, 0)
        expect([toy.name, profile.form, sum]).toEqual([toy.name, profile.form, parameterCount(profile.weights)])
      }
      const predicted = description.model.reduce((n, e) => n + (e.kind === "parameter" && e.mtp ? volume(e.shape) : 0), 0)
      const [standard, mimo] = all
      if (mimo) expect([toy.name, parameterCount(mimo.weights)]).toEqual([toy.name, parameterCount(standard!.weights) - predicted])
    }
  })

  it("are those of the stages together, however many, but for what ranks share", () => {
    for (const { profiles: [standard], toy } of profiles) {
      const layers = standard!.layers("model")
      if (layers % 2 !== 0 || standard!.description.model.some((e) => e.mtp)) continue
      const sum = standard!.stageWeights("model", { tp: 1, pp: 2, ep: 1, etp: 1 }).reduce((n, s) => n + s.dense + s.experts, 0)
      const { vocabulary } = standard!.weights
      const copied = vocabulary?.tied ? vocabulary.rows * vocabulary.width : 0
      expect([toy.name, sum]).toEqual([toy.name, parameterCount(standard!.weights) + copied])
    }
  })
})

const picture = images([{ frames: 1, height: 48, width: 48 }], 2)
const settings: MemorySettings = {
  microBatch: 2, microBatches: 16, sample: together(sequences([4096]), picture), recompute: "none", sequenceParallel: false
}
const model = published("Qwen3.5-27B")
const reference = resolveLayout(["language=tp=4,pp=2,dp=2", "images=tp=1,dp=1"].map(parseComponent), ["language", "images"])
const statesOf = (r: { readonly weights: number; readonly gradients: number; readonly optimizer: number }): number => r.weights + r.gradients + r.optimizer

describe("a language model on tp 4, pp 2, dp 2, its tower on one rank", () => {
  const rows = layoutMemory(modelProfile(model, "mimo"), reference, settings)

  it("has a row for every stage, with its ranks", () => {
    expect(rows.map((r) => [r.component, r.stage, r.firstRank, r.ranks, r.microBatchesInFlight])).toEqual([["language", 0, 0, 8, 2], ["language", 1, 8, 8, 1], ["images", 0, 16, 1, 3]])
  })

  it("states: 12 bytes a parameter where two ranks share the optimizer, 18 where one has it", () => {
    expect(rows.map(statesOf)).toEqual([12 * rows[0]!.parameters, 12 * rows[1]!.parameters, 18 * 460730096])
    expect(statesOf(rows[2]!) / GIB).toBeCloseTo(7.7236, 4)
    // All weights cut evenly would take 37.5733; norms are held by every rank.
    expect((12 * 26895998464) / 8 / GIB).toBeCloseTo(37.5733, 4)
    expect(statesOf(rows[0]!) / GIB).toBeCloseTo(37.576, 3)
  })

  it("the tower keeps 2.1988 GiB of each image that is in flight", () => expect(rows[2]!.activations / (2 * 3) / GIB).toBeCloseTo(2.1988, 4))

  it("the scores of one sample in FP32 take 0.947 GiB", () => expect(((rows[1]!.logits * 4) / 10) / GIB).toBeCloseTo(0.947, 3))
})

describe("what changes memory", () => {
  const most = (change: Partial<MemorySettings>, frozen: ReadonlyArray<string> = [], layout = reference) =>
    layoutMemory(modelProfile(model, "mimo", frozenParts(model, frozen)), layout, { ...settings, ...change })

  it("frozen parts take their weights alone", () => {
    const [language, , images] = most({}, ["images"])
    expect(statesOf(images!)).toBe(2 * images!.parameters)
    expect(statesOf(language!)).toBe(12 * language!.parameters)
  })

  it("BF16 moments and no distributed optimizer", () => {
    expect(statesOf(most({ optimizer: { ...ADAM, moments: 4 } })[0]!) / most({})[0]!.parameters).toBe(10)
    expect(statesOf(most({ optimizer: { ...ADAM, distributed: false } })[0]!) / most({})[0]!.parameters).toBe(18)
  })

  it("recomputation and sequence parallelism shrink activations", () => {
    const [none, selective, full] = (["none", "selective", "full"] as const).map((recompute) => most({ recompute })[0]!.activations)
    expect(none).toBeGreaterThan(selective!)
    expect(selective).toBeGreaterThan(full! * 3)
    expect(most({ sequenceParallel: true })[0]!.activations).toBeLessThan(none! * 0.7)
  })

  it("experts are divided by ep, their states by the ranks that hold the same expert", () => {
    const moe = modelProfile(published("Qwen3-30B-A3B"), "standard")
    const rows = layoutMemory(moe, standardLayout({ dp: 8, ep: 8 }), { ...settings, sample: sequences([4096]), microBatch: 1, microBatches: 4 })
    // Attention, routers and the vocabulary: 1 541 093 376 elements among eight; 1/8 of the experts on one rank each.
    const experts = 3 * 2048 * 768 * 128 * 48
    expect(rows[0]!.parameters).toBe(30532122624 - experts + experts / 8)
    expect(statesOf(rows[0]!)).toBe((30532122624 - experts) * 7.5 + (experts / 8) * 18)
  })

  it("a group of keys and values is held by every rank that shares it", () => {
    const of = (tp: number) => modelProfile(published("Llama-3-8B"), "standard").stageWeights("model", { tp, pp: 1, ep: 1, etp: 1 })[0]!.dense
    const keys = 2 * 1024 * 4096 * 32
    const norms = 65 * 4096
    expect(of(8)).toBe((8030261248 - norms) / 8 + norms)
    expect(of(16)).toBe((8030261248 - norms + keys) / 16 + norms)
  })

  it("a tenth and 2 GiB of a GPU stay free", () => expect([fitsIn(88 * GIB, 100 * GIB), fitsIn(88 * GIB + 1, 100 * GIB)]).toEqual([true, false]))
})
