/** The files of a conversion as units of work for several processes. */
import { rankOf } from "../checkpoint/names.ts"
import { type Portion, portionsOf, type TargetFile } from "../engine/index.ts"

export interface WorkUnit {
  readonly portion: Portion
  readonly bytes: number
  /** The rank that has it first. */
  readonly owner: number
}

/** Bytes that a rank writes before it asks for more: starting and ending them is to cost nothing beside. */
const USUAL = 1 << 30
/** Units of a rank when it has much to do: what a slow one has left, others take. */
const MOST_EACH = 8

const bytesOf = (files: ReadonlyArray<TargetFile>): number => files.reduce((sum, { size }) => sum + size, 0)

const bytesIn = (portion: Portion): number =>
  [...portion.values()].reduce((sum, ranges) => sum + ranges.reduce((n, { end, start }) => n + end - start, 0), 0)

const divided = (files: ReadonlyArray<TargetFile>, count: number): ReadonlyArray<Omit<WorkUnit, "owner">> =>
  portionsOf(files, count).filter((portion) => portion.size > 0).map((portion) => ({ portion, bytes: bytesIn(portion) }))

/** The rank of a trainer that writes each file, by its name; the first one what no rank does. Undefined if there are more than these ranks, or none. */
const writersOf = (files: ReadonlyArray<TargetFile>, ranks: number): ReadonlyArray<number> | undefined => {
  const writers = files.map(({ name }) => rankOf(name)?.rank)
  return writers.some((rank) => rank !== undefined) && writers.every((rank) => (rank ?? 0) < ranks) ? writers.map((rank) => rank ?? 0) : undefined
}

/**
 * Units for `processes`, the same in all of them. Are there as many as ranks in the layout of the files, then each one first writes what that
 * rank of a trainer would write; otherwise neighbouring cells of all files go to the same process, equal bytes to each.
 */
export const unitsOf = (files: ReadonlyArray<TargetFile>, processes: number, layoutRanks?: number): ReadonlyArray<WorkUnit> => {
  const writers = layoutRanks === processes ? writersOf(files, processes) : undefined
  if (writers) {
    return [...Map.groupBy(files, (_, i) => writers[i]!)].flatMap(([owner, own]) => {
      const count = Math.min(MOST_EACH, Math.max(1, Math.ceil(bytesOf(own) / USUAL)))
      return divided(own, count).map((unit) => ({ ...unit, owner }))
    })
  }
  const total = bytesOf(files)
  const each = Math.min(MOST_EACH, Math.max(1, Math.floor(total / processes / USUAL)))
  const units = divided(files, processes * each)
  return units.map((unit, i) => ({ ...unit, owner: Math.min(processes - 1, Math.floor((i * processes) / units.length)) }))
}
