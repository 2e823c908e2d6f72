/**
 * Random states for the ranks of a layout: those that a trainer has right after it has seeded them (`megatron/training/initialize.py`,
 * `megatron/core/tensor_parallel/random.py`; Megatron-Bridge: `training/initialize.py`, `models/megatron_mimo/build_model.py`). Pure.
 */
import type { TrainingArguments } from "../../arguments/TrainingArguments.ts"
import { UsageError } from "../../errors.ts"
import { shardKey } from "../../model/shardKey.ts"
import type { ModuleParallelism } from "../../parallel/ModuleParallelism.ts"
import { coordinatesOf, rankAt } from "../../parallel/RankGrid.ts"
import { type RunConfigMap, sectionAt } from "../../runconfig/RunConfigFile.ts"
import { type RankSeeds, rngItem } from "./rankStates.ts"

/** What the run says of its seeding. */
export interface Seeding {
  readonly seed: number
  /** Every data-parallel rank has states of its own (`--data-parallel-random-init`). */
  readonly byData: boolean
  /** Megatron-Bridge's way to store states: with expert parallelism each data-parallel rank its own. */
  readonly trainer: "megatron-lm" | "megatron-bridge"
}

/** NumPy takes no larger one, and the last stage adds to it. */
const LARGEST_SEED = 2 ** 32 - 2 ** 24

const refuse = (problem: string, hint: string): never => {
  throw new UsageError({ problem: `--rng reseed: ${problem}`, hint })
}

/** `given`: the seed asked for; else the one that the run was started with. UsageError where there is none, or none that can be. */
export const seedingOf = (args: TrainingArguments | undefined, runConfig: RunConfigMap | undefined, given: number | undefined): Seeding => {
  const rng = runConfig && sectionAt(runConfig, "rng")
  const recorded = runConfig ? rng?.["seed"] : args?.number("seed")
  const seed = given ?? (typeof recorded === "number" ? recorded : undefined)
  if (seed === undefined) return refuse("the checkpoint does not say with which seed its run was started", "--seed N gives it.")
  if (!Number.isInteger(seed) || seed < 1 || seed > LARGEST_SEED) return refuse(`the seed ${seed} is none that a trainer takes`, `--seed N, a whole number from 1 to ${LARGEST_SEED}.`)
  if ((args?.number("gtp_weight_remat_size") ?? 1) > 1) return refuse("the run cuts weights for rematerialisation (gtp_weight_remat_size), whose ranks seed one more generator", "--rng drop has the trainer seed them.")
  const byData = runConfig ? rng?.["data_parallel_random_init"] === true : args?.flag("data_parallel_random_init") ?? false
  return { seed, byData, trainer: runConfig ? "megatron-bridge" : "megatron-lm" }
}

/** `component`: of a MegatronMIMO model, which adds nothing for data-parallel ranks. */
const seedsOf = ({ byData, seed }: Seeding, parallelism: ModuleParallelism, rank: number, component: string | undefined): RankSeeds => {
  const { dp, ep, etp, pp, tp } = coordinatesOf(parallelism, rank)
  const base = seed + 100 * pp + (byData && component === undefined ? 10 * dp : 0)
  return { base, tracked: new Map([["data-parallel-rng", base], ["model-parallel-rng", base + 2718 + tp], ["expert-parallel-rng", base + 1024 + 100 * ep + etp]]) }
}

export interface ReseededState {
  readonly key: string
  /** Global rank that stores it. */
  readonly rank: number
  readonly bytes: Uint8Array
}

/** The objects of one component, or of a standard model (`component` undefined), by their keys. */
export const reseededStates = (seeding: Seeding, parallelism: ModuleParallelism, component: string | undefined): ReadonlyArray<ReseededState> => {
  const { cp, dp, ep, pp, tp } = parallelism
  const name = component === undefined ? "rng_state" : `rng_state.${component}`
  const bridge = seeding.trainer === "megatron-bridge"
  const copies = Array.from({ length: dp * cp }, (_, i) => ({ dp: Math.floor(i / cp), cp: i % cp }))
  // Context-parallel ranks are no data-parallel ranks to Megatron-LM; Megatron-Bridge asks them too.
  const listed = seeding.byData ? copies.filter((at) => bridge || at.cp === 0) : undefined
  const states: Array<ReseededState> = []
  for (let p = 0; p < pp; p++) {
    for (let t = 0; t < tp; t++) {
      const rank = (at: { readonly dp: number; readonly cp: number }): number => rankAt(parallelism, { tp: t, pp: p, ...at })
      const itemOf = (at: { readonly dp: number; readonly cp: number }): Uint8Array => rngItem((listed ?? [at]).map((own) => seedsOf(seeding, parallelism, rank(own), component)))
      if (!bridge || ep === 1) states.push({ key: shardKey(name, [p, t], [pp, tp]), rank: rank(copies[0]!), bytes: itemOf(copies[0]!) })
      else for (const [i, at] of copies.entries()) states.push({ key: shardKey(name, [p, t, i], [pp, tp, copies.length]), rank: rank(at), bytes: itemOf(at) })
    }
  }
  return states
}
