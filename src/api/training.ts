/**
 * What training a model takes: floating-point operations, memory, a layout. Pure arithmetic over config.json (and headers, where there
 * are weights); nothing of the data is read, and no GPU was asked: times are estimates.
 */
import { Effect } from "effect"
import { z } from "zod"
import { recipeOf } from "../../routes/recipes/index.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import type { Recompute } from "../cost/activations.ts"
import { compareFlops, type ComparedFlops } from "../cost/compareFlops.ts"
import { type Flops, modelFlops, modelWork, predictedLayers } from "../cost/flops.ts"
import { frozenParts } from "../cost/freezing.ts"
import { bridgeMemory, megatronLmMemory } from "../cost/loggedMemory.ts"
import { fitsIn, layoutMemory, reserveOf, type StageMemory } from "../cost/memory.ts"
import { type ModelProfile, modelProfile } from "../cost/profile.ts"
import { parameterCount } from "../cost/weights.ts"
import { decodeJson, decodeWith } from "../document/decode.ts"
import { type BridgeError, UsageError } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { readSmall } from "../store/readSmall.ts"
import type { Form } from "../mimo/routing.ts"
import { describeLayout, type Layout, type LayoutRow } from "../parallel/Layout.ts"
import { calibrated } from "../planner/estimate.ts"
import { type Efficiency, type Gpu, gpuFileSchema, GPUS, usualEfficiency } from "../planner/gpus.ts"
import { type LayoutReport, shown, verdictNote } from "../planner/LayoutReport.ts"
import { judge, planLayouts, type PlanRequest, type ScoredLayout, usualChoice } from "../planner/plan.ts"
import { type ImageRule, type ImageShare, parseImages, type SampleMix, sampleMix } from "../planner/samples.ts"
import { headersOf, noHeaders, openHfModel } from "../space/HfSource.ts"
import { renderLayoutPage } from "../report/layoutPage.ts"
import { replaceFile } from "./reportFiles.ts"
import { type Arrangement, arrange, familiesOf, type MakeLayout, type WithFamilies } from "./requests.ts"

export type { Recompute } from "../cost/activations.ts"
export type { Broken } from "../parallel/LayoutRules.ts"
export type { LayoutReport, LayoutScore } from "../planner/LayoutReport.ts"
export type { TimelineEvent } from "../planner/timeline.ts"

/** Names of the GPUs that are known. */
export const knownGpus: ReadonlyArray<string> = Object.keys(GPUS)

export const recomputes = ["none", "selective", "full"] as const satisfies ReadonlyArray<Recompute>
export const launchers = ["srun", "torchrun"] as const

/** What holds where nothing is said. */
export const TRAINING_DEFAULTS = { seqLength: 4096, globalBatch: 32, gpu: "h100", nodes: 1, gpusPerNode: 8 } as const

/** The samples that a model is trained on. */
export interface SampleRequest extends WithFamilies {
  /** Tokens of a sequence, its images among them. Default 4096. */
  readonly seqLength?: number
  /** Images of a sample: `N*HEIGHTxWIDTH`, or `none`, with a share in front where samples differ (`0.3:none`). Default: none. */
  readonly images?: ReadonlyArray<string>
  /** Parts that do not train: `language`, a component, `NAME.projector`, `router`. Default: none. */
  readonly freeze?: ReadonlyArray<string>
}

/** On what a model is trained, and how. */
export interface TrainingRequest extends SampleRequest, Arrangement {
  /** A name of {@link knownGpus}, or of `gpuFile`. Default h100. */
  readonly gpu?: string
  /** JSON file with further GPUs, or others by the same names. */
  readonly gpuFile?: string
  readonly nodes?: number
  readonly gpusPerNode?: number
  /** GPUs are allocated one by one, so that idle ones cost nothing. Default: whole nodes. */
  readonly sharedNodes?: boolean
  readonly launcher?: "srun" | "torchrun"
  /** Samples of an optimizer step. Default 32. */
  readonly globalBatch?: number
  /** Samples of a microbatch; under MegatronMIMO over all data-parallel ranks. Default: several are tried. */
  readonly microBatch?: number
  /** Default: none; all of it where nothing else fits. */
  readonly recompute?: Recompute
  /** Default: with and without are tried. */
  readonly sequenceParallel?: boolean
  /** Share of the GPU's peak that the language model reaches, 0 to 1. Default: by experience with models of its kind. */
  readonly efficiency?: number
  /** Measured seconds of a step under the given components: efficiencies are made to agree. */
  readonly measuredStep?: number
}

