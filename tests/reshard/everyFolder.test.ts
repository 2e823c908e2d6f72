/** Every checkpoint that a trainer wrote, resharded to other layouts and back: the global tensors stay, and so do the bytes. */
import { describe, expect, it } from "vitest"
import { relabel } from "../../src/api/checkpoints.ts"
import { type ReshardRequest, reshardPlan } from "../../src/api/reshard.ts"
import { type TensorFacts, trainedCheckpoints, trainingCheckpoint, trainingFacts, trainingNames } from "../conformance/training.ts"
import { trainingTable } from "../conformance/trainingTable.ts"
import { plain, resharding, run } from "./resharding.ts"
import { files, grids, iterationIn, placement, summaries } from "./stored.ts"

const { fresh, to } = resharding()

type Tensors = Readonly<Record<string, TensorFacts>>
const isOptimizer = (key: string): boolean => key.startsWith("optimizer.") || key.startsWith("chained_") || key.startsWith("mimo.")
const weightsOf = (tensors: Tensors): Tensors => Object.fromEntries(Object.entries(tensors).filter(([key]) => !isOptimizer(key)))

const isOfRanks = (name: string): boolean => trainingTable[name]?.thereAndBack === "joined"
const readable = trainingNames.filter((name) => !isOfRanks(name))

/** The layout that it was saved under. */
const homeOf = (name: string): ReshardRequest => {
  const { components, layout } = trainingFacts(name)
  return components ? { components: Object.keys(components).map((component) => `${component}=tp=1`) } : { ...layout! }
}

/** Layouts that fit the models: two layers, but for one; four experts where there are any. */
const elsewhere = (name: string): ReadonlyArray<ReshardRequest> => {
  const { components } = trainingFacts(name)
  if (components) return [{ components: Object.keys(components).map((component) => `${component}=tp=2`) }]
  const pp = name.startsWith("core014") ? 3 : 2
  return [{ tp: 2, pp }, { tp: 4, dp: 2 }, ...(name.includes("moe") ? [{ ep: 4, tp: 2 }, { ep: 2, etp: 2, pp }] : [])]
}

/** What a folder must hold once it is cut for another layout: optimizer state of other forms is in model space then. */
const globalTensors = (name: string): Tensors => {
  const { expectedModelSpace, tensors } = trainingFacts(name)
  return plain(expectedModelSpace ? { ...weightsOf(tensors), ...expectedModelSpace } : tensors)
}

/** Through every layout and back: equal to `whole` everywhere, and each way back ends in the same bytes. */
const roundTrips = async (source: string, home: ReshardRequest, whole: Tensors, others: ReadonlyArray<ReshardRequest>) => {
  // Cut anew once, and without random states, which no other layout could bring back.
  const start = await to(await to(source, { ...others.at(-1)!, rng: "drop" }), home)
  expect(await summaries(iterationIn(start))).toEqual(whole)
  for (const other of others) {
    const cut = await to(start, other)
    expect(await summaries(iterationIn(cut)), JSON.stringify(other)).toEqual(whole)
    expect(files(iterationIn(await to(cut, home))), JSON.stringify(other)).toEqual(files(iterationIn(start)))
  }
  return start
}

