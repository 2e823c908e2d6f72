/** Writing the report page and the verification card. */
import { Effect } from "effect"
import { basename, dirname, join, resolve } from "node:path"
import { UsageError } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls, writeFully } from "../io/Disk.ts"
import { present } from "../store/present.ts"
import type { PageRequest } from "../report/gather.ts"
import { reportRoom } from "./reportRoom.ts"
import { familiesOf, type WithFamilies } from "./requests.ts"

export interface ReportPaths {
  /** The page; a name in `.yaml` makes it the card. */
  readonly report?: string
  readonly card?: string
}

export interface ReportTargets {
  readonly pages: ReadonlyArray<string>
  readonly cards: ReadonlyArray<string>
}

const isCard = (path: string): boolean => /\.ya?ml$/i.test(path)

/**
 * Where files are to be. Checked before any work, so that a long run does not end with a wrong path. Errors: UsageError, IoError.
 */
export const reportTargets = Effect.fnUntraced(function*({ card, report }: ReportPaths) {
  const disk = yield* Disk
  const reports = report === undefined ? [] : [report]
  const targets: ReportTargets = { pages: reports.filter((p) => !isCard(p)), cards: [...reports.filter(isCard), ...(card === undefined ? [] : [card])] }
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

/** The same where there is only a page to write. Errors: UsageError, IoError. */
export const pageTargets = Effect.fnUntraced(function*(command: string, report: string | undefined) {
  const targets = yield* reportTargets(report === undefined ? {} : { report })
  if (targets.cards.length > 0) {
    return yield* new UsageError({ problem: `${command} writes a page, and no card`, hint: "Name an HTML file, e.g. report.html; --json gives the result to machines." })
  }
  return targets
})

/** Open the paths of `request` and write what is wanted; existing reports are replaced. */
export const writeReports = Effect.fnUntraced(function*(targets: ReportTargets, request: PageRequest & WithFamilies) {
  if (targets.pages.length + targets.cards.length === 0) return
  const disk = yield* Disk
  const { cardOf, pageOf, renderPage } = yield* reportRoom
  const gathered = yield* pageOf(familiesOf(request), request)
  if (targets.pages.length > 0) {
    const html = Buffer.from(renderPage(gathered.page))
    yield* attempt(async () => { for (const path of targets.pages) await replaceFile(disk, path, html) })
  }
  if (targets.cards.length > 0) {
    const card = Buffer.from(yield* cardOf(gathered))
    yield* attempt(async () => { for (const path of targets.cards) await replaceFile(disk, path, card) })
  }
})

/** Nobody sees half a file. */
export const replaceFile = async (disk: DiskCalls, path: string, bytes: Uint8Array): Promise<void> => {
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
