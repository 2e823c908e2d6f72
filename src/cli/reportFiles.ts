/** Gathering what a report page shows, and writing the page and the verification card. */
import { Effect, Option } from "effect"
import { createHash } from "node:crypto"
import { basename, dirname, join, resolve } from "node:path"
import { families } from "../../routes/index.ts"
import { BACKEND, METADATA, RUN_CONFIG } from "../checkpoint/names.ts"
import type { ConversionReport } from "../convert/Report.ts"
import type { VerifyReport } from "../convert/verify.ts"
import { isBridgeError, UsageError } from "../errors.ts"
import { familyComponents } from "../inspect/familyComponents.ts"
import { inspection } from "../inspect/Inspection.ts"
import { openSpace } from "../inspect/openSpace.ts"
import type { Space } from "../inspect/Space.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls, readFully, writeFully } from "../io/Disk.ts"
import { present } from "../io/present.ts"
import { type CardHash, verificationCard } from "../report/card.ts"
import { coverageOf } from "../report/coverage.ts"
import { renderPage } from "../report/renderPage.ts"
import type { Page } from "../report/PageData.ts"
import { VERSION } from "../version.ts"

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

export interface ReportContents {
  readonly command: string
  readonly paths: ReadonlyArray<string>
  readonly seconds?: number
  readonly conversion?: ConversionReport
  readonly verify?: VerifyReport
}

const coverageIn = (spaces: ReadonlyArray<Space>, conversion?: ConversionReport): Pick<Page, "coverage" | "coverageNote"> => {
  const hf = spaces.find((s) => s.hfConfig !== undefined)
  const megatron = spaces.find((s) => s.checkpoint !== undefined)
  if (!hf || !megatron) return {}
  try {
    const coverage = coverageOf(families, hf, megatron, conversion?.direction === "import" ? conversion.leftBehind : [])
    return coverage ? { coverage } : {}
  } catch (error) {
    // The two may not belong together; what each of them holds is worth a page all the same.
    if (isBridgeError(error)) return { coverageNote: error.message }
    throw error
  }
}

/** Open the paths and write what the flags asked for; existing reports are replaced. */
export const writeReports = Effect.fnUntraced(function*(targets: ReportTargets, contents: ReportContents) {
  if (targets.pages.length + targets.cards.length === 0) return
  const disk = yield* Disk
  const spaces: Array<Space> = []
  for (const path of contents.paths) spaces.push(yield* openSpace(path))
  const { conversion } = contents
  const page: Page = {
    version: VERSION,
    made: new Date().toISOString().replace(/\.\d+/, ""),
    command: contents.command,
    ...(contents.seconds === undefined ? {} : { seconds: contents.seconds }),
    subjects: spaces.map((space) => {
      const component = familyComponents(families, space)
      return inspection(space, { boxes: true, ...(component ? { component } : {}) })
    }),
    ...(conversion ? { conversion } : {}),
    ...(contents.verify ? { verify: contents.verify } : {}),
    ...coverageIn(spaces, conversion)
  }
  yield* attempt(async () => {
    const html = targets.pages.length > 0 ? Buffer.from(renderPage(page)) : undefined
    for (const path of targets.pages) await replace(disk, path, html!)
    if (targets.cards.length === 0) return
    const hashes = (await Promise.all(spaces.map((space) => hashesOf(disk, space)))).flat()
    const card = Buffer.from(verificationCard(page, { node: process.versions.node, hashes }))
    for (const path of targets.cards) await replace(disk, path, card)
  })
})

const IDENTIFYING = [METADATA, BACKEND, RUN_CONFIG, "config.json", "model.safetensors.index.json", ".checksums.json"]
const BLOCK = 4 << 20

/** Of the small files that say what the data files hold; `.checksums.json` has the sums of those. */
const hashesOf = async (disk: DiskCalls, space: Space): Promise<ReadonlyArray<CardHash>> => {
  const out: Array<CardHash> = []
  for (const name of IDENTIFYING) {
    const path = join(space.directory, name)
    if ((await present(disk, path))?.kind !== "file") continue
    const file = await disk.open(path, "read")
    try {
      const { size } = await file.info()
      const hash = createHash("sha256")
      const block = new Uint8Array(Math.min(BLOCK, size))
      for (let at = 0; at < size; at += BLOCK) {
        const part = block.subarray(0, Math.min(BLOCK, size - at))
        await readFully(file, part, at)
        hash.update(part)
      }
      out.push({ path, bytes: size, sha256: hash.digest("hex") })
    } finally {
      await file.close()
    }
  }
  return out
}

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
