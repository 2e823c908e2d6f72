/**
 * Which pipeline stage holds what: Megatron-Core's rules for even and uneven pipelines and for layout strings.
 */
import { UsageError } from "../errors.ts"
import { MAX_RANKS, type PipelineSplit } from "./ModuleParallelism.ts"
import { type LayerLetter, parsePipelineLayout, type StageLetters } from "./PipelineLayout.ts"

/** Of a model: the rank in the pipeline (0 to pp − 1) that holds each part. */
export interface PipelineStages {
  /** Layer by layer. */
  readonly layers: ReadonlyArray<number>
  readonly embedding: number
  /** The output layer. */
  readonly output: number
  /** The final norm: with the last layer where the trainer builds multi-token prediction, else with the output layer. */
  readonly norm: number
  /** Multi-token prediction. */
  readonly mtp: number
}

/** A thousand times as many as the deepest model known; it bounds what a number can allocate. */
const MOST_LAYERS = 1_000_000

/** A hint lists no more stage counts than anyone would pick. */
const MOST_STAGES_SUGGESTED = 64

const refuse = (problem: string, hint?: string): never => {
  throw new UsageError({ code: "usage/layout", problem, ...(hint === undefined ? {} : { hint }) })
}

/** What an uneven pipeline is given instead of the rule that every stage has equally many layers. */
const isExplicit = (split: PipelineSplit): boolean => Object.values(split).some((value) => value !== undefined && value !== false)

/**
 * Where everything sits.
 *
 * **Details**
 *
 * - Even: every stage has `numLayers / pp` layers.
 * - `firstStageLayers`, `lastStageLayers`: outer stages with their own number; those between share the rest equally, and none may
 *   be left without a layer.
 * - `embeddingAsStage`, `lossAsStage`: the embedding (the loss) counts as one layer of the even split, so that its stage has one
 *   less.
 * - `layout`: every stage spelled out. More stages than pp are virtual ones, dealt out to the ranks in turn.
 * - `virtualStages`: as many chunks on every rank, all of equally many layers.
 *
 * The numbers exclude each other as they do in the trainer's configuration.
 *
 * @param mtpLayers of multi-token prediction that the trainer builds; a layout must name them
 * @throws UsageError with the trainer's reason
 */
export const pipelineStages = (numLayers: number, pp: number, split: PipelineSplit = {}, mtpLayers = 0): PipelineStages => {
  const { embedding, layers, mtp, norm, output } = pipelineChunks(numLayers, pp, split, mtpLayers)
  return { layers: layers.map((chunk) => chunk % pp), embedding: embedding % pp, output: output % pp, norm: norm % pp, mtp: mtp % pp }
}

/**
 * The same by chunk of the model: chunk c is on stage `c % pp`, as its virtual stage `⌊c / pp⌋`.
 *
 * @throws UsageError as {@link pipelineStages}
 */
export const pipelineChunks = (numLayers: number, pp: number, split: PipelineSplit = {}, mtpLayers = 0): PipelineStages => {
  countsFrom1({ "the number of layers": numLayers, pp, "layers of the first stage": split.firstStageLayers, "layers of the last stage": split.lastStageLayers, vpp: split.virtualStages })
  if (pp > MAX_RANKS) refuse(`pp=${pp} is more than the ${MAX_RANKS} ranks supported`)
  if (numLayers > MOST_LAYERS) refuse(`${numLayers} layers are more than the ${MOST_LAYERS} supported`)
  if (split.layout !== undefined) return fromLayout(numLayers, pp, split, mtpLayers)
  const { virtualStages = 1 } = split
  const layers = virtualStages === 1 ? stageByStage(numLayers, pp, split) : inTurn(numLayers, pp, split)
  const last = pp * virtualStages - 1
  return { layers, embedding: 0, output: last, norm: mtpLayers > 0 ? layers.at(-1)! : last, mtp: last }
}

const stageByStage = (numLayers: number, pp: number, split: PipelineSplit): ReadonlyArray<number> => {
  const counts = split.embeddingAsStage || split.lossAsStage ? countsWithStages(numLayers, pp, split) : countsWithOuter(numLayers, pp, split)
  return counts.flatMap((count, stage) => new Array<number>(count).fill(stage))
}

/** Chunks, one after the other. */
const inTurn = (numLayers: number, pp: number, { virtualStages = 1, ...split }: PipelineSplit): ReadonlyArray<number> => {
  if (isExplicit(split)) refuse("vpp deals out equally many layers to every chunk; a layout spells uneven ones out")
  if (pp === 1) refuse(`vpp=${virtualStages}: virtual stages need pp > 1`)
  const chunks = pp * virtualStages
  if (numLayers % chunks !== 0) refuse(`${numLayers} layers cannot be dealt out evenly to pp=${pp} times vpp=${virtualStages} chunks`)
  return Array.from({ length: numLayers }, (_, layer) => Math.floor(layer / (numLayers / chunks)))
}

