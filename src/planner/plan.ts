/**
 * Which layout to train with: every one that could be is held against the rules, those that stand are scored by the GPU-seconds that a
 * token costs on what is allocated, idle GPUs included.
 */
import type { Recompute } from "../cost/activations.ts"
import { fitsIn, fullestStage, isEncoder, layoutMemory, type MemorySettings, type OptimizerBytes, reserveOf, type StageMemory } from "../cost/memory.ts"
import type { ModelProfile } from "../cost/profile.ts"
import { UsageError } from "../errors.ts"
import type { Layout } from "../parallel/Layout.ts"
import { type Broken, LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import { brokenTrainingRule, type TrainingFacts } from "../parallel/TrainingRules.ts"
import { allBroken, brokenByLayout, firstBroken } from "./check.ts"
import { sideBySide, layoutsOf, leastMicroBatch, microBatchChoices } from "./candidates.ts"
import { estimateStep, type StepEstimate } from "./estimate.ts"
import type { Efficiency, Gpu } from "./gpus.ts"
import type { SampleMix } from "./samples.ts"

/** The GPUs that a run gets. */
export interface Cluster {
  readonly gpu: Gpu
  readonly nodes: number
  readonly gpusPerNode: number
  /** Whole nodes are allocated, so that idle GPUs cost as much as busy ones. */
  readonly exclusive: boolean
  readonly launcher: "srun" | "torchrun"
}

/** The cluster, the samples and the batch that a layout is planned for. */
export interface PlanRequest {
  readonly cluster: Cluster
  readonly mix: SampleMix
  readonly globalBatch: number
  /** Samples of a microbatch; absent: several are tried. */
  readonly microBatch?: number
  /** Absent: none, or all of it where nothing fits. */
  readonly recompute?: Recompute
  /** Absent: with and without are tried. */
  readonly sequenceParallel?: boolean
  readonly efficiency: Efficiency
  readonly optimizer?: OptimizerBytes
  /** Tokens of text that a sample needs beside its images. Default 1. */
  readonly text?: number
}

/** How a layout is run. */
export interface RunChoice {
  readonly microBatch: number
  readonly recompute: Recompute
  readonly sequenceParallel: boolean
}

export interface ScoredLayout extends RunChoice {
  readonly form: "mimo" | "standard"
  readonly layout: Layout
  readonly step: StepEstimate
  readonly memory: ReadonlyArray<StageMemory>
  /** The stage that fills most, and what share of a GPU's memory with the reserve. */
  readonly fullest: { readonly component: string; readonly stage: number; readonly bytes: number; readonly share: number }
  readonly allocated: number
  readonly idle: number
  /** What the score is: allocated GPU-seconds per token. */
  readonly gpuSecondsPerToken: number
}

export interface Judged {
  readonly layout: Layout
  readonly broken: ReadonlyArray<Broken>
  /** Absent where its sizes make no estimate possible. */
  readonly scored?: ScoredLayout
}

export interface Refused {
  readonly rule: number
  readonly trainer: string
  /** Layouts that broke this rule first. */
  readonly layouts: number
  /** One of them. */
  readonly example: string
  readonly problem: string
}

/** What one change to the best layout comes to. */
export interface LayoutChange {
  readonly change: string
  /** GPU-seconds per token over those of the best; absent where a rule refuses it. */
  readonly cost?: number
  readonly broken?: Broken
}

/** What a search found: the best layouts, what was refused and why. */
export interface LayoutPlan {
  readonly best: ReadonlyArray<ScoredLayout>
  /** The best of one model under one layout, by the same code: what heterogeneous layouts have to beat. */
  readonly standard?: ScoredLayout
  readonly refused: ReadonlyArray<Refused>
  readonly searched: number
  readonly changes: ReadonlyArray<LayoutChange>
}

const GIB = 2 ** 30
/** Layouts that are shown. */
const SHOWN = 5
/** A search looks at no more; ten times what a thousand GPUs have. */
const MOST_LAYOUTS = 400_000

const usableBytes = ({ gpu }: Cluster): number => gpu.usableGiB * GIB

const microBatchesOf = (profile: ModelProfile, layout: Layout, { globalBatch }: PlanRequest, microBatch: number): number =>
  profile.form === "mimo" ? globalBatch / microBatch : globalBatch / (microBatch * layout.components[0]!.parallelism.dp)

const memorySettings = (profile: ModelProfile, layout: Layout, request: PlanRequest, choice: RunChoice): MemorySettings => ({
  ...choice,
  microBatches: microBatchesOf(profile, layout, request, choice.microBatch),
  sample: request.mix.largest,
  ...(request.optimizer ? { optimizer: request.optimizer } : {})
})

/** `language tp=4 pp=2 dp=2 + images dp=1`, sizes of 1 left out. */
export const spell = ({ components }: Layout): string =>
  components.map(({ name, parallelism: p }) => {
    const own = (["tp", "pp", "dp", "cp", "ep", "etp"] as const).filter((key) => p[key] !== 1).map((key) => `${key}=${p[key]}`)
    return `${name} ${own.length === 0 ? "tp=1" : own.join(" ")}`
  }).join(" + ")

const factsOf = (profile: ModelProfile, layout: Layout, request: PlanRequest, choice: RunChoice): TrainingFacts => {
  const { cluster, globalBatch, mix, text = 1 } = request
  const usable = usableBytes(cluster)
  return {
    layout,
    form: profile.form,
    globalBatch,
    microBatch: choice.microBatch,
    sequenceLength: mix.length,
    sequenceParallel: choice.sequenceParallel,
    hasExperts: profile.hasExperts,
    ...(mix.images ? { images: { ...mix.images, text } } : {}),
    layers: profile.layers,
    extents: profile.extents,
    nodes: cluster.nodes,
    gpusPerNode: cluster.gpusPerNode,
    nvlinkDomain: cluster.gpu.nvlinkDomain,
    launcher: cluster.launcher,
    tooFull: () => {
      const { component, stage, total: bytes } = fullestStage(profile, layout, memorySettings(profile, layout, request, choice))
      if (fitsIn(bytes, usable)) return undefined
      const gib = (n: number): string => (n / GIB).toFixed(1)
      return `component ${component}, stage ${stage}: ${gib(bytes)} GiB a rank and ${gib(reserveOf(usable))} GiB of reserve, more than the ${gib(usable)} GiB of a GPU`
    }
  }
}

/** A layout, how it is run, and what that costs: as much as a search has to keep. */
type LayoutCandidate = RunChoice & Pick<ScoredLayout, "layout" | "step" | "allocated" | "gpuSecondsPerToken">

const candidateOf = (profile: ModelProfile, layout: Layout, request: PlanRequest, choice: RunChoice): LayoutCandidate => {
  const { cluster, globalBatch, mix } = request
  const step = estimateStep(profile, layout, { globalBatch, mix, gpu: cluster.gpu, gpusPerNode: cluster.gpusPerNode, efficiency: request.efficiency, ...choice })
  const allocated = cluster.exclusive ? Math.max(cluster.nodes, Math.ceil(layout.worldSize / cluster.gpusPerNode)) * cluster.gpusPerNode : layout.worldSize
  return { layout, ...choice, step, allocated, gpuSecondsPerToken: (allocated * step.seconds) / (globalBatch * mix.length) }
}

/** With the memory of every stage. */
const scored = (profile: ModelProfile, request: PlanRequest, { allocated, gpuSecondsPerToken, layout, step, ...choice }: LayoutCandidate): ScoredLayout => {
  const settings = memorySettings(profile, layout, request, choice)
  const { component, stage, total: bytes } = fullestStage(profile, layout, settings)
  const usable = usableBytes(request.cluster)
  return {
    form: profile.form,
    layout,
    ...choice,
    step,
    memory: layoutMemory(profile, layout, settings),
    fullest: { component, stage, bytes, share: (bytes + reserveOf(usable)) / usable },
    allocated,
    idle: allocated - layout.worldSize,
    gpuSecondsPerToken
  }
}

/** What a model is run with where nothing is said. */
export const usualChoice = (profile: ModelProfile, layout: Layout, request: PlanRequest): RunChoice => ({
  microBatch: request.microBatch ?? (profile.form === "mimo" ? leastMicroBatch(layout) : 1),
  recompute: request.recompute ?? "none",
  sequenceParallel: request.sequenceParallel ?? profile.form === "standard"
})

/** Check and score one layout: the user's own. */
export const judge = (profile: ModelProfile, layout: Layout, request: PlanRequest, given?: RunChoice): Judged => {
  const usual = given ?? usualChoice(profile, layout, request)
  const plain = allBroken(profile, factsOf(profile, layout, request, usual))
  // Too full: with everything made again it may fit.
  const full = { ...usual, recompute: "full" as const }
  const again = given === undefined && request.recompute === undefined && plain.length === 1 && plain[0]!.rule === OUT_OF_MEMORY && allBroken(profile, factsOf(profile, layout, request, full)).length === 0
  const [choice, broken] = again ? [full, []] : [usual, plain]
  if (broken.some(({ rule }) => NO_ESTIMATE.has(rule))) return { layout, broken }
  return { layout, broken, scored: scored(profile, request, candidateOf(profile, layout, request, choice)) }
}

const OUT_OF_MEMORY = 39
/** Batches, sequence parallelism, images, memory: another choice for the same layout may pass. */
const MENDED_BY_CHOICE: ReadonlySet<number> = new Set([27, 28, 31, 32, 34, OUT_OF_MEMORY])
/** Scores that differ by less are alike: the simpler choice, the smaller layout comes first. */
const ALIKE = 0.005
/** Wrong sizes, components that are none, layers that do not divide, batches without a whole number of microbatches. */
const NO_ESTIMATE: ReadonlySet<number> = new Set([1, 2, 3, 4, 10, 26, 27, 28])

interface Search {
  readonly found: ReadonlyArray<LayoutCandidate>
  readonly refused: ReadonlyMap<number, Refused>
  readonly searched: number
}

/** The best way to run a layout, or the rule that refuses every way. */
const bestChoice = (profile: ModelProfile, layout: Layout, request: PlanRequest): LayoutCandidate | Broken => {
  const ever = brokenByLayout(profile, layout, request.mix.length)
  if (ever !== undefined) return ever
  let best: LayoutCandidate | undefined
  let refusal: Broken | undefined
  const recomputes: ReadonlyArray<Recompute> = request.recompute === undefined ? ["none", "full"] : [request.recompute]
  const cutsLanguage = layout.components.some(({ name, parallelism: { tp } }) => !isEncoder(name) && tp > 1)
  const spreads = request.sequenceParallel !== undefined ? [request.sequenceParallel] : cutsLanguage ? [false, true] : [false]
  for (const microBatch of microBatchChoices(profile, layout, request)) {
    for (const recompute of recomputes) {
      for (const sequenceParallel of spreads) {
        const choice = { microBatch, recompute, sequenceParallel }
        const broken = brokenTrainingRule(factsOf(profile, layout, request, choice))
        if (broken === undefined) {
          const candidate = candidateOf(profile, layout, request, choice)
          if (best === undefined || candidate.gpuSecondsPerToken < best.gpuSecondsPerToken * (1 - ALIKE)) best = candidate
        } else {
          // Choices are tried from the plainest to the one that asks for least.
          refusal = broken
          if (!MENDED_BY_CHOICE.has(broken.rule)) return broken
        }
      }
    }
  }
  return best ?? refusal!
}

const search = (profile: ModelProfile, request: PlanRequest): Search => {
  const { gpusPerNode, nodes } = request.cluster
  const found: Array<LayoutCandidate> = []
  const refused = new Map<number, { rule: number; trainer: string; layouts: number; example: string; problem: string }>()
  let searched = 0
  const refuse = (layout: Layout, { problem, rule, trainer }: Broken): void => {
    const known = refused.get(rule)
    if (known) known.layouts++
    else refused.set(rule, { rule, trainer, layouts: 1, example: spell(layout), problem })
  }
  const ofLanguage = `component ${LANGUAGE_COMPONENT}`
  /** What the language model breaks by itself no encoder mends. */
  const stands = (smallest: Layout): boolean => {
    const result = bestChoice(profile, smallest, request)
    if ("step" in result || !result.problem.startsWith(ofLanguage)) return true
    searched++
    refuse(smallest, result)
    return false
  }
  for (const layout of layoutsOf(profile, nodes * gpusPerNode, request, stands)) {
    if (++searched > MOST_LAYOUTS) throw new UsageError({ problem: `there are more than ${MOST_LAYOUTS} layouts on ${nodes} nodes of ${gpusPerNode} GPUs`, hint: "--component fixes some of them" })
    const result = bestChoice(profile, layout, request)
    if ("step" in result) found.push(result)
    else refuse(layout, result)
  }
  return { found: found.sort(better), refused, searched }
}

const level = ({ gpuSecondsPerToken }: LayoutCandidate): number => Math.round(Math.log(gpuSecondsPerToken) / ALIKE)

const better = (a: LayoutCandidate, b: LayoutCandidate): number =>
  level(a) - level(b) || a.layout.worldSize - b.layout.worldSize || a.gpuSecondsPerToken - b.gpuSecondsPerToken

/** The sizes of everything but encoders: layouts with the same differ little. */
const languageOf = ({ layout }: LayoutCandidate): string => JSON.stringify(layout.components.filter(({ name }) => !isEncoder(name)))

/** The best of each layout of the language model. */
const bestByLanguage = (found: ReadonlyArray<LayoutCandidate>): ReadonlyArray<LayoutCandidate> => [...Map.groupBy(found, languageOf).values()].map(([best]) => best!)

const withSize = (layout: Layout, name: string, key: "tp" | "pp" | "dp" | "ep", value: number): Layout =>
  sideBySide(layout.components.map(({ name: own, parallelism }) => [own, own === name ? { ...parallelism, [key]: value } : parallelism]))

/** Every size of the best layout doubled and halved, and the other choices turned. */
const changesTo = (profile: ModelProfile, best: LayoutCandidate, request: PlanRequest): ReadonlyArray<LayoutChange> => {
  const choice: RunChoice = { microBatch: best.microBatch, recompute: best.recompute, sequenceParallel: best.sequenceParallel }
  const sizes = best.layout.components.flatMap(({ name, parallelism }) =>
    (["tp", "pp", "dp", "ep"] as const).flatMap((key) => [parallelism[key] * 2, parallelism[key] / 2].filter((n) => n >= 1 && Number.isInteger(n)).map((n) => ({
      change: `${name} ${key}=${n}`, layout: withSize(best.layout, name, key, n), choice
    })))).filter(({ change }) => !/ ep=/.test(change) || (profile.hasExperts && change.startsWith(best.layout.components[0]!.name)))
  const others = [
    ...[best.microBatch * 2, best.microBatch / 2].filter((n) => n >= 1 && Number.isInteger(n)).map((microBatch) => ({ change: `micro batch ${microBatch}`, choice: { ...choice, microBatch } })),
    ...(["none", "full"] as const).filter((r) => r !== best.recompute).map((recompute) => ({ change: recompute === "full" ? "recompute everything" : "recompute nothing", choice: { ...choice, recompute } })),
    { change: best.sequenceParallel ? "without sequence parallelism" : "with sequence parallelism", choice: { ...choice, sequenceParallel: !best.sequenceParallel } }
  ].map((one) => ({ ...one, layout: best.layout }))
  return [...sizes, ...others].map(({ change, choice: given, layout }): LayoutChange => {
    const whole = profile.form === "mimo" ? leastMicroBatch(layout, given.microBatch) : given.microBatch
    const own = { ...given, microBatch: whole }
    const broken = firstBroken(profile, factsOf(profile, layout, request, own))
    return broken ? { change, broken } : { change, cost: candidateOf(profile, layout, request, own).gpuSecondsPerToken / best.gpuSecondsPerToken - 1 }
  })
}

/**
 * The best layouts of a model, and what was refused and why.
 *
 * @param standard the same model under one layout, to compare with
 */
export const planLayouts = (profile: ModelProfile, request: PlanRequest, standard?: ModelProfile): LayoutPlan => {
  const { found, refused, searched } = search(profile, request)
  const [best] = found
  const baseline = standard === undefined ? undefined : search(standard, request).found[0]
  return {
    best: bestByLanguage(found).slice(0, SHOWN).map((one) => scored(profile, request, one)),
    ...(standard !== undefined && baseline !== undefined ? { standard: scored(standard, request, baseline) } : {}),
    refused: [...refused.values()].sort((a, b) => a.rule - b.rule),
    searched,
    changes: best === undefined ? [] : changesTo(profile, best, request)
  }
}
