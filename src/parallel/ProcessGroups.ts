/**
 * The process groups Megatron forms from a component's ranks, as lists of global ranks.
 *
 * Names are the fields of Megatron-Core's `ProcessGroupCollection`. Order is that of its `RankGenerator`: inside a group the
 * faster axis of the grid varies first, and so it does from group to group.
 */
import type { ModuleParallelism } from "./ModuleParallelism.ts"
import { type Axis, denseAxes, expertAxes } from "./RankGrid.ts"

/** Groups that span axes of the dense grid (tp, cp, dp, pp). */
const DENSE = {
  tp: ["tp"],
  pp: ["pp"],
  mp: ["tp", "pp"],
  cp: ["cp"],
  tp_cp: ["tp", "cp"],
  dp: ["dp"],
  dp_cp: ["cp", "dp"],
  tp_dp_cp: ["tp", "cp", "dp"]
} as const

/** Groups that span axes of the expert grid (etp, ep, edp, pp). `tp_ep` and `tp_ep_pp` mean the experts' tp. */
const EXPERT = {
  ep: ["ep"],
  expt_tp: ["etp"],
  expt_dp: ["edp"],
  tp_ep: ["etp", "ep"],
  tp_ep_pp: ["etp", "ep", "pp"]
} as const

export type ProcessGroupKind = keyof typeof DENSE | keyof typeof EXPERT | "embd" | "pos_embd"

/** All groups of one kind. */
export type RankGroups = ReadonlyArray<ReadonlyArray<number>>

/**
 * The groups of every kind.
 *
 * **Details**
 *
 * Every kind divides the component's ranks into groups of equal size, except the two that only some stages join:
 * `embd` is the first and the last stage of each pipeline (one rank if pp=1), which keep tied embeddings equal;
 * `pos_embd` is the first stage.
 *
 * **Gotchas**
 *
 * `embd` follows Megatron-Core's default and the MegatronMIMO builder. `pretrain_gpt.py` leaves the last stage out when
 * embeddings are untied, and adds the stages of multi-token-prediction layers.
 */
export type ProcessGroupCollection = Readonly<Record<ProcessGroupKind, RankGroups>>

/** The groups a rank is a member of; `embd` and `pos_embd` are absent on the stages that do not join. */
export type RankMembership = Readonly<Partial<Record<ProcessGroupKind, ReadonlyArray<number>>>>

/** Sums of one multiple of each axis' stride, the first axis fastest. */
const offsetsAlong = (axes: ReadonlyArray<Axis>): ReadonlyArray<number> =>
  axes.reduce<ReadonlyArray<number>>(
    (offsets, { size, stride }) =>
      Array.from({ length: size }, (_, index) => offsets.map((offset) => offset + index * stride)).flat(),
    [0]
  )

const groupsAlong = (start: number, grid: ReadonlyArray<Axis>, names: ReadonlyArray<string>): RankGroups => {
  const members = offsetsAlong(grid.filter(({ name }) => names.includes(name)))
  return offsetsAlong(grid.filter(({ name }) => !names.includes(name)))
    .map((first) => members.map((offset) => start + first + offset))
}

/** All process groups of a component. */
export const processGroups = (parallelism: ModuleParallelism): ProcessGroupCollection => {
  const dense = (kind: keyof typeof DENSE) => groupsAlong(parallelism.rankOffset, denseAxes(parallelism), DENSE[kind])
  const expert = (kind: keyof typeof EXPERT) => groupsAlong(parallelism.rankOffset, expertAxes(parallelism), EXPERT[kind])
  const pipelines = dense("pp")
  return {
    tp: dense("tp"),
    pp: pipelines,
    mp: dense("mp"),
    embd: pipelines.map((stages) => stages.length === 1 ? stages : [stages[0]!, stages.at(-1)!]),
    pos_embd: pipelines.map((stages) => [stages[0]!]),
    cp: dense("cp"),
    tp_cp: dense("tp_cp"),
    ep: expert("ep"),
    expt_tp: expert("expt_tp"),
    tp_ep: expert("tp_ep"),
    tp_ep_pp: expert("tp_ep_pp"),
    tp_dp_cp: dense("tp_dp_cp"),
    dp: dense("dp"),
    dp_cp: dense("dp_cp"),
    expt_dp: expert("expt_dp")
  }
}

/** The groups that `rank` is in, by kind; none at all for a rank of another component. */
export const groupsOf = (collection: ProcessGroupCollection, rank: number): RankMembership => {
  const membership: Partial<Record<ProcessGroupKind, ReadonlyArray<number>>> = {}
  for (const [kind, groups] of Object.entries(collection) as Array<[ProcessGroupKind, RankGroups]>) {
    const group = groups.find((ranks) => ranks.includes(rank))
    if (group !== undefined) membership[kind] = group
  }
  return membership
}

/** In the order of Megatron-Core's `ProcessGroupCollection`. */
export const processGroupKinds: ReadonlyArray<ProcessGroupKind> = [
  "tp", "pp", "mp", "embd", "pos_embd", "cp", "tp_cp", "ep", "expt_tp", "tp_ep", "tp_ep_pp", "tp_dp_cp", "dp", "dp_cp", "expt_dp"
]

const groupAlong = (rank: number, local: number, grid: ReadonlyArray<Axis>, names: ReadonlyArray<string>): ReadonlyArray<number> => {
  const along = grid.filter(({ name }) => names.includes(name))
  const first = along.reduce((at, { size, stride }) => at - (Math.floor(local / stride) % size) * stride, rank)
  return offsetsAlong(along).map((offset) => first + offset)
}

/**
 * The group of one kind that a rank of the component is in, without forming the others: what {@link groupsOf} finds among
 * {@link processGroups}. Undefined on stages that do not join.
 */
export const groupOf = (parallelism: ModuleParallelism, kind: ProcessGroupKind, rank: number): ReadonlyArray<number> | undefined => {
  const local = rank - parallelism.rankOffset
  if (kind === "embd" || kind === "pos_embd") {
    const stages = groupAlong(rank, local, denseAxes(parallelism), DENSE.pp)
    const joins = kind === "embd" && stages.length > 1 ? [stages[0]!, stages.at(-1)!] : [stages[0]!]
    return joins.includes(rank) ? joins : undefined
  }
  return kind in DENSE
    ? groupAlong(rank, local, denseAxes(parallelism), DENSE[kind as keyof typeof DENSE])
    : groupAlong(rank, local, expertAxes(parallelism), EXPERT[kind as keyof typeof EXPERT])
}