const countsWithOuter = (numLayers: number, pp: number, { firstStageLayers, lastStageLayers }: PipelineSplit): ReadonlyArray<number> => {
  const given = [firstStageLayers, lastStageLayers].filter((count) => count !== undefined)
  const layers = given.reduce((left, count) => left - count, numLayers)
  const stages = pp - given.length
  if (stages < 0 || layers < 0 || (stages === 0) !== (layers === 0) || (stages > 0 && layers % stages !== 0)) {
    if (given.length === 0) refuse(`${numLayers} layers cannot be split evenly into pp=${pp} stages`, `pp can be ${stageCounts(numLayers)}; ${UNEVEN}`)
    refuse(
      `${numLayers} layers cannot be split into pp=${pp} stages with ${outerStages(firstStageLayers, lastStageLayers)}: ${layers} layers are left for ${stages} stages`,
      "every other stage needs equally many, and at least one"
    )
  }
  return Array.from({ length: pp }, (_, stage) =>
    (stage === 0 ? firstStageLayers : undefined) ?? (stage === pp - 1 ? lastStageLayers : undefined) ?? layers / stages)
}

const UNEVEN = "first_stage_layers, last_stage_layers, embedding_as_stage, loss_as_stage or layout make an uneven pipeline"

const countsWithStages = (numLayers: number, pp: number, split: PipelineSplit): ReadonlyArray<number> => {
  if (split.firstStageLayers !== undefined || split.lastStageLayers !== undefined) {
    refuse("first_stage_layers and last_stage_layers exclude embedding_as_stage and loss_as_stage, as they do for the trainer")
  }
  const [embedding, loss] = [split.embeddingAsStage ? 1 : 0, split.lossAsStage ? 1 : 0]
  const all = numLayers + embedding + loss
  const what = [`${numLayers} layers`, embedding && "the embedding", loss && "the loss"].filter(Boolean).join(", ")
  if (all % pp !== 0) refuse(`${what} count as ${all} layers, which cannot be split evenly into pp=${pp} stages`, `pp can be ${stageCounts(all)}`)
  const counts = Array.from({ length: pp }, (_, stage) => all / pp - (stage === 0 ? embedding : 0) - (stage === pp - 1 ? loss : 0))
  if (counts.some((count) => count < 0)) refuse(`${what} leave a stage of pp=${pp} with less than nothing`)
  return counts
}

const fromLayout = (numLayers: number, pp: number, split: PipelineSplit, mtpLayers: number): PipelineStages => {
  const { layout = "", virtualStages, ...others } = split
  if (isExplicit(others)) refuse("layout says how many layers every stage has; it excludes the other numbers, as it does for the trainer")
  const stages = parsePipelineLayout(layout)
  if (virtualStages !== undefined && stages.length !== pp * virtualStages) refuse(`the layout has ${stages.length} stages, which are not pp=${pp} times vpp=${virtualStages}`)
  if (pp === 1 && stages.length > 1) refuse(`the layout has ${stages.length} stages; virtual stages need pp > 1`)
  if (stages.length % pp !== 0) refuse(`the layout has ${stages.length} stages, which are not divisible by pp=${pp}`)
  checkOrder(stages, pp, numLayers, mtpLayers)
  const layers = stages.flatMap((stage, s) => stage.flatMap((letter) => (letter === "t" ? [s] : [])))
  const last = stages.length - 1
  return {
    layers,
    // The trainer builds the embedding on its first stage and the output layer on its last, whatever the letters say.
    embedding: 0,
    output: last,
    norm: mtpLayers > 0 ? layers.at(-1)! : last,
    mtp: mtpLayers > 0 ? stages.findIndex((stage) => stage.includes("m")) : last
  }
}

/** What Megatron-Core checks of a layout. */
const checkOrder = (stages: StageLetters, pp: number, numLayers: number, mtpLayers: number): void => {
  const flat = stages.flat()
  const count = (letter: LayerLetter) => flat.filter((other) => other === letter).length
  if (flat[0] !== "E" || count("E") !== 1) refuse("a layout begins with its only E, the embedding")
  if (flat.at(-1) !== "L" || count("L") !== 1) refuse("a layout ends with its only L, the loss")
  if (count("t") !== numLayers) refuse(`the layout has ${count("t")} decoder layers (t), the model ${numLayers}`)
  if (count("m") !== mtpLayers) {
    refuse(`the layout has ${count("m")} layers of multi-token prediction (m), the trainer's model ${mtpLayers}`,
      mtpLayers === 0 ? "--mtp drop and MegatronMIMO leave them out" : undefined)
  }
  if (mtpLayers === 0) return
  const holders = stages.flatMap((stage, s) => (stage.includes("m") ? [s] : []))
  const [holder] = holders as [number]
  if (holders.length > 1) refuse("all layers of multi-token prediction (m) must be in one stage")
  if (flat.indexOf("m") < flat.lastIndexOf("t")) refuse("decoder layers (t) must stand before multi-token prediction (m)")
  if (holder < stages.length - pp) refuse("multi-token prediction (m) must be in the last virtual stage of its rank")
}

const countsFrom1 = (counts: Record<string, number | undefined>): void => {
  for (const [what, count] of Object.entries(counts)) {
    if (count === undefined || (Number.isSafeInteger(count) && count >= 1)) continue
    refuse(`${what} must be a whole number from 1, not ${count}`)
  }
}

const outerStages = (first: number | undefined, last: number | undefined): string =>
  [first !== undefined && `${first} layers in the first`, last !== undefined && `${last} layers in the last`].filter(Boolean).join(" and ")

const stageCounts = (numLayers: number): string =>
  Array.from({ length: Math.min(numLayers, MOST_STAGES_SUGGESTED) }, (_, index) => index + 1)
    .filter((stages) => numLayers % stages === 0)
    .join(", ")