/** A model, as far as these calculations ask. */
export interface TrainedModel {
  readonly architecture: string
  readonly family: string
  readonly description: ModelDescription
  /** Whether a released trainer builds its MegatronMIMO form. */
  readonly trainable: boolean
}

/** Read config.json of `hfModel`, and the headers of its weights where there are any. */
export const readModel = (hfModel: string, request: WithFamilies = {}): Effect.Effect<TrainedModel, BridgeError, Disk> =>
  Effect.gen(function*() {
    const { config, weights } = yield* openHfModel(hfModel)
    return yield* attempt((): TrainedModel => {
      const family = familiesOf(request).find(config.json)
      const description = family.describe(decodeWith(family.schema, config.path, config.json, config.bytes), weights === undefined ? noHeaders : headersOf(weights))
      return { architecture: config.architecture, family: family.name, description, trainable: description.provider.mimo === true }
    })
  })

const whole = (value: number | undefined, name: string, otherwise: number, most: number): number => {
  const n = value ?? otherwise
  if (Number.isInteger(n) && n >= 1 && n <= most) return n
  throw new UsageError({ problem: `${name} must be a whole number from 1 to ${most}, not ${n}` })
}

/** The longest sequence and the largest batch that are taken for meant. */
const MOST_TOKENS = 2 ** 27
const MOST_SAMPLES = 2 ** 24

/** How the model's processor makes patches; undefined without a vision tower. */
export const imageRule = ({ architecture, description }: TrainedModel): ImageRule | undefined => {
  const vision = description.modules.find((m) => m.kind === "vision")
  if (vision?.kind !== "vision") return undefined
  const { pixels } = recipeOf(architecture, true)
  return { patch: vision.sizes.patch.height, merge: vision.sizes.merge, ...(pixels ? { leastPixels: pixels.least, mostPixels: pixels.most } : {}) }
}

/** The samples of a request. @throws UsageError for images of a model without a tower */
export const mixOf = (model: TrainedModel, { images = [], seqLength }: SampleRequest): SampleMix => {
  const rule = imageRule(model)
  const shares: ReadonlyArray<ImageShare> = images.map(parseImages)
  if (shares.length > 0 && rule === undefined) throw new UsageError({ problem: "this model has no vision tower, so its samples have no images", hint: "Leave --images out." })
  return sampleMix(whole(seqLength, "the sequence length", TRAINING_DEFAULTS.seqLength, MOST_TOKENS), shares, rule)
}

const formOf = ({ components }: ModelDescription, arranged: Form | "auto"): Form => (arranged !== "auto" ? arranged : components.length > 0 ? "mimo" : "standard")

/** Floating-point operations of one sequence. */
export interface FlopsReport {
  readonly architecture: string
  readonly family: string
  readonly form: Form
  /** Tokens of the sequence; visual tokens among them. */
  readonly seqLength: number
  readonly visualTokens: number
  /** Of all modules that are built. */
  readonly parameters: number
  /** Multiplications and additions, counted apart. */
  readonly forward: number
  readonly backward: number
  readonly perToken: number
  readonly components: Flops["components"]
  readonly rows: Flops["rows"]
  /** What the trainer counts, kind by kind. */
  readonly trainer?: ComparedFlops
  readonly notes: ReadonlyArray<string>
}

const mimoNotes = (form: Form, { description, trainable }: TrainedModel): ReadonlyArray<string> => form !== "mimo" ? [] : [
  ...(trainable ? [] : ["no released trainer builds the MegatronMIMO form of this model yet; --standard is what trains it today"]),
  ...(predictedLayers(description) > 0 ? ["multi-token prediction is not built by the trainer of MegatronMIMO models, and not counted"] : [])
]

/** Samples without images cost a tower nothing. */
const imageNotes = (model: TrainedModel, { images = [] }: SampleRequest): ReadonlyArray<string> =>
  imageRule(model) !== undefined && images.length === 0 ? ["samples are taken to have no images, so that the tower has no work: --images says which they have"] : []

/**
 * Operations of one sequence with its images, by component and kind of module.
 *
 * @param request `reference`: also what the trainer logs, and why the two differ
 */
