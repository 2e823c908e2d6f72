/**
 * Which rank would save which chunk. On disk a tensor is global; a layout only decides how it is cut and which rank's file a
 * chunk lies in. Of every replica only the main one is written (torch-dist-format.md D.1). What the tensors are made of is not asked:
 * an import, and whatever cuts a checkpoint anew, places alike. Pure.
 */
import { UsageError } from "../errors.ts"
import type { Expert, ModuleState, Parameter, StoredPart } from "../model/Parameter.ts"
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import { writerRank } from "../parallel/RankGrid.ts"
import type { Box, Shape } from "../tensor/Copy.ts"

/** All that a layout asks of a tensor: its shape, the axis that is split, its expert, and under which keys its parts are stored. */
export interface Placeable extends Pick<Parameter, "name" | "shape" | "splitAxis" | "expert" | "parts" | "config"> {
  /** The vocabulary axis of a checkpoint as it is: where ranks do not divide its rows, the last of them have less. */
  readonly uneven?: boolean
}

/** `of`: whatever the caller knows the tensor by; its chunks carry it. */
export interface TensorToPlace<T> {
  readonly tensor: Placeable
  /** Pipeline stage. */
  readonly stage: number
  /** No loader asks for it: it goes into the ranks' second files, so that the first ones are what the reference would write. */
  readonly beside: boolean
  readonly of: T
}

export interface StateToPlace {
  readonly state: Pick<ModuleState, "key" | "payload" | "expert">
  readonly stage: number
  readonly beside: boolean
}

/** What lies under one layout: a model, or a component of one. */
export interface GroupToPlace<T> {
  /** Prepended to every key. */
  readonly keyPrefix: string
  readonly parallelism: ModuleParallelism
  readonly states: Iterable<StateToPlace>
  readonly tensors: Iterable<TensorToPlace<T>>
}

/** A box of a stored tensor that one rank saves. */
export interface Chunk<T> {
  readonly of: T
  /** The box in the tensor's own coordinates. */
  readonly box: Box
  readonly key: string
  readonly keyShape: Shape
  /** The box in the stored tensor: `offsets`, and `sizes` with leading ones on the layer and expert axes. */
  readonly stored: Box
}

/** What one rank saves into one of its files. */
export interface RankFile<T> {
  readonly rank: number
  /** 0 for what loaders ask for; 1 for what travels beside it. */
  readonly number: number
  readonly states: Array<{ readonly key: string; readonly payload: ModuleState["payload"] }>
  readonly chunks: Array<Chunk<T>>
}

export const rankFileName = ({ number, rank }: Pick<RankFile<unknown>, "rank" | "number">): string => `__${rank}_${number}.distcp`

/** What an extent may be called, for messages. */
const SIZES = ["ffn_hidden_size", "moe_ffn_hidden_size", "moe_shared_expert_intermediate_size", "hidden_size"] as const

/** Extents along the split axis, one per tensor-parallel rank, all equal; no more than there is of an uneven one. */
const shares = (extent: number, ranks: number, name: string, { config, expert, uneven }: Placeable): ReadonlyArray<readonly [start: number, size: number]> => {
  if (extent % ranks !== 0 && uneven) {
    const most = Math.ceil(extent / ranks)
    return Array.from({ length: Math.ceil(extent / most) }, (_, rank) => [rank * most, Math.min(most, extent - rank * most)] as const)
  }
  if (extent % ranks !== 0) {
    const field = SIZES.find((size) => config?.[size] === extent)
    throw new UsageError({ code: "usage/layout",
      problem: `${name}: ${extent} rows or columns${field ? ` (${field})` : ""} cannot be divided among ${expert ? "etp" : "tp"}=${ranks} tensor-parallel ranks`
    })
  }
  const size = extent / ranks
  return Array.from({ length: ranks }, (_, rank) => [rank * size, size] as const)
}

/** What a tensor-parallel rank holds of a part. */
interface Cut {
  readonly rank: number
  readonly box: Box
  /** Distance of the box from the part's first element, along the split axis. */
  readonly start: number
  /** As in the stored tensor, with leading ones. */
  readonly sizes: Shape
}

/** How parts are cut. Equal parts share their cuts: a layer has hundreds of equal experts. */
export class Cutter {
  readonly #known = new Map<string, ReadonlyArray<Cut>>()

