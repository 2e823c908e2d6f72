/** A plan that says who writes what. */
import { SHARED_ENGINE, withProcesses } from "../convert/shares.ts"
import type { EngineLimits, TargetFile } from "../engine/index.ts"
import { UsageError } from "../errors.ts"
import type { Layout } from "../parallel/Layout.ts"
import type { ConversionReport } from "../plan/Report.ts"
import { MAX_RANKS } from "./requests.ts"

export { SHARED_ENGINE }
export { runsText } from "../cluster/rankRuns.ts"
export { processGroupKinds } from "../parallel/ProcessGroups.ts"

/** Whether it is to be said who writes what. */
export interface Shared {
  /** By so many processes. Default: it is not said. */
  readonly processes?: number
  /** How each of them runs. Default: as `--processes` has it. */
  readonly engine?: EngineLimits
}

/** The report, which says who writes what if that is asked for. `layout`: that of an import. @throws UsageError for a number that is none */
export const withShares = (report: ConversionReport, { engine = SHARED_ENGINE, processes }: Shared, files: ReadonlyArray<TargetFile>, layout?: Layout): ConversionReport => {
  if (processes === undefined) return report
  if (!Number.isInteger(processes) || processes < 1 || processes > MAX_RANKS) throw new UsageError({ problem: `${processes} processes: a whole number from 1 to ${MAX_RANKS} is needed` })
  return withProcesses(report, files, { engine, processes }, layout)
}
