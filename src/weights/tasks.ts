/**
 * The conversion of a model as a list of tasks: one for each Megatron parameter, with the Hugging Face tensors that it is made of and the
 * rank that has it. Data only; whoever works on one opens it by its names.
 */
import type { BoundParameter } from "../bridge/Conversion.ts"
import { coordinatesOf } from "../parallel/RankGrid.ts"
import type { LaidOutModule } from "../plan/layoutChecks.ts"
import type { Parameter } from "../model/Parameter.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { IsFrozen } from "../plan/FreezeSet.ts"

/** How a parameter is made of Hugging Face tensors. */
export interface TaskMapping {
  /** Kind of the mapping row: `qkv`, `gated`, `direct` and so on. */
  readonly kind: string
  /** Names of the tensors, in the order of the row. */
  readonly hfParams: ReadonlyArray<string>
}

/** One parameter, and where it is. Field names are those of the trainer's own tasks; its live objects have no place here. */
export interface WeightConversionTask {
  /** As the ranks that have it name it: layers are counted from the first of their chunk, experts from the first of their rank. */
  readonly paramName: string
  /** As the whole model names it. */
  readonly globalParamName: string
  readonly component: string
  readonly mapping: TaskMapping
  /** Rank in the pipeline of its component. */
  readonly ppRank: number
  /** Chunk of the model on that rank. */
  readonly vpStage: number
  /** Of an expert: its rank among the expert-parallel ones. */
  readonly epRank?: number
  /** Of the whole parameter. */
  readonly shape: Shape
  /** The axis that tensor parallelism splits; absent: every rank has all of it. */
  readonly partitionDim?: number
  readonly trainable: boolean
}

/** A parameter, its module under a layout, and its task. */
export interface PlacedTask {
  readonly bound: BoundParameter
  readonly placed: LaidOutModule
  readonly task: WeightConversionTask
}

/** `name` with the number that stands behind `before` replaced. */
const renumbered = (name: string, before: RegExp, from: number, to: number): string =>
  from === to ? name : name.replace(before, (found, head: string, digits: string, tail: string) => (Number(digits) === from ? `${head}${to}${tail}` : found))

const LAYER = /(\blayers\.)(\d+)(\.)/
/** Experts are numbered parameters of a grouped module, or modules of their own. */
const EXPERT = /(\.(?:weight|bias|local_experts\.))(\d+)(\.|$)/

/** The first layer of every chunk. */
const firstLayers = ({ chunkOf, module }: LaidOutModule): ReadonlyMap<number, number> => {
  const first = new Map<number, number>()
  for (const entry of module.entries) {
    if (entry.kind !== "parameter" || entry.mtp || typeof entry.stage !== "object") continue
    const chunk = chunkOf(entry)
    first.set(chunk, Math.min(first.get(chunk) ?? Infinity, entry.stage.layer))
  }
  return first
}

const localName = ({ expert, mtp, name, stage }: Parameter, firstLayer: number, expertsEach: number): string => {
  const layered = typeof stage === "object" && !mtp ? renumbered(name, LAYER, stage.layer, stage.layer - firstLayer) : name
  return expert === undefined ? layered : renumbered(layered, EXPERT, expert.index, expert.index % expertsEach)
}

/** Tasks of all components, in the order of the model. */
export const placedTasks = (parameters: ReadonlyArray<BoundParameter>, modules: ReadonlyArray<LaidOutModule>, isFrozen: IsFrozen): ReadonlyArray<PlacedTask> => {
  const found = new Map(modules.map((placed) => [placed.module, { placed, first: firstLayers(placed) }]))
  return parameters.map((bound) => {
    const { kind, module, parameter, tensors } = bound
    const { first, placed } = found.get(module)!
    const { ep, pp } = placed.parallelism
    const chunk = placed.chunkOf(parameter)
    const expertsEach = parameter.expert === undefined ? 0 : parameter.expert.of / ep
    return {
      bound,
      placed,
      task: {
        paramName: module.keyPrefix + localName(parameter, first.get(chunk) ?? 0, expertsEach),
        globalParamName: module.keyPrefix + parameter.name,
        component: module.name,
        mapping: { kind, hfParams: tensors.map(({ name }) => name) },
        ppRank: chunk % pp,
        vpStage: Math.floor(chunk / pp),
        ...(parameter.expert === undefined ? {} : { epRank: Math.floor(parameter.expert.index / expertsEach) }),
        shape: parameter.shape,
        ...(parameter.splitAxis === undefined ? {} : { partitionDim: parameter.splitAxis }),
        trainable: !isFrozen(module, parameter)
      }
    }
  })
}

/** Does this global rank have the parameter, or a part of it? */
export const isOnRank = ({ placed: { parallelism }, task: { epRank, ppRank } }: PlacedTask, rank: number): boolean => {
  const { ep, pp } = coordinatesOf(parallelism, rank)
  return pp === ppRank && (epRank === undefined || ep === epRank)
}
