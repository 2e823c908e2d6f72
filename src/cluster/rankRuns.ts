/** Lists of ranks as runs: groups of a layout are regular, and a message that names 4 096 members has a dozen numbers. */

/** `count` ranks from `first`, `stride` apart. */
export type RankRun = readonly [first: number, count: number, stride: number]

export const runsOf = (ranks: ReadonlyArray<number>): ReadonlyArray<RankRun> => {
  const runs: Array<[first: number, count: number, stride: number]> = []
  for (const rank of ranks) {
    const last = runs.at(-1)
    if (last !== undefined && last[1] === 1 && rank > last[0]) {
      last[1] = 2
      last[2] = rank - last[0]
    } else if (last !== undefined && last[1] > 1 && rank === last[0] + last[1] * last[2]) last[1]++
    else runs.push([rank, 1, 1])
  }
  return runs
}

export const ranksIn = (runs: ReadonlyArray<RankRun>): ReadonlyArray<number> =>
  runs.flatMap(([first, count, stride]) => Array.from({ length: count }, (_, index) => first + index * stride))

/** `0-3`, `0,4,…,28`, `0,2` */
export const runsText = (runs: ReadonlyArray<RankRun>): string =>
  runs.map(([first, count, stride]) => {
    const last = first + (count - 1) * stride
    return count === 1 ? String(first) : stride === 1 ? `${first}-${last}` : count === 2 ? `${first},${last}` : `${first},${first + stride},…,${last}`
  }).join(",")

/** `0, 1, 5, … (12 in all)` */
export const someRanks = (ranks: ReadonlyArray<number>): string =>
  ranks.slice(0, 10).join(", ") + (ranks.length > 10 ? `, … (${ranks.length} in all)` : "")
