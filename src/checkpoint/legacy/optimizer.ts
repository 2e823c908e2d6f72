/**
 * The optimizer of a `torch` checkpoint in model space: for every state one tensor per model tensor, of the same shape, made of the same
 * pieces; and what the optimizer says of its groups (training-checkpoints.md 2.2, 4.4).
 */
import { Effect, Stream } from "effect"
import { compare } from "../../engine/index.ts"
import { InvalidFile } from "../../errors.ts"
import { dictOf, type PlainValue, withEntries } from "../../torch/ArchiveEdit.ts"
import type { StoredTensor } from "../../torch/DcpMetadata.ts"
import { PickleDict, PickleList, type PickleValue } from "../../torch/PickleValue.ts"
import { NotRead, statesOfRank } from "./optimizerStates.ts"
import type { Piece, Rank } from "./pieces.ts"
import type { RankTensor, RankValue } from "./RankArchive.ts"
import { pieceArray } from "./replicas.ts"

export interface OptimizerOfRanks {
  /** By their keys in `torch_dist`. */
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** What a trainer calls this form; undefined for an optimizer that is not distributed. */
  readonly shardingType: "fully_reshardable" | undefined
  /** The entry of the common state: groups without their tensors. */
  readonly common: PickleValue
  /** Masters and the weights that they are of. */
  readonly masters: ReadonlyArray<{ readonly weights: Piece; readonly master: Piece }>
}

/** The file of a rank's flat states, and what it holds. */
export interface FlatStates {
  readonly file: string
  readonly path: string
  readonly size: number
  readonly value: RankValue
}

const MASTERS: ReadonlySet<string> = new Set(["param", "fp32_param"])

/** The same ranks as if the tensors of one state, in the file that they are in, were the model's. */
const ranksWith = (ranks: ReadonlyArray<Rank>, flat: ReadonlyArray<FlatStates | undefined>, of: (rank: number, chunk: number) => ReadonlyMap<string, RankTensor> | undefined): ReadonlyArray<Rank> =>
  ranks.map((rank, r) => ({
    ...rank,
    archive: { ...rank.archive, ...(flat[r] ? { file: flat[r].file, path: flat[r].path } : {}), models: rank.archive.models.map((_, chunk) => ({ tensors: of(r, chunk) ?? new Map<string, RankTensor>(), states: new Map() })) }
  }))

const GROUPS = "param_groups"

/** `params` are numbers of this rank's tensors, and nothing else is a rank's own. */
const groupsIn = (value: PickleValue): PickleValue => {
  if (!(value instanceof PickleDict)) return value
  const [inner, groups] = [value.get("optimizer"), value.get(GROUPS)]
  const changes = new Map<string, PlainValue | undefined>([["state", undefined], ["fp32_from_fp16_params", undefined]])
  if (inner instanceof PickleDict) changes.set("optimizer", groupsIn(inner) as PickleDict)
  if (groups instanceof PickleList) changes.set(GROUPS, withoutParams(groups))
  return withEntries(value, changes)
}

const withoutParams = (groups: PickleList): PickleList => {
  const list = new PickleList()
  for (const group of groups.items) list.push(group instanceof PickleDict ? withEntries(group, new Map([["params", undefined]])) : group)
  return list
}

/** A chained optimizer is a list on a rank, and a dict by number in a common state. */
const commonOf = (value: PickleValue, shardingType: string | undefined): PickleValue => {
  const typed = (one: PickleValue): PickleValue => {
    const groups = groupsIn(one)
    return groups instanceof PickleDict && shardingType !== undefined ? withEntries(groups, new Map([["param_state_sharding_type", shardingType]])) : groups
  }
  return value instanceof PickleList ? dictOf(value.items.map((one, i) => [i, typed(one) as PickleDict] as const)) : typed(value)
}

/**
 * `distributed`: the flat states of every rank, where there are any; `join`: from ranks to the stored tensors of what they hold.
 * NotRead: why the optimizer stays behind. Undefined: the ranks have none.
 */
export const optimizerOfRanks = (
  ranks: ReadonlyArray<Rank>,
  distributed: ReadonlyArray<FlatStates | undefined>,
  join: (ranks: ReadonlyArray<Rank>) => ReadonlyMap<string, StoredTensor>
): OptimizerOfRanks | NotRead | undefined => {
  const found = ranks.map((rank, r) => statesOfRank(rank, distributed[r]?.value))
  const problem = found.findIndex((states) => states instanceof NotRead)
  if (problem >= 0) return new NotRead(`${ranks[problem]!.folder.name}: ${(found[problem] as NotRead).why}`)
  const states = found.map((own) => (own instanceof NotRead ? undefined : own))
  if (states.every((own) => own === undefined)) return undefined
  if (states.includes(undefined)) return new NotRead(`${ranks[states.indexOf(undefined)]!.folder.name} has none, other ranks have`)
  const names = new Set(states.flatMap((own) => own!.flatMap((chunk) => [...chunk.keys()])))
  const tensors = new Map<string, StoredTensor>()
  const masters: Array<OptimizerOfRanks["masters"][number]> = []
  for (const state of names) {
    const own = ranksWith(ranks, distributed, (r, chunk) => states[r]![chunk]!.get(state))
    try {
      for (const [key, tensor] of join(own)) tensors.set(`optimizer.state.${state}.${key}`, tensor)
    } catch (error) {
      if (!(error instanceof InvalidFile)) throw error
      return new NotRead(`${state}: ${error.summary}`)
    }
    if (!MASTERS.has(state)) continue
    for (const [r, rank] of ranks.entries()) {
      for (const [chunk, { tensors: weights }] of rank.archive.models.entries()) {
        for (const [name, tensor] of states[r]![chunk]!.get(state) ?? []) masters.push({ weights: { rank, name, tensor: weights.get(name)! }, master: { rank: own[r]!, name, tensor } })
      }
    }
  }
  const shardingType = distributed.some((own) => own !== undefined) ? "fully_reshardable" as const : undefined
  return { tensors, shardingType, common: commonOf(ranks[0]!.archive.pickledOptimizer ?? null, shardingType), masters }
}

/** The first weights that are not their master's, rounded; undefined: the optimizer is proved to be of these weights. Reads both. */
export const firstUnprovedMaster = Effect.fnUntraced(function*({ masters }: OptimizerOfRanks) {
  let at = 0
  let first: Piece | undefined
  yield* compare(Iterator.from(masters).map(({ master, weights }) => ({
    array: { ...pieceArray(master), dtype: weights.tensor.dtype },
    with: pieceArray(weights)
  }))).pipe(Stream.runForEach(({ equal }) =>
    Effect.sync(() => {
      const { weights } = masters[at++]!
      if (!equal) first ??= weights
    })))
  return first
})
