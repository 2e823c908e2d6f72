/** `--report FILE` and `--card FILE`. */
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import type { ReportPaths } from "../../api/reportFiles.ts"
import { UsageError } from "../../errors.ts"
import { pathFlag } from "../paths.ts"
import type { Values } from "./Values.ts"

export const report = pathFlag("report", "file").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Also write a self-contained HTML page (or, if FILE ends in .yaml, the card) about it"),
  Flag.optional
)

/** Of commands that have no card. */
export const page = pathFlag("report", "file").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Also write a self-contained HTML page about it"),
  Flag.optional
)

export const card = pathFlag("card", "file").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Also write a verification card: YAML with model, versions, hashes, counts and timings"),
  Flag.optional
)

/** Of commands that have both. */
const reported = { report, card }

export const reportPaths = ({ card: yaml, report: html }: Values<typeof reported>): ReportPaths => ({
  ...(Option.isSome(html) ? { report: html.value } : {}),
  ...(Option.isSome(yaml) ? { card: yaml.value } : {})
})

/** A dry run has nothing that a report could be about. @throws UsageError */
export const refuseDryReport = ({ card, dryRun, report }: Values<typeof reported> & { readonly dryRun: boolean }): Effect.Effect<void, UsageError> =>
  dryRun && Option.isSome(Option.orElse(report, () => card))
    ? Effect.fail(new UsageError({
      problem: `--dry-run writes nothing, so there is nothing for ${Option.isSome(report) ? "--report" : "--card"} to report`,
      hint: "`plan` with the same flags writes one about the plan; --dry-run --json gives it to machines."
    }))
    : Effect.void
