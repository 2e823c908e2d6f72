/**
 * The time of an optimizer step under a layout: one forward and one backward pass of every microbatch through the stages, without
 * interleaving (1F1B), then gradients and optimizer. First principles with efficiencies from experience: ratios between layouts
 * survive a wrong efficiency, absolute seconds do not. No GPU was asked.
 */
import type { ModelProfile } from "../cost/profile.ts"
import type { Recompute } from "../cost/activations.ts"
import { isEncoder, localSamples } from "../cost/memory.ts"
import type { Layout, LayoutComponent } from "../parallel/Layout.ts"
import { rankCount } from "../parallel/ModuleParallelism.ts"
import type { Efficiency, Gpu } from "./gpus.ts"
import type { SampleMix } from "./samples.ts"

/** Seconds of a pipeline: all stages once, then the slowest for every further microbatch. */
export const pipelineSeconds = (stages: ReadonlyArray<number>, microBatches: number): number =>
  stages.reduce((sum, t) => sum + t, 0) + (microBatches - 1) * Math.max(...stages)

/** Seconds of `flops` on `ranks` GPUs. */
export const computeSeconds = (flops: number, ranks: number, peak: number, efficiency: number): number => flops / (ranks * peak * efficiency)

/** How many times the present load the slowest stage leaves room for. */
export const roomFor = (seconds: number, slowest: number): number => slowest / seconds

/**
 * Mean of the larger of a fixed time and a load that varies: of a normal variable with this mean and deviation. Of `replicas` of
 * them the slowest counts.
 */
export const meanOfLarger = (fixed: number, mean: number, deviation: number, replicas = 1): number => {
  const raised = mean + deviation * Math.sqrt(2 * Math.log(replicas))
  if (deviation === 0) return Math.max(fixed, raised)
  const z = (fixed - raised) / deviation
  return fixed * cumulative(z) + raised * (1 - cumulative(z)) + (deviation * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI)
}

