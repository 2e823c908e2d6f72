/** Layer lists and numbers in few characters; many things in few groups. */
import { ranges } from "../../inspect/tree.ts"

/** The last two segments of a layer list: `decoder.layers`. */
export const shortStack = (stack: string): string => stack.split(".").slice(-2).join(".")

const LONGEST_RANGES = 24

/** `0-3`, or `0,4,… 92` where that would be long. */
export const shortRanges = (numbers: ReadonlyArray<number>): string => {
  const all = ranges(numbers)
  if (all.length <= LONGEST_RANGES) return all
  const parts = all.split(",")
  return `${parts.slice(0, 2).join(",")},… ${parts.at(-1)}`
}

/** At most so many groups of neighbours, of equal sizes. */
export const bucket = <T>(items: ReadonlyArray<T>, most: number): ReadonlyArray<ReadonlyArray<T>> => {
  const each = Math.max(1, Math.ceil(items.length / most))
  return Array.from({ length: Math.ceil(items.length / each) }, (_, k) => items.slice(k * each, (k + 1) * each))
}