describe("there and back", () => {
  it.each(readable)("%s", async (name) => {
    const source = trainingCheckpoint(name)
    const start = await roundTrips(source, homeOf(name), globalTensors(name), elsewhere(name))
    // At home weights are cut as the trainer cut them.
    const cuts = (parent: string) => Object.entries(grids(iterationIn(parent))).filter(([key]) => !isOptimizer(key))
    expect(Object.fromEntries(cuts(start))).toEqual(Object.fromEntries(cuts(source)))
  })

  it.runIf(trainedCheckpoints.length > 0).each(trainedCheckpoints)("%s, of GPUs", async (name, source) => {
    const plan = await run(reshardPlan(source))
    const { dp, ep, pp, tp } = plan.layout[0]!
    const home = { tp, pp, dp, ...(ep > 1 ? { ep } : {}) }
    const cut = await to(source, { tp: 2, pp: 2 })
    const whole = await summaries(iterationIn(cut))
    // Weights as the trainer stored them; every one of them has its states.
    expect(weightsOf(whole)).toEqual(weightsOf(await summaries(iterationIn(source))))
    const states = Object.entries(whole).filter(([key]) => isOptimizer(key))
    const weights = Object.keys(weightsOf(whole)).filter((key) => !/\.(?:expert_bias|local_tokens_per_expert)$/.test(key))
    expect(states.length).toBe(3 * weights.length)
    await roundTrips(source, home, whole, [ep > 1 ? { ep: 4, tp: 2 } : { tp: 4 }])
  })

  it.each(trainingNames.filter(isOfRanks))("%s is refused, with the command that makes it readable; what that writes is resharded", async (name) => {
    const source = trainingCheckpoint(name)
    await expect(run(reshardPlan(source, { tp: 2 }))).rejects.toThrow(/a folder for each rank.*\n.*relabel --to torch-dist/)
    const joined = fresh()
    await run(relabel(source, joined, { to: ["torch-dist"] }))
    const whole = await summaries(iterationIn(joined))
    // There are facts of the optimizer's state only where it is distributed.
    expect(whole).toMatchObject(plain(trainingFacts(name).expectedGlobal!))
    await roundTrips(joined, { tp: 2, pp: 2 }, whole, [{ tp: 4 }])
  })
})

describe("a layout that the trainer saved too, by other optimizers", () => {
  const mixed = (key: string): string => key.replace(/^optimizer\.state\.param\./, "optimizer.state.fp32_param.")
  const renamed = <A>(record: Readonly<Record<string, A>>): Record<string, A> => Object.fromEntries(Object.entries(record).map(([key, value]) => [mixed(key), value]))
  /** Items of tensors in each file. */
  const placed = (parent: string) =>
    Object.fromEntries(Object.entries(placement(iterationIn(parent))).map(([file, items]) => [file, items.filter((item) => item.includes(" ")).map(mixed).sort()]))

  it.each<[string, ReshardRequest, string]>([
    ["lm-fully-reshardable-tp2pp2", { tp: 2 }, "lm-mixed-precision-tp2"],
    ["lm-fully-reshardable-dp2", { tp: 2 }, "lm-mixed-precision-tp2"],
    ["lm-dp-reshardable-dp2", { tp: 2 }, "lm-mixed-precision-tp2"],
    ["lm-mixed-precision-tp2", { tp: 2, pp: 2 }, "lm-fully-reshardable-tp2pp2"],
    ["lm-mixed-precision-tp2", { dp: 2 }, "lm-fully-reshardable-dp2"]
  ])("%s to %o is %s, but for the name of the master copies", async (name, request, direct) => {
    const [made, saved] = [await to(trainingCheckpoint(name), request), trainingCheckpoint(direct)]
    expect(renamed(await summaries(iterationIn(made)))).toEqual(renamed(plain(trainingFacts(direct).tensors)))
    expect(renamed(grids(iterationIn(made)))).toEqual(renamed(grids(iterationIn(saved))))
    expect(placed(made)).toEqual(placed(saved))
  })

  it.each(["lm-fully-reshardable-tp2pp2", "lm-mixed-precision-tp2", "lm-dp-reshardable-dp2"])("the weights of %s are what a trainer saved without optimizer", async (name) => {
    const made = await to(trainingCheckpoint(name), { tp: 2, onlyModel: true })
    const saved = trainingCheckpoint("lm-weights-only-tp2")
    expect(await summaries(iterationIn(made))).toEqual(plain(trainingFacts("lm-weights-only-tp2").tensors))
    expect(placement(iterationIn(made))).toEqual(placement(iterationIn(saved)))
  })
})
