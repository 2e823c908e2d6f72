/** The ranks that a checkpoint is meant for. */
import type { Inspection } from "../../inspect/Inspection.ts"
import { modelParallelSize, rankCount } from "../../parallel/ModuleParallelism.ts"
import type { ComponentLayout } from "../../runconfig/layout.ts"

export interface Ranks {
  readonly layout: ReadonlyArray<ComponentLayout>
  /** The data-parallel size is the smallest that the experts and the files allow: a standard run configuration does not record it. */
  readonly dpInferred: boolean
}

const greatestCommonDivisor = (a: number, b: number): number => {
  while (b !== 0) [a, b] = [b, a % b]
  return a
}

/** The recorded layout. Only that of a MIMO model says its data-parallel sizes. */
export const recordedRanks = ({ files, form, model: { layout } }: Inspection): Ranks => {
  const [own, ...others] = layout
  if (form === "mimo" || !own || others.length > 0) return { layout, dpInferred: false }
  const experts = own.ep * own.etp
  const step = experts / greatestCommonDivisor(own.tp * own.cp, experts)
  const written = files.reduce((most, f) => Math.max(most, f.chunks > 0 ? (f.rank ?? -1) + 1 : 0), 0)
  const dp = Math.max(own.dp, step, step * Math.ceil(written / (modelParallelSize(own) * step)))
  return { layout: [{ ...own, dp }], dpInferred: rankCount({ ...own, dp }) > rankCount(own) }
}
