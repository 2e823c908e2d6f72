/**
 * Memory of every rank, in bytes: weights, gradients, optimizer states, activations of all microbatches in flight, logits, buffers of
 * communication; against what a GPU has. All ranks of a stage hold equally much, so there is one row per component and stage.
 *
 * Details: a trained BF16 parameter takes 2 bytes, its main gradient 4, and its FP32 copy and two moments 12, which a distributed
 * optimizer divides among the ranks that hold the same weight. A frozen one takes 2. Stage k of P holds `min(m, P − k)`
 * microbatches; under MegatronMIMO P is the longest path through the components, counted from the encoder.
 */
import { LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import type { Layout, LayoutComponent } from "../parallel/Layout.ts"
import { rankCount } from "../parallel/ModuleParallelism.ts"
import type { Recompute } from "./activations.ts"
import { type ModelProfile, optimizerRanks } from "./profile.ts"
import type { Workload } from "./Workload.ts"

/** Bytes per element of what an optimizer keeps. */
export interface OptimizerBytes {
  /** The states are divided among data-parallel ranks. */
  readonly distributed: boolean
  readonly gradient: number
  readonly master: number
  /** Both moments together. */
  readonly moments: number
}

export const ADAM: OptimizerBytes = { distributed: true, gradient: 4, master: 4, moments: 8 }

/** How a layout is run, as far as memory depends on it. */
export interface MemorySettings {
  /** Samples of a microbatch: over all data-parallel ranks under MegatronMIMO, per rank in a standard model. */
  readonly microBatch: number
  readonly microBatches: number
  /** One sample; of samples that differ, the largest that must fit. */
  readonly sample: Workload
  readonly recompute: Recompute
  readonly sequenceParallel: boolean
  readonly optimizer?: OptimizerBytes
}

/** Memory of the ranks of one pipeline stage of one component: all hold equally much. Bytes of one rank. */
export interface StageMemory {
  readonly component: string
  /** Pipeline stage, from 0. */
  readonly stage: number
  readonly firstRank: number
  readonly ranks: number
  /** Elements. */
  readonly parameters: number
  readonly trained: number
  /** Bytes, all of them. */
  readonly weights: number
  readonly gradients: number
  readonly optimizer: number
  readonly activations: number
  readonly microBatchesInFlight: number
  readonly logits: number
  readonly communication: number
  readonly total: number
}

/** Stages on the longest path through the components: the deepest encoder, then the language model. */
const pathLength = ({ components }: Layout): { readonly encoder: number; readonly language: number } => ({
  encoder: components.reduce((most, { name, parallelism }) => (isEncoder(name) ? Math.max(most, parallelism.pp) : most), 0),
  language: components.find(({ name }) => !isEncoder(name))?.parallelism.pp ?? 0
})

/** In a layout of several components all but the language model are encoders; a standard model has one component. */
export const isEncoder = (name: string): boolean => name !== LANGUAGE_COMPONENT && name !== "model"

/** Samples of a microbatch on one data-parallel rank. */
export const localSamples = ({ form }: ModelProfile, microBatch: number, dp: number): number => (form === "mimo" ? microBatch / dp : microBatch)

/** Rows of a component as if it began at rank 0. */
const ofComponent = (profile: ModelProfile, layout: Layout, { name, parallelism: p }: LayoutComponent, s: MemorySettings): ReadonlyArray<StageMemory> => {
  const { distributed, gradient, master, moments } = s.optimizer ?? ADAM
  const { vocabulary } = profile.weights
  const { encoder, language } = pathLength(layout)
  const depth = encoder + language
  const samples = localSamples(profile, s.microBatch, p.dp)
  const weights = profile.stageWeights(name, p)
  const activations = profile.stageActivations(name, p, s.sample, s)
  const copies = optimizerRanks(p)
  const states = (trained: number, ranks: number): number => (trained * (master + moments)) / (distributed ? ranks : 1)
  return weights.map(({ dense, denseTrained, experts, expertsTrained }, stage): StageMemory => {
    const inFlight = Math.min(s.microBatches, depth - (isEncoder(name) ? stage : encoder + stage))
    const isLast = !isEncoder(name) && stage === p.pp - 1
    const width = vocabulary?.width ?? 0
    const handedOn = (2 * (isEncoder(name) ? s.sample.merged : s.sample.tokens) * samples * width) / (s.sequenceParallel && !isEncoder(name) ? p.tp : 1)
    const parts = {
      weights: 2 * (dense + experts),
      gradients: gradient * (denseTrained + expertsTrained),
      optimizer: states(denseTrained, copies.dense) + states(expertsTrained, copies.experts),
      activations: activations[stage]! * samples * inFlight,
      // BF16 scores, their FP32 copy and its gradient, of the microbatch at hand.
      logits: isLast && vocabulary !== undefined ? (s.sample.tokens * samples * vocabulary.rows * (2 + 4 + 4)) / p.tp : 0,
      communication: depth > 1 ? 2 * handedOn : 0
    }
    return {
      component: name,
      stage,
      firstRank: stage * (rankCount(p) / p.pp),
      ranks: rankCount(p) / p.pp,
      parameters: dense + experts,
      trained: denseTrained + expertsTrained,
      ...parts,
      microBatchesInFlight: inFlight,
      total: parts.weights + parts.gradients + parts.optimizer + parts.activations + parts.logits + parts.communication
    }
  })
}

/** Memory of every stage of every component. UsageError where layers do not fit the stages. */
export const layoutMemory = (profile: ModelProfile, layout: Layout, settings: MemorySettings): ReadonlyArray<StageMemory> =>
  layout.components.flatMap((component) =>
    ofComponent(profile, layout, component, settings).map((row) => ({ ...row, firstRank: component.parallelism.rankOffset + row.firstRank })))

/** Answers by profile and sample: a search asks for the same component beside many others. */
const fullest = new WeakMap<ModelProfile, WeakMap<Workload, Map<string, StageMemory>>>()

/** The stage whose ranks hold most. UsageError where layers do not fit the stages. */
export const fullestStage = (profile: ModelProfile, layout: Layout, settings: MemorySettings): StageMemory => {
  const bySample = fullest.get(profile) ?? new WeakMap<Workload, Map<string, StageMemory>>()
  const known = bySample.get(settings.sample) ?? new Map<string, StageMemory>()
  fullest.set(profile, bySample)
  bySample.set(settings.sample, known)
  const { encoder, language } = pathLength(layout)
  const { microBatch, microBatches, optimizer, recompute, sequenceParallel } = settings
  const own = optimizer === undefined ? "" : JSON.stringify(optimizer)
  const all = layout.components.map((component): StageMemory => {
    const { cp, dp, ep, etp, pipeline, pp, tp } = component.parallelism
    const key = `${component.name},${tp},${pp},${dp},${cp},${ep},${etp},${pipeline ? JSON.stringify(pipeline) : ""},${encoder},${language},${microBatch},${microBatches},${recompute},${sequenceParallel},${own}`
    const found = known.get(key) ?? fullestOf(ofComponent(profile, layout, component, settings))
    known.set(key, found)
    return found
  })
  return fullestOf(all)
}

const fullestOf = (rows: ReadonlyArray<StageMemory>): StageMemory => rows.reduce((a, b) => (b.total > a.total ? b : a))

const GIB = 2 ** 30

/** What is left alone of a GPU's memory: a tenth for the allocator's slack, and 2 GiB for the context and NCCL. */
export const reserveOf = (usable: number): number => usable / 10 + 2 * GIB

/** Whether `bytes` fit into `usable` bytes of a GPU. */
export const fitsIn = (bytes: number, usable: number): boolean => bytes + reserveOf(usable) <= usable
