/** The files of a conversion as units of work for several processes. */
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

const bytesIn = (portion: Portion): number =>
  [...portion.values()].reduce((sum, ranges) => sum + ranges.reduce((n, { end, start }) => n + end - start, 0), 0)

const divided = (files: ReadonlyArray<TargetFile>, count: number): ReadonlyArray<Omit<WorkUnit, "owner">> =>
  portionsOf(files, count).filter((portion) => portion.size > 0).map((portion) => ({ portion, bytes: bytesIn(portion) }))

/**
 * Units for `ranks` processes, the same in all of them. `ownerOf`: the rank that writes a file, if every file has one; otherwise
 * neighbouring cells of all files go to the same rank, equal bytes to each.
 */
export const unitsOf = (files: ReadonlyArray<TargetFile>, ranks: number, ownerOf?: (file: string) => number): ReadonlyArray<WorkUnit> => {
  if (ownerOf) {
    return files.flatMap((file) => {
      const count = Math.min(MOST_EACH, Math.max(1, Math.ceil(file.size / USUAL)))
      return divided([file], count).map((unit) => ({ ...unit, owner: ownerOf(file.name) }))
    })
  }
  const total = files.reduce((sum, { size }) => sum + size, 0)
  const each = Math.min(MOST_EACH, Math.max(1, Math.floor(total / ranks / USUAL)))
  const units = divided(files, ranks * each)
  return units.map((unit, i) => ({ ...unit, owner: Math.min(ranks - 1, Math.floor((i * ranks) / units.length)) }))
}