/** Of the normal distribution; Abramowitz and Stegun 26.2.17, to seven digits. */
const cumulative = (z: number): number => {
  const t = 1 / (1 + 0.2316419 * Math.abs(z))
  const tail = (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
  return z >= 0 ? 1 - tail : tail
}

export interface StepSettings {
  readonly globalBatch: number
  readonly microBatch: number
  readonly mix: SampleMix
  readonly recompute: Recompute
  readonly sequenceParallel: boolean
  readonly gpu: Gpu
  readonly gpusPerNode: number
  readonly efficiency: Efficiency
}

/** One stage, per microbatch, in seconds. */
export interface StageTime {
  readonly component: string
  readonly stage: number
  readonly compute: number
  readonly tensorParallel: number
  readonly expertParallel: number
  /** Handing its output to the next stage and taking the gradient back. */
  readonly transfer: number
  readonly total: number
}

/** The estimated time of an optimizer step, in seconds, and where it goes. */
export interface StepEstimate {
  readonly seconds: number
  readonly microBatches: number
  readonly stages: ReadonlyArray<StageTime>
  /** Share of the step in which the slowest stage waits for the pipeline to fill and drain. */
  readonly bubble: number
  readonly gradients: number
  readonly optimizer: number
  readonly tokensPerSecond: number
  /** Operations of a component over what its own ranks could do in that time. */
  readonly utilisation: ReadonlyArray<{ readonly component: string; readonly mfu: number; readonly busy: number }>
}

/** Bytes of everything trained on one stage, both directions of a ring. */
const ringShare = (ranks: number): number => (ranks - 1) / ranks

const dispatched = new WeakMap<ModelProfile, number>()

/** Elements that a token sends to experts, over all layers. */
const dispatchedWidth = (profile: ModelProfile): number => {
  const known = dispatched.get(profile)
  if (known !== undefined) return known
  const blocks = profile.description.modules.flatMap((m) => (m.kind === "language" ? m.blocks : []))
  const width = blocks.reduce((sum, { block, mtp }) => sum + (block.kind === "experts" && !mtp ? block.width * (block.perToken ?? 1) : 0), 0)
  dispatched.set(profile, width)
  return width
}

interface ComponentTimes {
  readonly stages: ReadonlyArray<StageTime>
  readonly gradients: number
  readonly optimizer: number
  readonly flops: number
  readonly deviation: number
}

const componentTimes = (profile: ModelProfile, { name, parallelism: p }: LayoutComponent, s: StepSettings, last: boolean): ComponentTimes => {
  const { gpu } = s
  const encoder = isEncoder(name)
  const samples = profile.form === "mimo" ? s.microBatch : s.microBatch * p.dp
  const local = localSamples(profile, s.microBatch, p.dp)
  // Work grows with the number of samples: that of one is asked for, and kept.
  const work = profile.stageWork(name, p, s.mix.mean).map((one) => ({ forward: one.forward * samples, backward: one.backward * samples }))
  const weights = profile.stageWeights(name, p)
  const { modules } = profile.description
  const language = modules.find((m) => m.kind === "language")
  const tower = modules.find((m) => m.component === name && (m.kind === "vision" || m.kind === "audio"))
  const sizes = encoder && (tower?.kind === "vision" || tower?.kind === "audio")
    ? { hidden: tower.sizes.hidden, layers: tower.sizes.layers, tokens: local * (tower.kind === "vision" ? s.mix.mean.patches : s.mix.mean.frames), cut: tower.blocks.length > 0 }
    : { hidden: language?.config.hidden_size ?? 0, layers: language?.config.num_layers ?? 0, tokens: local * s.mix.mean.tokens, cut: true }
  const efficiency = encoder ? s.efficiency.tower : s.efficiency.language
  const stageRanks = rankCount(p) / p.pp
  const tpBandwidth = p.tp <= gpu.nvlinkDomain ? gpu.nvlink : gpu.fabric
  const perLayerTp = p.tp === 1 || !sizes.cut ? 0 : (16 * ringShare(p.tp) * sizes.tokens * sizes.hidden) / tpBandwidth
  const expertBandwidth = p.ep * p.etp <= gpu.nvlinkDomain ? gpu.nvlink : gpu.fabric
  const spread = s.sequenceParallel ? p.tp : 1
  const allToAll = p.ep === 1 || encoder ? 0 : (8 * sizes.tokens * dispatchedWidth(profile) * ringShare(p.ep)) / spread / expertBandwidth
  const handedOn = encoder ? 2 * local * s.mix.mean.merged * (language?.config.hidden_size ?? 0) : (2 * sizes.tokens * sizes.hidden) / spread
  const crossesNodes = stageRanks >= s.gpusPerNode || encoder
  const stages = work.map(({ backward, forward }, stage): StageTime => {
    const compute = computeSeconds(forward * (s.recompute === "full" && !encoder ? 2 : 1) + backward, stageRanks, gpu.bf16, efficiency)
    const tensorParallel = (perLayerTp * sizes.layers) / p.pp
    const expertParallel = allToAll / p.pp
    const transfer = last && stage === p.pp - 1 ? 0 : (2 * handedOn) / (crossesNodes ? gpu.fabric : gpu.nvlink)
    return { component: name, stage, compute, tensorParallel, expertParallel, transfer, total: compute + tensorParallel + expertParallel + transfer }
  })
  const trained = weights.map((g) => g.denseTrained + g.expertsTrained)
  const most = Math.max(...trained)
  const dpBandwidth = stageRanks <= gpu.nvlinkDomain ? gpu.nvlink : gpu.fabric
  return {
    stages,
    // FP32 gradients scattered, BF16 weights gathered; neither is hidden behind computation.
    gradients: p.dp === 1 ? 0 : (6 * most * ringShare(p.dp)) / dpBandwidth,
    optimizer: (30 * most) / p.dp / gpu.memoryBandwidth,
    flops: work.reduce((sum, g) => sum + g.forward + g.backward, 0),
    deviation: encoder ? (s.mix.deviation / Math.sqrt(Math.max(1, local))) : 0
  }
}

/** Time of a step. UsageError where layers do not fit the stages. */
export const estimateStep = (profile: ModelProfile, layout: Layout, s: StepSettings): StepEstimate => {
  const dp = layout.components[0]!.parallelism.dp
  const microBatches = profile.form === "mimo" ? s.globalBatch / s.microBatch : s.globalBatch / (s.microBatch * dp)
  // Encoders run side by side, so that the path goes through the slowest; the language model comes last.
  const all = layout.components.map((component) => ({ component, times: componentTimes(profile, component, s, !isEncoder(component.name)) }))
  const encoders = all.filter(({ component }) => isEncoder(component.name))
  const language = all.filter(({ component }) => !isEncoder(component.name))
  const sumOf = ({ stages }: ComponentTimes): number => stages.reduce((sum, t) => sum + t.total, 0)
  const slowestEncoder = encoders.reduce<(typeof encoders)[number] | undefined>((most, one) => (most === undefined || sumOf(one.times) > sumOf(most.times) ? one : most), undefined)
  const languageStages = language.flatMap(({ times: t }) => t.stages)
  const path = [...(slowestEncoder?.times.stages ?? []), ...languageStages]
  const totals = path.map((t) => t.total)
  const fixed = Math.max(...languageStages.map((t) => t.total))
  const slowest = slowestEncoder === undefined ? fixed
    : Math.max(...slowestEncoder.times.stages.map((t) => meanOfLarger(fixed, t.total, t.total * slowestEncoder.times.deviation, slowestEncoder.component.parallelism.dp)))
  const pipeline = totals.reduce((sum, t) => sum + t, 0) + (microBatches - 1) * slowest
  const gradients = Math.max(...all.map(({ times: t }) => t.gradients))
  const optimizer = Math.max(...all.map(({ times: t }) => t.optimizer))
  const seconds = pipeline + gradients + optimizer
  return {
    seconds,
    microBatches,
    stages: all.flatMap(({ times: t }) => t.stages),
    bubble: 1 - (microBatches * slowest) / pipeline,
    gradients,
    optimizer,
    tokensPerSecond: (s.globalBatch * s.mix.length) / seconds,
    utilisation: all.map(({ component, times: t }) => ({
      component: component.name,
      mfu: (t.flops * microBatches) / (seconds * rankCount(component.parallelism) * s.gpu.bf16),
      busy: (microBatches * Math.max(...t.stages.map((stage) => stage.total))) / seconds
    }))
  }
}

/**
 * Efficiencies under which the estimate of a layout is what was measured: both multiplied by one factor. Returns the usual ones
 * where communication alone takes longer than the measured step.
 */
export const calibrated = (profile: ModelProfile, layout: Layout, s: StepSettings, measured: number): Efficiency => {
  const scaled = (factor: number): Efficiency => ({ language: s.efficiency.language * factor, tower: s.efficiency.tower * factor })
  let [low, high] = [0.01, 100]
  for (let i = 0; i < 60; i++) {
    const middle = Math.sqrt(low * high)
    if (estimateStep(profile, layout, { ...s, efficiency: scaled(middle) }).seconds > measured) low = middle
    else high = middle
  }
  const found = Math.sqrt(low * high)
  return found > 99 || found < 0.011 ? s.efficiency : scaled(found)
}