export const countFlops = (hfModel: string, request: SampleRequest & Arrangement & { readonly reference?: boolean } = {}): Effect.Effect<FlopsReport, BridgeError, Disk> =>
  Effect.flatMap(readModel(hfModel, request), (model) => attempt((): FlopsReport => {
    const { architecture, description, family } = model
    const mix = mixOf(model, request)
    const form = formOf(description, arrange(request).form)
    const frozen = frozenParts(description, request.freeze ?? [])
    const profile = modelProfile(description, form, frozen)
    const options = { form, frozen, weights: profile.weights }
    const flops = modelFlops(description, mix.mean, options)
    const trainer = request.reference ? compareFlops(description, modelWork(description, mix.mean, options), mix.mean, { form, tp: request.tp ?? 1 }) : undefined
    return {
      architecture,
      family,
      form,
      seqLength: mix.length,
      visualTokens: Math.round(mix.mean.merged),
      parameters: parameterCount(profile.weights),
      forward: flops.forward,
      backward: flops.backward,
      perToken: (flops.forward + flops.backward) / mix.length,
      components: flops.components,
      rows: flops.rows,
      ...(trainer ? { trainer } : {}),
      notes: [
        ...mimoNotes(form, model),
        ...imageNotes(model, request),
        ...(trainer && form === "mimo" ? ["of a MegatronMIMO run the trainer logs no FLOPs; what it would log of the same model is shown"] : []),
        ...(trainer && trainer.frozen > 0 ? ["the trainer counts frozen parts as if they trained"] : [])
      ]
    }
  }))

/** A model with everything that its request says. */
export interface PreparedTraining {
  readonly model: TrainedModel
  readonly form: Form
  readonly profile: ModelProfile
  readonly plan: PlanRequest
  readonly gpu: string
  readonly layout: MakeLayout
  /** The user gave a layout of his own. */
  readonly given: boolean
}

/** A file of a few GPUs. */
const LARGEST_GPU_FILE = 1 << 20

const gpuOf = (request: TrainingRequest): Effect.Effect<readonly [string, Gpu], BridgeError, Disk> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const { gpu: name = TRAINING_DEFAULTS.gpu, gpuFile } = request
    return yield* attempt(async () => {
      const own = gpuFile === undefined ? {} : decodeJson(gpuFileSchema, gpuFile, await readSmall(disk, gpuFile, gpuFile, LARGEST_GPU_FILE))
      const all: Readonly<Record<string, Gpu>> = { ...GPUS, ...own }
      const found = Object.hasOwn(all, name) ? all[name] : undefined
      if (found === undefined) throw new UsageError({ problem: `there is no GPU ${name}`, hint: `known are ${Object.keys(all).join(", ")}; --gpu-file FILE adds others` })
      return [name, found] as const
    })
  })

const efficiencyOf = ({ description }: TrainedModel, share: number | undefined): Efficiency => {
  const language = description.modules.find((m) => m.kind === "language")
  const usual = usualEfficiency({ experts: description.modules.some((m) => m.blocks.some(({ block }) => block.kind === "experts")), hidden: language?.kind === "language" ? language.config.hidden_size : 0 })
  if (share === undefined) return usual
  if (!(share > 0 && share <= 1)) throw new UsageError({ problem: `an efficiency is more than 0 and at most 1, not ${share}` })
  return { language: share, tower: (usual.tower / usual.language) * share }
}

/** Read the model and resolve the request. */
export const prepareTraining = (hfModel: string, request: TrainingRequest): Effect.Effect<PreparedTraining, BridgeError, Disk> =>
  Effect.gen(function*() {
    const model = yield* readModel(hfModel, request)
    const [gpu, facts] = yield* gpuOf(request)
    return yield* attempt((): PreparedTraining => {
      const { form: arranged, layout } = arrange(request)
      const form = formOf(model.description, arranged)
      if (form === "mimo" && model.description.components.length === 0) throw new UsageError({ problem: "this model has a single component", hint: "Leave --component out: it trains under one layout." })
      const plan: PlanRequest = {
        cluster: {
          gpu: facts,
          nodes: whole(request.nodes, "the number of nodes", TRAINING_DEFAULTS.nodes, 65_536),
          gpusPerNode: whole(request.gpusPerNode, "the number of GPUs of a node", TRAINING_DEFAULTS.gpusPerNode, 1024),
          exclusive: request.sharedNodes !== true,
          launcher: request.launcher ?? "srun"
        },
        mix: mixOf(model, request),
        globalBatch: whole(request.globalBatch, "the global batch", TRAINING_DEFAULTS.globalBatch, MOST_SAMPLES),
        ...(request.microBatch === undefined ? {} : { microBatch: whole(request.microBatch, "the micro batch", 1, MOST_SAMPLES) }),
        ...(request.recompute === undefined ? {} : { recompute: request.recompute }),
        ...(request.sequenceParallel === undefined ? {} : { sequenceParallel: request.sequenceParallel }),
        efficiency: efficiencyOf(model, request.efficiency)
      }
      const { ep, etp, pp, tp } = request
      const given = (request.components?.length ?? 0) > 0 || [tp, pp, ep, etp].some((size) => size !== undefined)
      return { model, form, profile: modelProfile(model.description, form, frozenParts(model.description, request.freeze ?? [])), plan, gpu, layout, given }
    })
  })

