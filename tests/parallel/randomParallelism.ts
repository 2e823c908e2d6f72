import type { ModuleParallelism } from "../../src/parallel/ModuleParallelism.ts"

/** mulberry32: the same numbers on every run. */
const random = (seed: number) => (below: number): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) % below
}

/** Valid parallelisms of all shapes, up to a few hundred ranks. Sizes that are no powers of two are among them. */
export const randomParallelisms = (count: number, seed = 1): ReadonlyArray<ModuleParallelism> => {
  const next = random(seed)
  const oneOf = (sizes: ReadonlyArray<number>): number => sizes[next(sizes.length)]!
  const found: Array<ModuleParallelism> = []
  while (found.length < count) {
    const [tp, cp, dp] = [oneOf([1, 2, 3, 4]), oneOf([1, 2, 3]), oneOf([1, 2, 3, 4])]
    const [ep, etp] = [oneOf([1, 2, 3, 4, 8]), oneOf([1, 2, 4])]
    if ((tp * cp * dp) % (ep * etp) === 0) found.push({ tp, cp, dp, ep, etp, pp: oneOf([1, 2, 3, 4]), rankOffset: next(9) })
  }
  return found
}

/** A parallelism of which only the interesting sizes are named. */
export const parallelism = (sizes: Partial<ModuleParallelism>): ModuleParallelism =>
  ({ tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0, ...sizes })

/** The ranks a parallelism owns, by counting. */
export const ranksOf = (p: ModuleParallelism): ReadonlyArray<number> =>
  Array.from({ length: p.tp * p.cp * p.dp * p.pp }, (_, index) => p.rankOffset + index)
