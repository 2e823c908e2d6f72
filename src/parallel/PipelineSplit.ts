/**
 * Which layers each pipeline stage holds (Megatron's rule, without virtual stages).
 */
import { UsageError } from "../errors.ts"
import { MAX_RANKS } from "./ModuleParallelism.ts"

/** Layers `[start, end)` of one stage, counted from 0 over the whole model. */
export type StageLayers = readonly [start: number, end: number]

/** Numbers of layers of the outer stages where they differ from the others (`num_layers_in_{first,last}_pipeline_stage`). */
export interface UnevenStages {
  readonly firstStage?: number
  readonly lastStage?: number
}

/** The stage of the embeddings. */
export const FIRST_STAGE = 0

/** The stage of the final norm and the output layer. */
export const lastStageOf = (pp: number): number => pp - 1

/** A hint lists no more stage counts than anyone would pick. */
const MOST_STAGES_SUGGESTED = 64

/**
 * Layers of every stage, in order.
 *
 * **Details**
 *
 * Layers are contiguous and every stage has equally many. An outer stage may be given its own number; the stages between
 * share the rest equally, and none may be left without a layer.
 *
 * @throws UsageError naming layers and pp, if they do not divide
 */
export const layersOfStage = (
  numLayers: number,
  pp: number,
  { firstStage, lastStage }: UnevenStages = {}
): ReadonlyArray<StageLayers> => {
  countsFrom1({ "the number of layers": numLayers, pp, "layers of the first stage": firstStage, "layers of the last stage": lastStage })
  if (pp > MAX_RANKS) throw new UsageError({ problem: `pp=${pp} is more than the ${MAX_RANKS} ranks supported` })

  const given = [firstStage, lastStage].filter((count) => count !== undefined)
  const layers = given.reduce((left, count) => left - count, numLayers)
  const stages = pp - given.length
  if (stages < 0 || layers < 0 || (stages === 0) !== (layers === 0) || (stages > 0 && layers % stages !== 0)) {
    throw new UsageError({
      problem: given.length === 0
        ? `${numLayers} layers cannot be split evenly into pp=${pp} stages`
        : `${numLayers} layers cannot be split into pp=${pp} stages with ${unevenStages({ firstStage, lastStage })}: ` +
          `${layers} layers are left for ${stages} stages`,
      hint: given.length === 0 ? `pp can be ${stageCounts(numLayers)}` : "every other stage needs equally many, and at least one"
    })
  }

  let start = 0
  return Array.from({ length: pp }, (_, stage): StageLayers => {
    const own = stage === FIRST_STAGE ? firstStage : undefined
    const end = start + (own ?? (stage === lastStageOf(pp) ? lastStage : undefined) ?? layers / stages)
    const range = [start, end] as const
    start = end
    return range
  })
}

/**
 * The stage that holds a layer.
 *
 * @throws RangeError if no stage does
 */
export const stageOfLayer = (stages: ReadonlyArray<StageLayers>, layer: number): number => {
  const stage = stages.findIndex(([start, end]) => start <= layer && layer < end)
  if (stage < 0) throw new RangeError(`layer ${layer} is in no stage`)
  return stage
}

const countsFrom1 = (counts: Record<string, number | undefined>): void => {
  for (const [what, count] of Object.entries(counts)) {
    if (count === undefined || (Number.isSafeInteger(count) && count >= 1)) continue
    throw new UsageError({ problem: `${what} must be a whole number from 1, not ${count}` })
  }
}

const unevenStages = ({ firstStage, lastStage }: Record<keyof UnevenStages, number | undefined>): string =>
  [
    firstStage !== undefined && `${firstStage} layers in the first`,
    lastStage !== undefined && `${lastStage} layers in the last`
  ].filter(Boolean).join(" and ")

const stageCounts = (numLayers: number): string =>
  Array.from({ length: Math.min(numLayers, MOST_STAGES_SUGGESTED) }, (_, index) => index + 1)
    .filter((stages) => numLayers % stages === 0)
    .join(", ")
