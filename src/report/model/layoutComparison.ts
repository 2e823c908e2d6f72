/** Two or more checkpoints of ranks side by side: what each rank of either has to hold. */
import type { Inspection } from "../../inspect/Inspection.ts"
import { rankCount, rankRange } from "../../parallel/ModuleParallelism.ts"
import { AXES } from "./rankColumns.ts"
import type { RankMap } from "./rankMap.ts"
import { recordedRanks } from "./ranksOf.ts"

export interface LayoutFigures {
  readonly path: string
  /** `language: tp 2, pp 2, ranks 0-7`. */
  readonly components: ReadonlyArray<string>
  readonly ranks: number
  /** Weights per rank. */
  readonly least: number
  readonly mean: number
  readonly most: number
  /** Ranks that hold the most. */
  readonly fullest: string
  readonly expertsPerRank: number
  /** Ranks that hold the same as another. */
  readonly replicas: number
  readonly files: number
  readonly chunks: number
}

export const layoutFigures = (i: Inspection, map: RankMap): LayoutFigures => {
  const ranks = map.columns.reduce((n, c) => n + c.ranks.length, 0)
  const bytes = map.columns.reduce((n, c) => n + c.bytes * c.ranks.length, 0)
  const most = Math.max(0, ...map.columns.map((c) => c.bytes))
  return {
    path: i.path,
    components: recordedRanks(i).layout.map((l) =>
      `${l.component}: ${AXES.filter((axis) => l[axis] > 1).map((axis) => `${axis} ${l[axis]}`).join(", ") || "one rank"}, ${rankCount(l) === 1 ? "rank" : "ranks"} ${rankRange(l.rankOffset, rankCount(l))}`),
    ranks,
    least: Math.min(...map.columns.map((c) => c.bytes)),
    mean: ranks === 0 ? 0 : bytes / ranks,
    most,
    fullest: map.columns.filter((c) => c.bytes === most).map((c) => c.label).join(", "),
    expertsPerRank: Math.max(0, ...map.columns.map((c) => c.expertsEach)),
    replicas: ranks - map.columns.reduce((n, c) => n + c.contents, 0),
    files: i.totals.files,
    chunks: i.totals.chunks
  }
}
