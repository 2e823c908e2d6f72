/** What the ranks of a `torch` checkpoint hold, under stored keys with the numbers of the whole model. Pure. */
import { InvalidFile } from "../../errors.ts"
import { blockLayer } from "../../model/layerKeys.ts"
import { isSideBySide, rankKeys, type RankKey } from "../../model/rankKeys.ts"
import type { RankArchive, RankModel, RankTensor } from "./RankArchive.ts"
import type { RankFolder } from "./rankFolders.ts"

export interface Rank {
  readonly folder: RankFolder
  readonly archive: RankArchive
}

/** What one rank holds of a tensor. */
export interface Piece {
  readonly rank: Rank
  /** As the rank calls it. */
  readonly name: string
  readonly tensor: RankTensor
}

/** The pieces of a tensor, or of one expert of it. */
export interface RankPieces {
  readonly key: string
  /** Number of the expert, of all ranks. */
  readonly expert?: number
  readonly pieces: Array<Piece>
}

/** A module state that some rank holds, under the key of the module's weight. */
export interface StateOfRank {
  readonly key: string
  readonly expert?: number
  readonly state: "none" | "empty" | "filled"
}

export type RankProblem = "checkpoint/rank-disagrees" | "checkpoint/rank-tensor" | "checkpoint/rank-layers" | "checkpoint/rank-shapes" | "checkpoint/rank-split" | "checkpoint/rank-experts"

/** InvalidFile that names the rank's file and, as the rank calls it, the tensor. */
export const atRank = (code: RankProblem, { archive }: Rank, tensor: string | undefined, problem: string, hint?: string): InvalidFile =>
  new InvalidFile({ path: archive.path, code, problem, ...(tensor === undefined ? {} : { place: { tensor } }), ...(hint ? { hint } : {}) })

interface NamedModel {
  readonly rank: Rank
  /** Number of the virtual stage. */
  readonly chunk: number
  readonly model: RankModel
  readonly keys: ReadonlyMap<string, RankKey>
}

const namedModels = (ranks: ReadonlyArray<Rank>): ReadonlyArray<NamedModel> =>
  ranks.flatMap((rank) => rank.archive.models.map((model, chunk): NamedModel => {
    const old = Iterator.from(model.tensors.keys()).find(isSideBySide)
    if (old !== undefined) {
      throw atRank("checkpoint/rank-experts", rank, old, "holds all experts of the rank as one matrix, as Megatron-Core up to 0.11 did without Transformer Engine", "Load it with that trainer and save it with --ckpt-format torch_dist.")
    }
    return { rank, chunk, model, keys: rankKeys([...model.tensors.keys(), ...model.states.keys()]) }
  }))

/** Of every list of layers, the local numbers in one stage, which count from 0. */
const layersIn = ({ keys, model, rank }: NamedModel): ReadonlyMap<string, number> => {
  const lists = new Map<string, Set<number>>()
  for (const name of model.tensors.keys()) {
    const layer = blockLayer(keys.get(name)!.key)
    if (layer) lists.set(layer.list, (lists.get(layer.list) ?? new Set<number>()).add(layer.index))
  }
  return new Map(Array.from(lists, ([list, indices]) => {
    const gap = Array.from({ length: indices.size }, (_, i) => i).find((i) => !indices.has(i))
    if (gap !== undefined) throw atRank("checkpoint/rank-layers", rank, undefined, `has ${indices.size} layers of ${list}, but none with the number ${gap}: in every stage they count from 0`)
    return [list, indices.size] as const
  }))
}

/** The number in the model of layer 0 of every list in every virtual stage: stage p of chunk v comes behind all of chunk v − 1. */
const firstLayers = (models: ReadonlyArray<NamedModel>, pp: number) => {
  const counts = new Map<number, { readonly layers: ReadonlyMap<string, number>; readonly of: NamedModel }>()
  for (const of of models) {
    const stage = of.chunk * pp + of.rank.folder.pp
    const layers = layersIn(of)
    const known = counts.get(stage)
    if (!known) counts.set(stage, { layers, of })
    for (const list of known ? new Set([...known.layers.keys(), ...layers.keys()]) : []) {
      const [own, others] = [layers.get(list) ?? 0, known!.layers.get(list) ?? 0]
      if (own !== others) throw atRank("checkpoint/rank-layers", of.rank, undefined, `has ${own} layers of ${list}; ${known!.of.rank.folder.name}, of the same stage, has ${others}`)
    }
  }
  const totals = new Map<string, number>()
  const first = new Map<number, ReadonlyMap<string, number>>()
  for (const [stage, { layers }] of [...counts].sort(([a], [b]) => a - b)) {
    first.set(stage, new Map(totals))
    for (const [list, count] of layers) totals.set(list, (totals.get(list) ?? 0) + count)
  }
  return { first: (stage: number, list: string) => first.get(stage)?.get(list) ?? 0, totals: totals as ReadonlyMap<string, number> }
}

export interface PiecesOfRanks {
  /** In the order of the model. */
  readonly tensors: ReadonlyArray<RankPieces>
  readonly states: ReadonlyArray<StateOfRank>
  /** How many layers every list has. */
  readonly layers: ReadonlyMap<string, number>
}

/** Experts of a rank: as many as it numbers. */
const expertsIn = ({ keys }: NamedModel): number => keys.values().reduce((most, { expert }) => Math.max(most, (expert ?? -1) + 1), 0)

/** What all ranks hold, by stored key. Errors: InvalidFile `checkpoint/rank-layers`, `checkpoint/rank-experts`. */
export const piecesOf = (ranks: ReadonlyArray<Rank>, pp: number): PiecesOfRanks => {
  const models = namedModels(ranks)
  const { first, totals } = firstLayers(models, pp)
  const tensors = new Map<string, RankPieces>()
  const states = new Map<string, StateOfRank>()
  const [experts, ...others] = new Set(models.map(expertsIn).filter((count) => count > 0))
  if (others.length > 0) {
    const other = models.find((m) => expertsIn(m) === others[0])!
    throw atRank("checkpoint/rank-experts", other.rank, undefined, `has ${others[0]} experts, other ranks have ${experts}`)
  }
  for (const of of models.toSorted((a, b) => a.chunk - b.chunk)) {
    const { chunk, keys, model, rank } = of
    const globally = ({ expert, key }: RankKey): { readonly key: string; readonly expert?: number } => {
      const layer = blockLayer(key)
      const whole = layer ? `${layer.list}.${first(chunk * pp + rank.folder.pp, layer.list) + layer.index}.${layer.rest}` : key
      return { key: whole, ...(expert === undefined ? {} : { expert: rank.folder.ep * experts! + expert }) }
    }
    for (const [name, tensor] of model.tensors) {
      const own = globally(keys.get(name)!)
      const id = `${own.key} ${own.expert ?? ""}`
      const known = tensors.get(id)
      if (known) known.pieces.push({ rank, name, tensor })
      else tensors.set(id, { ...own, pieces: [{ rank, name, tensor }] })
    }
    for (const [name, state] of model.states) {
      const own = globally(keys.get(name)!)
      const id = `${own.key} ${own.expert ?? ""}`
      if (!states.has(id) || state === "filled") states.set(id, { ...own, state })
    }
  }
  return { tensors: [...tensors.values()], states: [...states.values()], layers: totals }
}