/** Memory of one stage of one component, in bytes; all its ranks hold equally much. */
export type MemoryRow = StageMemory

/** Memory of every rank of a layout. */
export interface MemoryReport {
  readonly architecture: string
  readonly family: string
  readonly form: Form
  readonly gpu: string
  /** Bytes that a process can allocate, and how many of them are left alone. */
  readonly usable: number
  readonly reserve: number
  readonly layout: ReadonlyArray<LayoutRow>
  readonly microBatch: number
  readonly microBatches: number
  readonly recompute: Recompute
  readonly sequenceParallel: boolean
  readonly parameters: number
  readonly stages: ReadonlyArray<MemoryRow>
  readonly fits: boolean
  /** What the two trainers print of the same model and layout, in bytes; of standard layouts alone. */
  readonly trainers?: { readonly megatronLm: { readonly states: number; readonly activations: number }; readonly bridge: { readonly states: number; readonly activations: number } }
  readonly notes: ReadonlyArray<string>
}

/** Memory of every rank under the layout of `request`: weights, gradients, optimizer, activations in flight, logits. */
export const countMemory = (hfModel: string, request: TrainingRequest & { readonly reference?: boolean } = {}): Effect.Effect<MemoryReport, BridgeError, Disk> =>
  Effect.flatMap(prepareTraining(hfModel, request), ({ form, gpu, layout: make, model, plan, profile }) => attempt((): MemoryReport => {
    const layout = make(profile.components)
    const choice = usualChoice(profile, layout, plan)
    const dp = layout.components[0]!.parallelism.dp
    const microBatches = plan.globalBatch / choice.microBatch / (form === "standard" ? dp : 1)
    if (!Number.isInteger(microBatches)) throw new UsageError({ problem: `the global batch ${plan.globalBatch} has no whole number of microbatches of ${choice.microBatch}${form === "standard" ? ` on ${dp} data-parallel ranks` : ""}` })
    const stages = layoutMemory(profile, layout, { ...choice, microBatches, sample: plan.mix.largest })
    const usable = plan.cluster.gpu.usableGiB * 2 ** 30
    const trainers = request.reference && form === "standard" ? printed(profile, layout, choice.microBatch, microBatches, plan) : undefined
    return {
      architecture: model.architecture,
      family: model.family,
      form,
      gpu,
      usable,
      reserve: reserveOf(usable),
      layout: describeLayout(layout),
      microBatch: choice.microBatch,
      microBatches,
      recompute: choice.recompute,
      sequenceParallel: choice.sequenceParallel,
      parameters: parameterCount(profile.weights),
      stages,
      fits: stages.every(({ total }) => fitsIn(total, usable)),
      ...(trainers ? { trainers } : {}),
      notes: [...mimoNotes(form, model), ...imageNotes(model, request), ...(request.reference && form === "mimo" ? ["of a MegatronMIMO model the trainers print no memory"] : []), ...ESTIMATORS(trainers !== undefined)]
    }
  }))

/** What is wrong with the trainers' numbers. */
const ESTIMATORS = (shown: boolean): ReadonlyArray<string> => shown ? [
  "both trainers count latent, linear and gated attention as grouped queries (Megatron-LM knows latent attention), leave out towers, and the logits where there is a pipeline",
  "their activations are those of the first stage under sequence parallelism and selective recomputation; Megatron-LM ignores context parallelism"
] : []

const printed = (profile: ModelProfile, layout: Layout, microBatch: number, microBatches: number, { mix }: PlanRequest): NonNullable<MemoryReport["trainers"]> => {
  const { cp, dp, ep, etp, pp, tp } = layout.components[0]!.parallelism
  const shape = { tp, pp, dp, cp, ep, etp, microBatch, microBatches, sequenceLength: mix.length, distributedOptimizer: true }
  const { fields } = profile.description.provider
  const [lm, bridge] = [megatronLmMemory(fields, shape), bridgeMemory(fields, shape)]
  return { megatronLm: { states: lm.states, activations: lm.activations }, bridge: { states: bridge.states, activations: bridge.activations } }
}

/** Choose a layout: every one that fits the cluster, checked by the trainer's rules and scored; or check and score a given one. */
export const planLayout = (hfModel: string, request: TrainingRequest = {}): Effect.Effect<LayoutReport, BridgeError, Disk> =>
  Effect.flatMap(prepareTraining(hfModel, request), (prepared) => attempt(() => planned(prepared, request).report))

