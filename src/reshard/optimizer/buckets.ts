/**
 * Optimizer state in buckets, put into model space. A bucket shows where its parameters begin and not which they are: that follows from the
 * order in which a trainer registers them, must fit every length and border, and is proved against the stored weights (training-checkpoints.md 2.3).
 */
import type { ModuleParallelism } from "../../parallel/ModuleParallelism.ts"
import { parsePipelineLayout } from "../../parallel/PipelineLayout.ts"
import type { ItemsPlace, SpaceTensor } from "../../space/TensorSpace.ts"
import type { Content } from "../Contents.ts"
import type { KeyFacts } from "../keyFacts.ts"
import type { Bucket, BucketBuffer, BucketOptimizer } from "./bucketKeys.ts"
import { fitted, type PlacedParameter } from "./bucketLayout.ts"
import { type FlatPiece, FlatPieces } from "./flatContent.ts"
import { type LocalParameter, localParameters, type LocalRank, type ParameterShare } from "./localParameters.ts"
import type { Registration } from "./registration.ts"

/** A component as its run had it. */
export interface RunOfComponent {
  readonly component: string
  readonly facts: KeyFacts
  /** Its model tensors, by their keys without wrappers. */
  readonly tensors: ReadonlyMap<string, SpaceTensor<ItemsPlace>>
  readonly layout: ModuleParallelism
  readonly stageOf: (model: string, layer: number | undefined) => number
  /** Layers of the model's block. */
  readonly layers: number
}

/** Chunks of the model on every stage, and which of them has a layer. */
const chunksOf = ({ layers, layout: { pipeline, pp } }: RunOfComponent) => {
  const stages = pipeline?.layout === undefined ? undefined : parsePipelineLayout(pipeline.layout)
  const chunks = stages ? Math.max(1, stages.length / pp) : pipeline?.virtualStages ?? 1
  const ofLayer = stages?.flatMap((stage, s) => stage.flatMap((letter) => (letter === "t" ? [Math.floor(s / pp)] : [])))
  return { chunks, chunkOf: (layer: number): number => ofLayer?.[layer] ?? Math.floor(layer / (layers / (chunks * pp)) / pp) }
}

/** Which rank of the model a group of data-parallel ranks is: tensor parallelism varies fastest, then experts, then the pipeline. */
const rankOf = (group: number, share: ParameterShare, { ep, etp, tp }: ModuleParallelism): LocalRank =>
  share === "expert"
    ? { pp: Math.floor(group / (etp * ep)), ep: Math.floor(group / etp) % ep, etp: group % etp, tp: 0 }
    : { pp: Math.floor(group / tp), tp: group % tp, ep: 0, etp: group % tp }

/** The parameters of one buffer, of one chunk, in the order of registration; buffers are numbered through the chunks. */
const parametersByBuffer = (chunks: ReadonlyArray<ReadonlyArray<LocalParameter>>, share: ParameterShare, separatesExperts: boolean, isExpert: (model: string) => boolean): ReadonlyArray<{ readonly type: string; readonly parameters: ReadonlyArray<LocalParameter> }> =>
  chunks.flatMap((chunk) =>
    [...Map.groupBy(chunk, ({ model, type }) => `${type}/${share === "all" && separatesExperts && isExpert(model)}`).values()]
      .map((parameters) => ({ type: parameters[0]!.type, parameters })))

const fittedGroup = (run: RunOfComponent, group: number, share: ParameterShare, registration: Registration, buffers: ReadonlyArray<BucketBuffer>): ReadonlyArray<PlacedParameter> | undefined => {
  const isExpert = (model: string) => run.facts.ruleOf(model).experts !== undefined || run.facts.ruleOf(model).expert !== undefined
  const chunks = localParameters({ ...run, ...chunksOf(run) }, rankOf(group, share, run.layout), share, registration)
  const wanted = parametersByBuffer(chunks, share, run.layout.ep > 1, isExpert)
  if (wanted.length !== buffers.length) return undefined
  const out: Array<PlacedParameter> = []
  for (const [i, { parameters, type }] of wanted.entries()) {
    const buffer = buffers[i]!
    // Parameters of 8 and 4 bits are stored as their BF16 values.
    const placed = buffer.parameterType === type || buffer.parameterType === "uint8" ? fitted(parameters, buffer.buckets) : undefined
    if (!placed) return undefined
    out.push(...placed)
  }
  return out
}

/** Every parameter of an optimizer, in whichever group of ranks it is. Undefined: this order of registration is not that of the run. */
export const fittedOptimizer = (run: RunOfComponent, { groups }: BucketOptimizer, share: ParameterShare, registration: Registration): ReadonlyArray<PlacedParameter> | undefined => {
  const { ep, etp, pp, tp } = run.layout
  if (groups.size !== (share === "expert" ? etp * ep * pp : tp * pp)) return undefined
  const out: Array<PlacedParameter> = []
  for (const [group, buffers] of groups) {
    const placed = fittedGroup(run, group, share, registration, buffers)
    if (!placed) return undefined
    out.push(...placed)
  }
  return out
}

/** The states of an optimizer as contents, in model space. */
export const contentsOf = (run: RunOfComponent, prefix: string, placed: ReadonlyArray<PlacedParameter>): ReadonlyArray<Content> =>
  [...Map.groupBy(placed.filter(({ parameter }) => !parameter.copy), ({ parameter }) => parameter.model)].flatMap(([model, own]) => {
    const { states } = own[0]!.bucket
    return [...states.keys()].map((state) => contentOf(run, `${prefix}optimizer.state.${state}.${run.tensors.get(model)!.name}`, model, own, state))
  })

const contentOf = ({ component, tensors }: RunOfComponent, key: string, model: string, placed: ReadonlyArray<PlacedParameter>, state: string): Content => {
  const stateIn = (bucket: Bucket) => bucket.states.get(state)!
  // Ranks whose share is whole have the same: one of them is read.
  const seen = new Set<string>()
  const pieces = placed.flatMap(({ bucket, parameter, start }): ReadonlyArray<FlatPiece> =>
    parameter.pieces.flatMap((piece) => {
      const id = `${piece.box.offsets}/${piece.box.sizes}`
      if (seen.has(id)) return []
      seen.add(id)
      return [{ ...piece.box, start: start + piece.start, tensor: stateIn(bucket) }]
    }))
  const shape = tensors.get(model)!.shape
  const found = new FlatPieces(pieces, shape)
  return {
    key,
    model,
    component,
    dtype: pieces[0]!.tensor.dtype,
    shape,
    reads: pieces.map(({ tensor }) => tensor),
    copies: (arrays, box, target) => found.copies(arrays, box, target)
  }
}
