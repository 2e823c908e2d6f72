/** What a search for a layout found, as plain data: for documents, text and pages. */
import type { Recompute } from "../cost/activations.ts"
import type { StageMemory } from "../cost/memory.ts"
import type { Form } from "../mimo/routing.ts"
import { describeLayout, type LayoutRow } from "../parallel/Layout.ts"
import type { Broken } from "../parallel/LayoutRules.ts"
import { ranksByNode } from "../parallel/TrainingRules.ts"
import type { StepEstimate } from "./estimate.ts"
import { type LayoutChange, type Refused, type ScoredLayout, spell } from "./plan.ts"
import { timeline, type TimelineEvent } from "./timeline.ts"

/** A layout with its score. Times are estimates. */
export interface LayoutScore {
  readonly form: Form
  readonly layout: ReadonlyArray<LayoutRow>
  /** One line of text. */
  readonly spelled: string
  /** Values of `--component`; of a standard layout its flags. */
  readonly flags: ReadonlyArray<string>
  readonly microBatch: number
  readonly microBatches: number
  readonly recompute: Recompute
  readonly sequenceParallel: boolean
  readonly stepSeconds: number
  /** Share of a step in which the slowest stage waits. */
  readonly bubble: number
  readonly tokensPerSecond: number
  /** The score: allocated GPU-seconds per token. */
  readonly gpuSecondsPerToken: number
  readonly ranks: number
  readonly allocated: number
  readonly idle: number
  /** Why GPUs are idle; empty where none are. */
  readonly idleBecause: string
  readonly ranksByNode: ReadonlyArray<number>
  readonly stages: StepEstimate["stages"]
  readonly gradientSeconds: number
  readonly optimizerSeconds: number
  readonly utilisation: StepEstimate["utilisation"]
  readonly memory: ReadonlyArray<StageMemory>
  /** Of the fullest rank, reserve included, as a share of the GPU's memory. */
  readonly memoryShare: number
  /** When every stage of the longest path works on which of the first microbatches, in seconds. */
  readonly timeline: ReadonlyArray<TimelineEvent>
}

/** The layouts that a model can be trained with. */
export interface LayoutReport {
  readonly architecture: string
  readonly family: string
  readonly gpu: string
  readonly nodes: number
  readonly gpusPerNode: number
  readonly exclusive: boolean
  readonly globalBatch: number
  readonly seqLength: number
  readonly usable: number
  /** Best first. */
  readonly best: ReadonlyArray<LayoutScore>
  /** The best of one model under one layout, which layouts of components have to beat. */
  readonly standard?: LayoutScore
  /** The layout that was asked about: what it breaks, and its score. */
  readonly given?: { readonly broken: ReadonlyArray<Broken>; readonly score?: LayoutScore }
  readonly refused: ReadonlyArray<Refused>
  readonly searched: number
  /** What one change to the best (or the given) layout comes to. */
  readonly changes: ReadonlyArray<LayoutChange>
  readonly notes: ReadonlyArray<string>
}

/** Microbatches of a picture. */
const DRAWN = 8

const componentFlag = ({ component, cp, dp, ep, etp, pp, ranks, tp }: LayoutRow): string =>
  `${component}=${Object.entries({ tp, pp, dp, cp, ep, etp }).filter(([key, n]) => n !== 1 || key === "tp" || key === "dp").map(([key, n]) => `${key}=${n}`).join(",")},rank_offset=${ranks.split("-")[0]}`

const standardFlags = ({ ep, etp, pp, tp }: LayoutRow): ReadonlyArray<string> =>
  ["--standard", ...Object.entries({ tp, pp, ep, etp }).filter(([key, n]) => n !== 1 || key === "tp").flatMap(([key, n]) => [`--${key}`, String(n)])]

const pathOf = (scored: ScoredLayout): ReadonlyArray<{ readonly forward: number; readonly backward: number }> => {
  // Encoders first, as data flows.
  const path = [...scored.step.stages].sort((a, b) => Number(a.component === "language" || a.component === "model") - Number(b.component === "language" || b.component === "model"))
  return path.map(({ total }) => ({ forward: total / 3, backward: (2 * total) / 3 }))
}

const idleReason = ({ allocated, form, idle, layout }: ScoredLayout): string => {
  if (idle === 0) return ""
  const largest = layout.components.reduce((a, b) => (b.parallelism.tp * b.parallelism.pp > a.parallelism.tp * a.parallelism.pp ? b : a))
  const step = largest.parallelism.tp * largest.parallelism.pp
  return idle < step
    ? `one more data-parallel rank of ${largest.name} takes ${step} GPUs, ${idle} are left of ${allocated}`
    : form === "mimo" ? `more data-parallel ranks of ${largest.name} divide neither the batch nor the other components, or do not fit` : "more data-parallel ranks do not divide the batch, or do not fit"
}

/** A scored layout, for people and documents. */
export const shown = (scored: ScoredLayout, gpusPerNode: number): LayoutScore => {
  const rows = describeLayout(scored.layout)
  const { step } = scored
  return {
    form: scored.form,
    layout: rows,
    spelled: spell(scored.layout),
    flags: scored.form === "mimo" ? rows.flatMap((row) => ["--component", componentFlag(row)]) : standardFlags(rows[0]!),
    microBatch: scored.microBatch,
    microBatches: step.microBatches,
    recompute: scored.recompute,
    sequenceParallel: scored.sequenceParallel,
    stepSeconds: step.seconds,
    bubble: step.bubble,
    tokensPerSecond: step.tokensPerSecond,
    gpuSecondsPerToken: scored.gpuSecondsPerToken,
    ranks: scored.layout.worldSize,
    allocated: scored.allocated,
    idle: scored.idle,
    idleBecause: idleReason(scored),
    ranksByNode: ranksByNode(scored.layout, gpusPerNode),
    stages: step.stages,
    gradientSeconds: step.gradients,
    optimizerSeconds: step.optimizer,
    utilisation: step.utilisation,
    memory: scored.memory,
    memoryShare: scored.fullest.share,
    timeline: timeline(pathOf(scored), Math.min(DRAWN, step.microBatches))
  }
}

/** Whether layouts of components are worth it. */
export const verdictNote = (best: ScoredLayout | undefined, standard: ScoredLayout | undefined): ReadonlyArray<string> => {
  if (best === undefined || standard === undefined) return []
  const ratio = best.gpuSecondsPerToken / standard.gpuSecondsPerToken
  const percent = (share: number): string => `${Math.abs(100 * share).toFixed(1)} %`
  return [ratio < 1
    ? `a token costs ${percent(1 - ratio)} fewer GPU-seconds than under the best standard layout (${spell(standard.layout)})`
    : `the best standard layout (${spell(standard.layout)}) is cheaper: under the best layout of components a token costs ${percent(ratio - 1)} more GPU-seconds on what is allocated`]
}
