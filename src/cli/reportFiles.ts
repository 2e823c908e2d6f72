/** Writing the report page and the verification card. */
import { Effect, Option } from "effect"
import { basename, dirname, join, resolve } from "node:path"
import { families } from "../../routes/index.ts"
import { UsageError } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls, writeFully } from "../io/Disk.ts"
import { present } from "../io/present.ts"
import { cardOf, type PageRequest, pageOf } from "../report/gather.ts"
import { renderPage } from "../report/renderPage.ts"

export interface ReportFlags {
  readonly report: Option.Option<string>
  readonly card: Option.Option<string>
}

export interface ReportTargets {
  readonly pages: ReadonlyArray<string>
  readonly cards: ReadonlyArray<string>
}

const isCard = (path: string): boolean => /\.ya?ml$/i.test(path)

/**
 * Where the flags want files: `--report` with a name in `.yaml` is a card. Checked before any work, so that a long run does not
 * end with a wrong path. Errors: UsageError, IoError.
 */
export const reportTargets = Effect.fnUntraced(function*(flags: ReportFlags) {
  const disk = yield* Disk
  const reports = Option.toArray(flags.report)
  const targets: ReportTargets = { pages: reports.filter((p) => !isCard(p)), cards: [...reports.filter(isCard), ...Option.toArray(flags.card)] }
  yield* attempt(async () => {
    for (const path of [...targets.pages, ...targets.cards]) {
      const folder = dirname(resolve(path))
      const above = await present(disk, folder)
      if (above === undefined) throw new UsageError({ problem: `the folder of ${path} does not exist` })
      const there = await present(disk, path)
      if (there !== undefined && there.kind !== "file") throw new UsageError({ problem: `${path} exists and is no file`, hint: "Name a file, e.g. report.html or card.yaml." })
    }
  })
  return targets
})

/** A dry run has nothing that a report could be about. @throws UsageError */
export const refuseDryReport = ({ card, dryRun, report }: ReportFlags & { readonly dryRun: boolean }): Effect.Effect<void, UsageError> =>
  dryRun && Option.isSome(Option.orElse(report, () => card))
    ? Effect.fail(new UsageError({
      problem: `--dry-run writes nothing, so there is nothing for ${Option.isSome(report) ? "--report" : "--card"} to report`,
      hint: "--dry-run --json gives the plan to machines."
    }))
    : Effect.void

/** Open the paths and write what the flags asked for; existing reports are replaced. */
export const writeReports = Effect.fnUntraced(function*(targets: ReportTargets, request: PageRequest) {
  if (targets.pages.length + targets.cards.length === 0) return
  const disk = yield* Disk
  const gathered = yield* pageOf(families, request)
  if (targets.pages.length > 0) {
    const html = Buffer.from(renderPage(gathered.page))
    yield* attempt(async () => { for (const path of targets.pages) await replace(disk, path, html) })
  }
  if (targets.cards.length > 0) {
    const card = Buffer.from(yield* cardOf(gathered))
    yield* attempt(async () => { for (const path of targets.cards) await replace(disk, path, card) })
  }
})

/** Nobody sees half a file. */
const replace = async (disk: DiskCalls, path: string, bytes: Uint8Array): Promise<void> => {
  const beside = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
  const file = await disk.open(beside, "create")
  try {
    try {
      await writeFully(file, bytes, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await disk.rename(beside, path)
  } catch (error) {
    await disk.remove(beside).catch(() => {})
    throw error
  }
}
