/**
 * The process groups of one component as this process has them: the ranks follow from the layout by arithmetic (src/parallel), the
 * groups live over the world. A component's route is given its own collection and no other; a process outside the component has none,
 * and skips it.
 */
import { type LayoutComponent, rankCount } from "../parallel/ModuleParallelism.ts"
import { groupOf, type ProcessGroupKind, processGroupKinds } from "../parallel/ProcessGroups.ts"
import { coordinatesOf, ownsRank, type RankCoordinates } from "../parallel/RankGrid.ts"
import type { Communicator, WorldCalls } from "./World.ts"

/** Fields are those of Megatron-Core's `ProcessGroupCollection`; `embd` and `pos_embd` are absent on stages that do not join. */
export type LiveGroups = Readonly<Partial<Record<ProcessGroupKind, Communicator>>>

/** The groups of one component that this process is in, and where in the component it stands. */
export interface LiveProcessGroupCollection extends LiveGroups {
  readonly component: string
  /** Of the world. */
  readonly rank: number
  readonly at: RankCoordinates
  /** All ranks of the component. */
  readonly all: Communicator
}

/** The groups of component that this process is in; undefined outside the component. */
export const processGroupsOf = (world: WorldCalls, { name, parallelism }: LayoutComponent): LiveProcessGroupCollection | undefined => {
  const rank = world.rank
  if (!ownsRank(parallelism, rank)) return undefined
  const everyone = Array.from({ length: rankCount(parallelism) }, (_, index) => parallelism.rankOffset + index)
  const groups: Partial<Record<ProcessGroupKind, Communicator>> = {}
  for (const kind of processGroupKinds) {
    const ranks = groupOf(parallelism, kind, rank)
    if (ranks === undefined) continue
    // The lowest rank tells groups of one kind apart: no two share a member.
    groups[kind] = world.group(`${name}/${kind}/${Math.min(...ranks)}`, ranks)!
  }
  return { ...groups, component: name, rank, at: coordinatesOf(parallelism, rank), all: world.group(`${name}/all`, everyone)! }
}

/** Of every component that this process is part of, by name: one in a layout whose components lie side by side. */
export const collectionsOf = (world: WorldCalls, components: ReadonlyArray<LayoutComponent>): ReadonlyMap<string, LiveProcessGroupCollection> => {
  const own = components.flatMap((component): Array<readonly [string, LiveProcessGroupCollection]> => {
    const collection = processGroupsOf(world, component)
    return collection === undefined ? [] : [[component.name, collection]]
  })
  return new Map(own)
}
