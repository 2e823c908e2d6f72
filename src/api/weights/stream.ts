/** A model's weights under their Hugging Face names, in the order of one of the bridges, tensor by tensor or in buckets. */
import { Effect, Stream } from "effect"
import { prepareExport } from "../../convert/prepareExport.ts"
import { namedModel } from "../../convert/exportModel.ts"
import type { EngineLimits } from "../../engine/index.ts"
import { type ConversionError, type JobError, UsageError } from "../../errors.ts"
import { checking, planning } from "../../io/attempt.ts"
import type { Disk } from "../../io/Disk.ts"
import { exportArray } from "../../plan/ExportDraft.ts"
import { blockwiseParts } from "../../quantized/BlockQuantizer.ts"
import type { BlockSize } from "../../quantized/QuantizationConfig.ts"
import { openedWeights } from "../../space/openedWeights.ts"
import { kindOfPath } from "../../space/openSpace.ts"
import { bytesOfTensor, wholeTensor } from "../../space/TensorSpace.ts"
import { bucketStream, type StreamedOutput, type WeightBucket } from "../../weights/bucketStream.ts"
import { type BridgeType, bridgeTypes, CONVENTIONS } from "../../weights/conventions.ts"
import { singleExperts } from "../../weights/experts.ts"
import { freezeSet } from "../../plan/FreezeSet.ts"
import { type Packing, packed } from "../../weights/packing.ts"
import { type HfWeight, type HfWeightOptions, hfWeights, weightPieces } from "../../weights/pieces.ts"
import { quantizable, type QuantizeChoice, quantizationConfigOf } from "../../weights/quantize.ts"
import { type SelectableTensor, type SelectedTensor, selectTensors, type WeightSelection } from "../../weights/selection.ts"
import type { WeightConversionTask } from "../../weights/tasks.ts"
import { meter, type Watched } from "../progress.ts"
import { familiesOf, type TensorChoices, tensorChoices } from "../requests.ts"
import { type DescribedWeights, describeWeights, type WeightLayout } from "./model.ts"

/** What is streamed, in whose order, and how. */
export interface WeightStreamChoice extends WeightLayout, WeightSelection, TensorChoices {
  /** Whose order and packing. Default `megatron-bridge`. The bytes are the same. */
  readonly bridgeType?: BridgeType
  /** False: stacked experts one by one, as `….experts.0.gate_up_proj.weight` (`mbridge` only). Default: as the model has them. */
  readonly keepStackedExperts?: boolean
  /** FP8 codes and scales in place of matrices. Default: as stored. */
  readonly quantize?: QuantizeChoice
  /** Rows of the vocabulary, where the checkpoint has more than config.json says. */
  readonly vocabSize?: number
}

/** How large buckets are, and by which rule they end; by default as the bridge's consumers have them. */
export interface BucketChoice {
  readonly bucketBytes?: number
  readonly packing?: Packing
}

/** A stream, planned. Each call of `tensors` and `buckets` reads anew. */
export interface PreparedWeightStream {
  /** Everything that will come, in order, with its bytes. */
  readonly outputs: ReadonlyArray<StreamedOutput>
  readonly bytes: number
  /** What it is made by. */
  readonly tasks: ReadonlyArray<WeightConversionTask>
  /** What config.json says of quantised tensors; undefined: nothing is quantised on the way. */
  readonly quantizationConfig: Readonly<Record<string, unknown>> | undefined
  readonly notes: ReadonlyArray<string>
  readonly tensors: (options?: HfWeightOptions & Watched) => Stream.Stream<HfWeight, ConversionError, Disk>
  readonly buckets: (choice?: BucketChoice & EngineLimits & Watched) => Stream.Stream<WeightBucket, ConversionError, Disk>
}

interface Source {
  readonly model: DescribedWeights
  readonly tensors: ReadonlyArray<SelectableTensor>
  readonly notes: ReadonlyArray<string>
}

const fromMegatron = Effect.fnUntraced(function*(hfModel: string, path: string, request: WeightStreamChoice) {
  const { plan, report } = yield* prepareExport(familiesOf(request), hfModel, path, { ...tensorChoices(request), ...(request.vocabSize === undefined ? {} : { vocabSize: request.vocabSize }) })
  const model: DescribedWeights = yield* describeWeights(hfModel, request, report.form)
  const tensors = Array.from(plan.tensors.values(), (tensor): SelectableTensor => {
    const source = tensor.from.kind === "repeated" ? tensor.from.tensor.from : tensor.from
    return {
      name: tensor.name, dtype: tensor.dtype, shape: tensor.shape,
      parameters: source.kind === "model" ? source.origin.parameters.map(({ bound: { module, parameter } }) => module.keyPrefix + parameter.name) : [],
      array: () => exportArray(plan, tensor)
    }
  })
  return { model, tensors, notes: report.notes } satisfies Source as Source
})

