/** `--report FILE` and `--card FILE`. */
import { Effect, Option } from "effect"
import type { ReportPaths } from "../api/reportFiles.ts"
import { UsageError } from "../errors.ts"

export interface ReportFlags {
  readonly report: Option.Option<string>
  readonly card: Option.Option<string>
}

export const reportPaths = ({ card, report }: ReportFlags): ReportPaths => ({
  ...(Option.isSome(report) ? { report: report.value } : {}),
  ...(Option.isSome(card) ? { card: card.value } : {})
})

/** A dry run has nothing that a report could be about. @throws UsageError */
export const refuseDryReport = ({ card, dryRun, report }: ReportFlags & { readonly dryRun: boolean }): Effect.Effect<void, UsageError> =>
  dryRun && Option.isSome(Option.orElse(report, () => card))
    ? Effect.fail(new UsageError({
      problem: `--dry-run writes nothing, so there is nothing for ${Option.isSome(report) ? "--report" : "--card"} to report`,
      hint: "`plan` with the same flags writes one about the plan; --dry-run --json gives it to machines."
    }))
    : Effect.void
