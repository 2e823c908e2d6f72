/** The weights of one rank under their Megatron names: exactly what it holds, read by ranges, in pieces of bounded size. */
import { Effect, Stream } from "effect"
import { ChunkSelection } from "../../checkpoint/ChunkSelection.ts"
import { readChunks, type StoredParameter } from "../../checkpoint/StoredArrays.ts"
import { prepareExport } from "../../convert/prepareExport.ts"
import { type EngineLimits, stream } from "../../engine/index.ts"
import type { JobError } from "../../errors.ts"
import { checking, converting, planning } from "../../io/attempt.ts"
import type { Disk } from "../../io/Disk.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { openCheckpoint } from "../../space/Checkpoint.ts"
import { kindOfPath } from "../../space/openSpace.ts"
import { bytesOfTensor } from "../../space/TensorSpace.ts"
import type { Shape } from "../../tensor/Copy.ts"
import type { DType } from "../../tensor/DType.ts"
import { freezeSet } from "../../plan/FreezeSet.ts"
import { fromHf, fromStored, rankTensors, type HeldTensor } from "../../weights/rankWeights.ts"
import { isOnRank, placedTasks, type WeightConversionTask } from "../../weights/tasks.ts"
import { ownsRank } from "../../parallel/RankGrid.ts"
import { prepareImport } from "../conversions.ts"
import { meter, type Watched } from "../progress.ts"
import { familiesOf, type LoadRouteChoice, tensorChoices, type TensorChoices } from "../requests.ts"
import { describeWeights, type WeightLayout } from "./model.ts"

/** The layout that the rank belongs to, and what happens to tensors. */
export interface RankWeightChoice extends WeightLayout, TensorChoices, LoadRouteChoice, EngineLimits, Watched {}

/** A piece of what a rank holds of one parameter. */
export interface MegatronWeight extends Pick<WeightConversionTask, "paramName" | "globalParamName" | "component" | "vpStage"> {
  readonly dtype: DType
  /** Of the rank's own tensor. */
  readonly shape: Shape
  /** Where in the tensor's bytes `bytes` begins. */
  readonly offset: number
  /** Little-endian, C order; the receiver's own. */
  readonly bytes: Uint8Array
  /** The tensor ends with it. */
  readonly last: boolean
}

const ofHf = Effect.fnUntraced(function*(path: string, rank: number, request: RankWeightChoice) {
  const { plan } = yield* prepareImport(path, request)
  const { description, form } = yield* describeWeights(path, request, plan.report.form)
  return yield* checking(() =>
    rankTensors(placedTasks(plan.conversion.parameters, plan.placed, freezeSet(description, form, request.freeze ?? [])), rank, fromHf(plan.dtypeOf, plan.read)))
})

const ofMegatron = Effect.fnUntraced(function*(hfModel: string, path: string, rank: number, request: RankWeightChoice) {
  const store = yield* storeInUse
  const { plan, report } = yield* prepareExport(familiesOf(request), hfModel, path, tensorChoices(request))
  const { tasks } = yield* describeWeights(hfModel, request, report.form)
  const { directory } = yield* openCheckpoint(path)
  const stored = new Map<string, StoredParameter>(plan.constants.map(({ id, parameter }) => [id, parameter]))
  for (const { from } of plan.tensors.values()) {
    if (from.kind !== "model") continue
    for (const parameter of from.origin.parameters) stored.set(parameter.bound.module.keyPrefix + parameter.bound.parameter.name, parameter)
  }
  // Multi-token prediction that a checkpoint lacks has no place on any rank.
  const there = tasks.filter(({ task }) => stored.has(task.globalParamName))
  const chunks = new ChunkSelection(directory)
  for (const task of there) {
    if (!ownsRank(task.placed.parallelism, rank) || !isOnRank(task, rank)) continue
    for (const { part, tensor } of stored.get(task.task.globalParamName)!.parts) chunks.add(part.key, tensor)
  }
  const arrays = yield* converting(() => readChunks(store, chunks))
  return yield* planning(() => rankTensors(there, rank, fromStored(arrays, (name) => stored.get(name)!)))
})

/**
 * What a global rank of a layout holds of the weights at `path`, a Hugging Face directory or a Megatron checkpoint of `hfModel`, under the
 * names that its model has: only its own boxes are read, and memory holds no more than the engine's buffers and the piece in hand.
 *
 * @throws UsageError for a rank that there is not, a layout that does not divide the model
 */
export const streamRankWeights = (hfModel: string, path: string, rank: number, request: RankWeightChoice = {}): Stream.Stream<MegatronWeight, JobError, Disk> =>
  Stream.unwrap(Effect.gen(function*() {
    const tensors: ReadonlyArray<HeldTensor> = yield* (yield* kindOfPath(path)) === "megatron" ? ofMegatron(hfModel, path, rank, request) : ofHf(path, rank, request)
    const { add, total } = meter("reading", request)
    total(tensors.reduce((sum, { array: { dtype, shape } }) => sum + bytesOfTensor(dtype, shape), 0))
    const tasks = tensors.map(({ task }) => task)
    let at = 0
    return stream(tensors.map(({ array }) => array), request).pipe(Stream.map(({ array: { dtype, shape }, bytes, last, offset }): MegatronWeight => {
      const { component, globalParamName, paramName, vpStage } = tasks[at]!
      if (last) at++
      add(bytes.byteLength)
      return { paramName, globalParamName, component, vpStage, dtype, shape, offset, bytes, last }
    }))
  }))
