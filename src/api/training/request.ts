/**
 * What is asked of training: a model, samples, GPUs, a layout. Only config.json is read (and headers, where there are weights); no GPU was
 * asked, so that all times are estimates.
 */
import { Effect } from "effect"
import { recipeOf } from "../../../routes/recipes/index.ts"
import type { ModelDescription } from "../../bridge/Family.ts"
import type { Recompute } from "../../cost/activations.ts"
import { predictedLayers } from "../../cost/flops.ts"
import { frozenParts } from "../../cost/freezing.ts"
import { type ModelProfile, modelProfile } from "../../cost/profile.ts"
import { decodeJson, decodeWith } from "../../document/decode.ts"
import { type ConversionError, UsageError } from "../../errors.ts"
import { converting } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import { readSmall } from "../../store/readSmall.ts"
import type { Form } from "../../mimo/routing.ts"
import { formOf } from "../../plan/describe.ts"
import { gpuFileSchema } from "../../planner/gpuFile.ts"
import { type Efficiency, type Gpu, GPUS, usualEfficiency } from "../../planner/gpus.ts"
import type { PlanRequest } from "../../planner/plan.ts"
import { type ImageRule, type ImageShare, parseImages, type SampleMix, sampleMix } from "../../planner/samples.ts"
import { headersOf, noHeaders, openHfModel } from "../../space/HfSource.ts"
import { TRAINING_DEFAULTS } from "./defaults.ts"
import { arrange, type Arrangement, familiesOf, type MakeLayout, type WithFamilies } from "../requests.ts"

export type { Recompute } from "../../cost/activations.ts"
export { knownGpus } from "./defaults.ts"

/** The samples that a model is trained on. */
export interface TrainingSampleRequest extends WithFamilies {
  /** Tokens of a sequence, its images among them. Default 4096. */
  readonly seqLength?: number
  /** Images of a sample: `N*HEIGHTxWIDTH`, or `none`, with a share in front where samples differ (`0.3:none`). Default: none. */
  readonly images?: ReadonlyArray<string>
  /** Parts that do not train: `language`, a component, `NAME.projector`, `router`. Default: none. */
  readonly freeze?: ReadonlyArray<string>
}

/** On what a model is trained, and how. */
export interface TrainingRequest extends TrainingSampleRequest, Arrangement {
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
export const readModel = (hfModel: string, request: WithFamilies = {}): Effect.Effect<TrainedModel, ConversionError, Disk> =>
  Effect.gen(function*() {
    const { config, weights } = yield* openHfModel(hfModel, familiesOf(request))
    return yield* converting((): TrainedModel => {
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
export const mixOf = (model: TrainedModel, { images = [], seqLength }: TrainingSampleRequest): SampleMix => {
  const rule = imageRule(model)
  const shares: ReadonlyArray<ImageShare> = images.map(parseImages)
  if (shares.length > 0 && rule === undefined) throw new UsageError({ problem: "this model has no vision tower, so its samples have no images", hint: "Leave --images out." })
  return sampleMix(whole(seqLength, "the sequence length", TRAINING_DEFAULTS.seqLength, MOST_TOKENS), shares, rule)
}

/** What a MegatronMIMO run of the model does not do. */
export const mimoNotes = (form: Form, { description, trainable }: TrainedModel): ReadonlyArray<string> => form !== "mimo" ? [] : [
  ...(trainable ? [] : ["no released trainer builds the MegatronMIMO form of this model yet; --standard is what trains it today"]),
  ...(predictedLayers(description) > 0 ? ["multi-token prediction is not built by the trainer of MegatronMIMO models, and not counted"] : [])
]

/** Samples without images cost a tower nothing. */
export const imageNotes = (model: TrainedModel, { images = [] }: TrainingSampleRequest): ReadonlyArray<string> =>
  imageRule(model) !== undefined && images.length === 0 ? ["samples are taken to have no images, so that the tower has no work: --images says which they have"] : []

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

const gpuOf = (request: TrainingRequest): Effect.Effect<readonly [string, Gpu], ConversionError, Disk> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const { gpu: name = TRAINING_DEFAULTS.gpu, gpuFile } = request
    return yield* converting(async () => {
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
export const prepareTraining = (hfModel: string, request: TrainingRequest): Effect.Effect<PreparedTraining, ConversionError, Disk> =>
  Effect.gen(function*() {
    const model = yield* readModel(hfModel, request)
    const [gpu, facts] = yield* gpuOf(request)
    return yield* converting((): PreparedTraining => {
      const { form: arranged, layout } = arrange(request)
      const form = formOf(arranged, model.description)
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

/** The schema of a GPU file. */
export const gpuFile = gpuFileSchema
