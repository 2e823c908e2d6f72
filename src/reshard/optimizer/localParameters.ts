/** The parameters that one rank of a run held, in the order in which it registered them, and which boxes of stored tensors they are. Pure. */
import { indexedLayer, stackedLayer } from "../../model/layerKeys.ts"
import type { ModuleParallelism } from "../../parallel/ModuleParallelism.ts"
import type { ItemsPlace, SpaceTensor } from "../../space/TensorSpace.ts"
import { type Box, type Shape, volume } from "../../tensor/Copy.ts"
import { type DType, torchName } from "../../tensor/DType.ts"
import type { KeyFacts } from "../keyFacts.ts"
import { expertRank, layerRank, modelRank, type Registration } from "./registration.ts"

/** A contiguous part of a local parameter, and the box of the stored tensor that it is. */
export interface LocalPiece {
  readonly start: number
  readonly box: Box
}

export interface LocalParameter {
  /** The model tensor, by its key without wrappers. */
  readonly model: string
  /** As torch names it. */
  readonly type: string
  readonly numel: number
  readonly pieces: ReadonlyArray<LocalPiece>
  /** A second copy of a tensor that another stage has too: of a tied embedding. */
  readonly copy: boolean
}

/** Where in a run a rank stands. */
export interface LocalRank {
  readonly pp: number
  readonly tp: number
  readonly ep: number
  readonly etp: number
}

/** Which of a model's parameters an optimizer has. */
export type ParameterShare = "all" | "dense" | "expert"

interface Slot {
  readonly order: ReadonlyArray<number>
  readonly parameter: LocalParameter
}

const byOrder = (a: Slot, b: Slot): number => {
  for (let i = 0; i < Math.max(a.order.length, b.order.length); i++) {
    const difference = (a.order[i] ?? 0) - (b.order[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** The part of `own` that rank `rank` of `ranks` has along `axis`; two of them where the rows are two halves. */
const piecesOf = (own: Shape, axis: number | undefined, halves: boolean, rank: number, ranks: number, at: ReadonlyArray<number>): ReadonlyArray<LocalPiece> => {
  const lead = at.map(() => 1)
  const none = own.map(() => 0)
  const whole = (offsets: ReadonlyArray<number>, sizes: Shape): Box => ({ offsets: [...at, ...offsets], sizes: [...lead, ...sizes] })
  if (halves) {
    const rows = own[0]! / 2 / ranks
    const sizes = [rows, ...own.slice(1)]
    return [0, 1].map((half) => ({ start: half * volume(sizes), box: whole(none.with(0, half * (own[0]! / 2) + rank * rows), sizes) }))
  }
  if (axis === undefined || ranks === 1) return [{ start: 0, box: whole(none, own) }]
  const size = own[axis]! / ranks
  return [{ start: 0, box: whole(none.with(axis, rank * size), own.with(axis, size)) }]
}

interface Run {
  readonly facts: KeyFacts
  readonly tensors: ReadonlyMap<string, SpaceTensor<ItemsPlace>>
  readonly layout: ModuleParallelism
  readonly stageOf: (model: string, layer: number | undefined) => number
  /** Virtual chunk of a layer on its stage. */
  readonly chunkOf: (layer: number) => number
  readonly chunks: number
}

/**
 * Chunk by chunk, each in the order of registration. `tied`: the last stage has a copy of the embedding.
 */
export const localParameters = (run: Run, rank: LocalRank, share: ParameterShare, registration: Registration): ReadonlyArray<ReadonlyArray<LocalParameter>> => {
  const chunks: ReadonlyArray<Array<Slot>> = Array.from({ length: run.chunks }, () => [])
  for (const [key, tensor] of run.tensors) slotsOf(run, rank, share, registration, key, tensor, chunks)
  return chunks.map((slots) => slots.sort(byOrder).map(({ parameter }) => parameter))
}

const slotsOf = (run: Run, rank: LocalRank, share: ParameterShare, registration: Registration, key: string, { dtype, shape }: SpaceTensor<ItemsPlace>, chunks: ReadonlyArray<Array<Slot>>): void => {
  const { facts, layout } = run
  const rule = facts.ruleOf(key)
  const isExpert = rule.experts !== undefined || rule.expert !== undefined
  if ((share === "dense" && isExpert) || (share === "expert" && !isExpert)) return
  const lead = (rule.layers === undefined ? 0 : 1) + (rule.experts === undefined ? 0 : 1)
  const own = shape.slice(lead)
  const [ranks, index] = isExpert ? [layout.etp, rank.etp] : [layout.tp, rank.tp]
  const split = rule.halves ? own[0]! / 2 : rule.axis === undefined ? 0 : own[rule.axis]!
  if (split % ranks !== 0) return
  const add = (chunk: number, order: ReadonlyArray<number>, at: ReadonlyArray<number>, copy = false): void => {
    const pieces = piecesOf(own, rule.axis, rule.halves, index, rule.axis === undefined && !rule.halves ? 1 : ranks, at)
    const numel = pieces.reduce((sum, { box }) => sum + volume(box.sizes), 0)
    chunks[chunk]!.push({ order, parameter: { model: key, type: typeOf(dtype), numel, pieces, copy } })
  }
  const list = indexedLayer(key) ?? stackedLayer(key)
  const name = list?.rest ?? key
  const isLayer = list !== undefined && /(?:^|\.)decoder\.layers$/.test(list.list)
  for (let i = 0; i < (rule.layers ?? 1); i++) {
    const layer = rule.layers === undefined ? indexedLayer(key)?.index : i
    const stage = run.stageOf(key, layer)
    const chunk = isLayer && layer !== undefined ? run.chunkOf(layer) : stage === 0 && !/(?:output_layer|final_layernorm|final_norm|mtp)\./.test(key) ? 0 : run.chunks - 1
    const base = [modelRank(key), layer ?? 0, layerRank(name, registration)]
    const at = rule.layers === undefined ? [] : [i]
    const isTied = layer === undefined && layout.pp > 1 && rank.pp === layout.pp - 1 && /(?:^|\.)word_embeddings\.weight$/.test(key) && !run.tensors.has(key.replace("embedding.word_embeddings", "output_layer"))
    if (isTied) add(run.chunks - 1, [modelRank("output_layer.weight"), 0, 0], at, true)
    if (stage !== rank.pp) continue
    if (!isExpert) add(chunk, base, at)
    else {
      for (const expert of expertsOf(rule.experts, rule.expert, rank.ep, layout.ep)) {
        add(chunk, [...base, ...expertRank(key, expert, registration)], rule.experts === undefined ? at : [...at, expert])
      }
    }
  }
}

/** Numbers of the experts that a rank has of a tensor. */
const expertsOf = (all: number | undefined, one: { readonly index: number; readonly of: number } | undefined, rank: number, ranks: number): ReadonlyArray<number> => {
  const of = all ?? one!.of
  const each = of / ranks
  const own = all === undefined ? [one!.index] : Array.from({ length: of }, (_, e) => e)
  return own.filter((e) => Math.floor(e / each) === rank)
}

const typeOf = (dtype: DType): string => torchName(dtype) ?? dtype
