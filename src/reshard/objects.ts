/** The objects of a checkpoint under another layout: module states, random states, what belongs to ranks that there are no more. Pure. */
import { COMMON_STATE } from "../checkpoint/names.ts"
import { UsageError } from "../errors.ts"
import { expertKey, leadingAxes } from "../model/layerKeys.ts"
import { readShardKey, stateModule } from "../model/shardKey.ts"
import { roleOf, unwrapKey } from "../model/storedKey.ts"
import { rankAt, writerRank } from "../parallel/RankGrid.ts"
import type { StoredObject } from "../torch/DcpMetadata.ts"
import type { KeyFacts } from "./keyFacts.ts"
import type { ComponentPlan, PlannedObject } from "./ReshardPlan.ts"

/** What becomes of the random states: `auto` keeps them where tensor and pipeline parallelism stay, and drops them elsewhere; `reseed` makes new ones. */
export const rngModes = ["auto", "keep", "drop", "reseed"] as const
export type RngMode = (typeof rngModes)[number]

const RNG = /^rng_state(?:\.(.+))?$/
const RERUN = /^rerun_state_machine_state\//

export interface ObjectChoice {
  readonly optimizer: boolean
  readonly rng: RngMode
  /** Optimizer objects that something else takes the place of. */
  readonly replaced: ReadonlySet<string>
}

export interface KeptObjects {
  readonly objects: ReadonlyArray<PlannedObject>
  readonly rng: "kept" | "dropped" | "none"
  readonly rerunDropped: boolean
}

/** Is the grid of the random states (pipeline, tensor, and data where each of its ranks has one) that of the layout? */
const sameGrid = (counts: ReadonlyArray<number>, { parallelism: { cp, dp, pp, tp } }: ComponentPlan): boolean =>
  counts[0] === pp && counts[1] === tp && (counts[2] === undefined || counts[2] === dp * cp)

interface RngState {
  readonly key: string
  readonly object: StoredObject
  readonly plan: ComponentPlan
  readonly index: ReadonlyArray<number>
  readonly fits: boolean
}

const rngStates = (objects: ReadonlyMap<string, StoredObject>, components: ReadonlyMap<string, ComponentPlan>, alone: string): ReadonlyArray<RngState> =>
  [...objects].flatMap(([key, object]) => {
    const shard = roleOf(key) === "rng" ? readShardKey(key) : undefined
    const component = shard && RNG.exec(shard.name)
    const plan = component && components.get(component[1] ?? alone)
    return shard && plan ? [{ key, object, plan, index: shard.index, fits: sameGrid(shard.counts, plan) }] : []
  })

/** Rank that writes the state of a module. */
const stateRank = (key: string, facts: KeyFacts, { parallelism, stageOf }: ComponentPlan): number => {
  const shard = readShardKey(key)
  const name = shard?.name ?? key
  const lead = leadingAxes(name)
  const [first, second] = shard?.index ?? []
  const grouped = /\.experts\.experts\.(?!\d)/.test(name)
  const layer = lead === (grouped ? 2 : 1) ? first : undefined
  const pp = stageOf(facts.positionOf(name, layer))
  const counts = shard?.counts ?? []
  if (grouped) {
    const [index, of] = layer === undefined ? [first ?? 0, counts[0] ?? 1] : [second ?? 0, counts[1] ?? 1]
    return writerRank(parallelism, { pp, ep: Math.floor(index / (of / parallelism.ep)), etp: 0 })
  }
  const expert = expertKey(`${stateModule(name) ?? name}.x`)
  if (expert?.expert === undefined) return writerRank(parallelism, { pp, tp: 0 })
  return writerRank(parallelism, { pp, ep: Math.floor(expert.expert / Math.max(1, facts.expertsOf(expert.list) / parallelism.ep)), etp: 0 })
}

/** UsageError for random states that are to be kept and belong to another grid of ranks. */
export const keptObjects = (
  objects: ReadonlyMap<string, StoredObject>,
  facts: KeyFacts,
  components: ReadonlyMap<string, ComponentPlan>,
  componentOf: (key: string) => string,
  choice: ObjectChoice
): KeptObjects => {
  const alone = [...components.keys()][0]!
  const states = rngStates(objects, components, alone)
  const misfit = states.find(({ fits }) => !fits)
  if (choice.rng === "keep" && misfit) {
    throw new UsageError({
      problem: `--rng keep: ${misfit.key} is the state of one rank among those of another tensor- and pipeline-parallel grid, so nobody could take it over`,
      hint: "--rng drop leaves them out, as a trainer does whose layout changes; --rng reseed writes those that a trainer of this layout starts with."
    })
  }
  const keepsRng = states.length > 0 && !misfit && (choice.rng === "keep" || choice.rng === "auto")
  const out: Array<PlannedObject> = []
  for (const { index, key, object, plan: { parallelism, unchanged } } of keepsRng ? states : []) {
    const [pp = 0, tp = 0, copy = 0] = index
    out.push({ key, stored: object, rank: rankAt(parallelism, { pp, tp, dp: Math.floor(copy / parallelism.cp), cp: copy % parallelism.cp }), stays: unchanged })
  }
  const allUnchanged = [...components.values()].every(({ unchanged }) => unchanged)
  let rerunDropped = false
  for (const [key, stored] of objects) {
    const role = roleOf(key)
    if (key === COMMON_STATE || role === "rng" || choice.replaced.has(key) || (role === "optimizer" && !choice.optimizer)) continue
    if (RERUN.test(key) && !allUnchanged) {
      rerunDropped = true
      continue
    }
    const plan = components.get(componentOf(key)) ?? components.get(alone)!
    const rank = role === "model" ? stateRank(unwrapKey(key), facts, plan) : plan.parallelism.rankOffset
    out.push({ key, stored, rank, stays: plan.unchanged })
  }
  return { objects: out, rng: keepsRng ? "kept" : states.length > 0 ? "dropped" : "none", rerunDropped }
}