  cuts(parameter: Placeable, { rows, shape: stored }: StoredPart, ranks: number, prefix: string): ReadonlyArray<Cut> {
    const { name, shape, splitAxis, uneven } = parameter
    const id = `${shape}/${rows ?? ""}/${splitAxis ?? ""}/${ranks}/${stored.length}/${uneven ?? ""}`
    let cuts = this.#known.get(id)
    if (cuts) return cuts
    const axis = splitAxis ?? 0
    const first = shape.map((_, k) => (k === 0 ? rows?.[0] ?? 0 : 0))
    const whole = rows ? shape.map((n, k) => (k === 0 ? rows[1] - rows[0] : n)) : shape
    const lead = stored.slice(shape.length).fill(1)
    const slices = ranks === 1 ? [[0, whole[axis] ?? 1] as const] : shares(whole[axis]!, ranks, prefix + name, parameter)
    cuts = slices.map(([start, size], rank): Cut => {
      const sizes = ranks === 1 ? whole : whole.map((n, k) => (k === axis ? size : n))
      return { rank, box: { offsets: first.map((n, k) => (k === axis ? n + start : n)), sizes }, start, sizes: lead.concat(sizes) }
    })
    this.#known.set(id, cuts)
    return cuts
  }
}

/** The global rank that writes an entry (its tensor-parallel piece `tp`, if it is cut), remembered per place in the grid. */
type WriterOf = (stage: number, expert: Expert | undefined, tp: number) => number

const writersOf = (parallelism: ModuleParallelism): WriterOf => {
  const known = new Map<number, number>()
  return (pp, expert, tp) => {
    const ep = expert && expertRank(expert, parallelism.ep)
    const id = ((ep ?? -1) + 1) * parallelism.pp + pp + tp * (parallelism.ep + 1) * parallelism.pp
    let rank = known.get(id)
    if (rank === undefined) known.set(id, rank = writerRank(parallelism, ep === undefined ? { pp, tp } : { pp, ep, etp: tp }))
    return rank
  }
}

/** Which expert-parallel rank holds an expert. */
const expertRank = ({ index, of }: Expert, ep: number): number => {
  if (of % ep !== 0) throw new UsageError({ code: "usage/layout", problem: `${of} experts cannot be divided among ep=${ep} expert-parallel ranks` })
  return Math.floor(index / (of / ep))
}

/** Place everything. Files are in order: the first ones of all ranks, then the second ones. */
export const place = <T>(groups: ReadonlyArray<GroupToPlace<T>>): ReadonlyArray<RankFile<T>> => {
  const files = new Map<string, RankFile<T>>()
  const fileOf = (rank: number, beside: boolean): RankFile<T> => {
    const number = beside ? 1 : 0
    const id = `${rank}/${number}`
    let file = files.get(id)
    if (!file) files.set(id, file = { rank, number, states: [], chunks: [] })
    return file
  }
  const cutter = new Cutter()
  for (const { keyPrefix, parallelism, states, tensors } of groups) {
    const writerOf = writersOf(parallelism)
    for (const { beside, stage, state: { expert, key, payload } } of states) {
      fileOf(writerOf(stage, expert, 0), beside).states.push({ key: keyPrefix + key, payload })
    }
    for (const { beside, of, stage, tensor } of tensors) {
      const ranks = tensor.splitAxis === undefined ? 1 : tensor.expert ? parallelism.etp : parallelism.tp
      for (const part of tensor.parts) {
        const axis = part.shape.length - tensor.shape.length + (tensor.splitAxis ?? 0)
        for (const { box, rank, sizes, start } of cutter.cuts(tensor, part, ranks, keyPrefix)) {
          fileOf(writerOf(stage, tensor.expert, rank), beside).chunks.push({
            of,
            box,
            key: keyPrefix + part.key,
            keyShape: part.shape,
            stored: { offsets: start === 0 ? part.at : part.at.map((n, k) => (k === axis ? n + start : n)), sizes }
          })
        }
      }
    }
  }
  return [...files.values()].sort((a, b) => a.number - b.number || a.rank - b.rank)
}

/** Chunks in the order the reference writes them: by key, keys by first appearance. */
export const byKey = <T>(chunks: ReadonlyArray<Chunk<T>>): ReadonlyMap<string, ReadonlyArray<Chunk<T>>> => {
  const groups = new Map<string, Array<Chunk<T>>>()
  for (const chunk of chunks) {
    const group = groups.get(chunk.key)
    if (group) group.push(chunk)
    else groups.set(chunk.key, [chunk])
  }
  return groups
}
