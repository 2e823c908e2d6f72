/**
 * How the two bridges that reinforcement learning frameworks know give weights out: the same tensors with the same bytes, in another order
 * and packed otherwise. `mbridge`: stage by stage of the pipeline, each chunk in the order of its modules. `megatron-bridge`: sorted by
 * layer, then expert, then name, whatever the pipeline; what is in no layer comes first. A Hugging Face tensor comes when its last parameter does.
 */
import { byCodePoint } from "../document/byCodePoint.ts"
import type { Packing } from "./packing.ts"
import type { WeightConversionTask } from "./tasks.ts"

/** Bridges whose conventions are known. */
export const bridgeTypes = ["mbridge", "megatron-bridge"] as const
/** Whose order and packing a stream has. */
export type BridgeType = (typeof bridgeTypes)[number]

export interface Convention {
  /** Tasks in the order in which their tensors come. */
  readonly order: (tasks: ReadonlyArray<WeightConversionTask>) => ReadonlyArray<WeightConversionTask>
  /** How its consumers pack, where nobody says otherwise. */
  readonly packing: Packing
  /** Bytes of a bucket, where nobody says otherwise. */
  readonly bucketBytes: number
  /** Experts may be asked for one by one, where the model has them stacked. */
  readonly singleExperts: boolean
  /** Adapters have a place in it. */
  readonly adapters: boolean
}

/** Layer and expert; −1 for what has none. */
const numbersOf = (name: string): readonly [layer: number, expert: number] => {
  const layer = /layers\.(\d+)/.exec(name)?.[1]
  const expert = /(?:bias|weight)(\d+)/.exec(name)?.[1] ?? /local_experts\.(\d+)/.exec(name)?.[1]
  // The first two numbers that are there: an expert outside of layers stands where a layer does.
  const numbers = [layer, expert].filter((digits) => digits !== undefined).map(Number)
  return [numbers[0] ?? -1, numbers[1] ?? -1]
}

const byNumbers = (tasks: ReadonlyArray<WeightConversionTask>): ReadonlyArray<WeightConversionTask> =>
  tasks.map((task) => ({ task, numbers: numbersOf(task.globalParamName) }))
    .sort((a, b) => a.numbers[0] - b.numbers[0] || a.numbers[1] - b.numbers[1] || byCodePoint(a.task.globalParamName, b.task.globalParamName))
    .map(({ task }) => task)

/** Components one after the other; within each by stage, and by chunk. */
const byStage = (tasks: ReadonlyArray<WeightConversionTask>): ReadonlyArray<WeightConversionTask> => {
  const components = new Map([...new Set(tasks.map(({ component }) => component))].map((name, i) => [name, i]))
  return tasks.toSorted((a, b) => components.get(a.component)! - components.get(b.component)! || a.ppRank - b.ppRank || a.vpStage - b.vpStage)
}

export const CONVENTIONS: Readonly<Record<BridgeType, Convention>> = {
  mbridge: { order: byStage, packing: "fitting", bucketBytes: 2 * 2 ** 30, singleExperts: true, adapters: false },
  "megatron-bridge": { order: byNumbers, packing: "packed", bucketBytes: 1 << 30, singleExperts: false, adapters: true }
}