const fromHf = Effect.fnUntraced(function*(hfModel: string, path: string, request: WeightStreamChoice) {
  const model: DescribedWeights = yield* describeWeights(hfModel, request)
  const { config, weights } = yield* namedModel(familiesOf(request), path)
  return yield* planning((): Source => {
    if (weights === undefined) throw new UsageError({ problem: "the directory has no weights to stream", hint: "Name a Megatron checkpoint, or a directory with weights." })
    const parameters = new Map<string, Array<string>>()
    for (const { task } of model.tasks) for (const name of task.mapping.hfParams) parameters.set(name, [...parameters.get(name) ?? [], task.globalParamName])
    const tensors = Array.from(openedWeights(weights, config).tensors.values(), (tensor): SelectableTensor => ({
      name: tensor.name, dtype: tensor.dtype, shape: tensor.shape,
      parameters: parameters.get(tensor.name) ?? [],
      array: () => ({ id: tensor.name, dtype: tensor.dtype, shape: tensor.shape, copies: () => wholeTensor(tensor) })
    }))
    return { model, tensors, notes: weights.warnings }
  })
})

const outputsOf = ({ bytes, dtype, name, shape }: SelectedTensor, blockSize: BlockSize | undefined): ReadonlyArray<StreamedOutput> => {
  if (blockSize === undefined) return [{ name, dtype, shape, bytes }]
  const { codes, scales } = blockwiseParts({ name, dtype, shape, blockSize })
  return [codes, scales].map((part) => ({ ...part, bytes: bytesOfTensor(part.dtype, part.shape) }))
}

const conventionOf = (bridgeType: BridgeType) => {
  if (!Object.hasOwn(CONVENTIONS, bridgeType)) throw new UsageError({ problem: `${String(bridgeType)} is no bridge that is known here`, hint: `bridgeType is ${bridgeTypes.join(" or ")}.` })
  return CONVENTIONS[bridgeType]
}

/**
 * Plan a stream of the weights at `path`: a Megatron checkpoint of the model `hfModel`, or a Hugging Face directory. Reads headers only.
 *
 * @throws UsageError for a selection that matches nothing, for what the bridge has no word for
 */
export const prepareWeightStream = (hfModel: string, path: string, request: WeightStreamChoice = {}): Effect.Effect<PreparedWeightStream, JobError, Disk> =>
  Effect.gen(function*() {
    const { bridgeType = "megatron-bridge", keepStackedExperts = true, quantize } = request
    const convention = yield* checking(() => conventionOf(bridgeType))
    if (!keepStackedExperts && !convention.singleExperts) {
      return yield* new UsageError({ problem: `${bridgeType} has no experts one by one where the model has them stacked`, hint: "bridgeType mbridge has." })
    }
    const { model, notes, tensors } = yield* (yield* kindOfPath(path)) === "megatron" ? fromMegatron(hfModel, path, request) : fromHf(hfModel, path, request)
    return yield* checking((): PreparedWeightStream => {
      const tasks = convention.order(model.tasks.map(({ task }) => task))
      const experts = new Set(tasks.filter(({ epRank }) => epRank !== undefined).map(({ globalParamName }) => globalParamName))
      const offered = keepStackedExperts ? tensors : tensors.flatMap((tensor) => singleExperts(tensor, (name) => experts.has(name)))
      const selected = selectTensors(offered, tasks, request)
      const blocks = quantizable(selected, quantize, { isLanguage: freezeSet(model.description, model.form, ["language"]), tasks: model.tasks, quantized: model.weights?.quantized })
      const outputs = selected.flatMap((tensor) => outputsOf(tensor, blocks.get(tensor.name)))
      const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0)
      const arrays = () => Iterator.from(selected).map((tensor) => tensor.array())
      const quantizing = quantize === undefined ? undefined : {
        path,
        blocksOf: ({ dtype, name, shape }: HfWeight) => {
          const blockSize = blocks.get(name)
          return blockSize && { name, dtype, shape, blockSize }
        }
      }
      const metered = (watched: Watched) => {
        const { add, total } = meter("reading", watched)
        total(bytes)
        return add
      }
      return {
        outputs, bytes, notes,
        tasks: [...new Set(selected.flatMap((tensor) => tensor.tasks))],
        quantizationConfig: quantize && quantizationConfigOf(selected.map(({ name }) => name), blocks),
        tensors: (options = {}) => {
          const add = metered(options)
          return hfWeights(arrays(), options, quantizing).pipe(Stream.tap((piece) => Effect.sync(() => add(piece.bytes.byteLength))))
        },
        buckets: ({ bucketBytes = convention.bucketBytes, packing = convention.packing, ...options } = {}) =>
          Stream.unwrap(Effect.map(checking(() => packed(outputs, bucketBytes, packing)), (planned) => {
            const add = metered(options)
            const pieces = weightPieces(arrays(), { ...options, lend: true }, quantizing)
            return bucketStream(planned, pieces).pipe(Stream.tap((bucket) => Effect.sync(() => add(bucket.bytes.byteLength))))
          }))
      }
    })
  })