/** A report with the layouts themselves. */
export interface Planned {
  readonly report: LayoutReport
  readonly chosen: ScoredLayout | undefined
}

/** Search, or judge the given layout. */
export const planned = ({ form, given, gpu, layout: make, model, plan, profile }: PreparedTraining, request: TrainingRequest): Planned => {
  const { gpusPerNode } = plan.cluster
  const own = given ? make(profile.components, { judged: true }) : undefined
  const { measuredStep } = request
  const efficiency = own === undefined || measuredStep === undefined ? plan.efficiency : calibratedBy(profile, own, plan, measuredStep)
  if (own === undefined && measuredStep !== undefined) throw new UsageError({ problem: "a measured step belongs to a layout", hint: "--component (or --tp, --pp, …) gives the layout that was measured." })
  const asked = { ...plan, efficiency }
  const judged = own === undefined ? undefined : judge(profile, own, asked)
  const standard = form === "mimo" ? modelProfile(model.description, "standard", profile.frozen) : undefined
  const { best, changes, refused, searched, standard: baseline } = planLayouts(profile, asked, standard)
  const usable = plan.cluster.gpu.usableGiB * 2 ** 30
  const report: LayoutReport = {
    architecture: model.architecture,
    family: model.family,
    gpu,
    nodes: plan.cluster.nodes,
    gpusPerNode,
    exclusive: plan.cluster.exclusive,
    globalBatch: plan.globalBatch,
    seqLength: plan.mix.length,
    usable,
    best: best.map((one) => shown(one, gpusPerNode)),
    ...(baseline ? { standard: shown(baseline, gpusPerNode) } : {}),
    ...(judged ? { given: { broken: judged.broken, ...(judged.scored ? { score: shown(judged.scored, gpusPerNode) } : {}) } } : {}),
    refused,
    searched,
    changes,
    notes: [
      ...mimoNotes(form, model),
      ...imageNotes(model, request),
      ...(baseline && predictedLayers(model.description) > 0 ? ["the standard layout also trains multi-token prediction, at its own cost"] : []),
      ...verdictNote(judged === undefined ? best[0] : judged.broken.length === 0 ? judged.scored : undefined, baseline),
      ...(best.length === 0 ? ["no layout of components fits these GPUs: the refused ones say why"] : []),
      measuredStep === undefined
        ? "times are estimates from first principles; the ratios between layouts outlive a wrong efficiency, the seconds do not: --measured-step calibrates them"
        : `efficiencies agree with the measured step: language ${efficiency.language.toFixed(3)}, towers ${efficiency.tower.toFixed(3)} of the peak`
    ]
  }
  return { report, chosen: judged === undefined ? best[0] : judged.broken.length === 0 ? judged.scored : undefined }
}

const calibratedBy = (profile: ModelProfile, layout: Layout, plan: PlanRequest, measured: number): Efficiency => {
  if (!(measured > 0 && measured < 1e6)) throw new UsageError({ problem: `a measured step takes more than 0 seconds, not ${measured}` })
  const choice = usualChoice(profile, layout, plan)
  return calibrated(profile, layout, { ...plan, ...choice, gpu: plan.cluster.gpu, gpusPerNode: plan.cluster.gpusPerNode }, measured)
}

/** Write pages about a layout; existing ones are replaced. */
export const writeLayoutPages = (pages: ReadonlyArray<string>, report: LayoutReport): Effect.Effect<void, BridgeError, Disk> =>
  pages.length === 0 ? Effect.void : Effect.flatMap(Disk, (disk) => attempt(async () => {
    const html = Buffer.from(renderLayoutPage(report))
    for (const page of pages) await replaceFile(disk, page, html)
  }))

/** Values of `--component` of the best layout, for an import. UsageError where none fits. */
export const bestComponents = (hfModel: string, request: TrainingRequest): Effect.Effect<ReadonlyArray<string>, BridgeError, Disk> =>
  Effect.flatMap(planLayout(hfModel, request), ({ best, gpusPerNode, nodes, refused }) => attempt(() => {
    const [first] = best
    if (first === undefined || first.form !== "mimo") {
      throw new UsageError({
        problem: first === undefined ? `no layout of components fits ${nodes} nodes of ${gpusPerNode} GPUs` : "this model has a single component",
        hint: first === undefined ? refused.map((r) => `rule ${r.rule}: ${r.problem}`).at(-1) ?? "more nodes" : "--tp, --pp, --ep give its layout"
      })
    }
    return first.flags.filter((flag) => flag !== "--component")
  }))

/** The schema of a GPU file. */
export const gpuFile: z.ZodType<Readonly<Record<string, Gpu>>> = gpuFileSchema
