/** Gathering what a report page and a verification card show. */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { surveyAdapters } from "../adapters/survey/survey.ts"
import type { AdapterFacts } from "../adapters/survey/AdapterFacts.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { BACKEND, METADATA, RUN_CONFIG } from "../checkpoint/names.ts"
import { CHECKSUMS } from "../publish/integrity/names.ts"
import type { ConversionReport } from "../plan/Report.ts"
import type { ImportPlan } from "../plan/ImportPlan.ts"
import type { VerifyReport } from "../verify/pairing.ts"
import type { DiffReport } from "../diff/diff.ts"
import { isBridgeError } from "../errors.ts"
import { inspection } from "../inspect/Inspection.ts"
import { withComponents } from "../space/components.ts"
import { openSpace } from "../space/openSpace.ts"
import type { OpenedSpace } from "../space/OpenedSpace.ts"
import { oneLine } from "../quote.ts"
import { reading } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import type { Store } from "../store/Store.ts"
import { readFully } from "../store/Store.ts"
import { present } from "../store/present.ts"
import { VERSION } from "../version.ts"
import { type CardHash, verificationCard } from "./card.ts"
import { coverageOf } from "./coverage.ts"
import type { Page } from "./PageData.ts"
import { plannedSpace } from "./planned.ts"

export interface PageRequest {
  /** What was run. */
  readonly command: string
  readonly paths: ReadonlyArray<string>
  readonly seconds?: number
  readonly conversion?: ConversionReport
  readonly verify?: VerifyReport
  readonly diff?: DiffReport
  /** Of an import that is planned: the checkpoint that it would write, which stands behind those at `paths`. */
  readonly plan?: ImportPlan
}

export interface Gathered {
  readonly page: Page
  readonly spaces: ReadonlyArray<OpenedSpace>
}

const coverageIn = (families: FamilyRegistry, spaces: ReadonlyArray<OpenedSpace>, conversion?: ConversionReport): Pick<Page, "coverage" | "coverageNote"> => {
  const hf = spaces.find((s) => s.hfConfig !== undefined)
  const megatron = spaces.find((s) => s.kind === "megatron")
  if (!hf || !megatron) return {}
  try {
    const coverage = coverageOf(families, hf, megatron, conversion?.direction === "import" ? conversion.leftBehind : [])
    return coverage ? { coverage } : {}
  } catch (error) {
    // The two may not belong together; what each of them holds is worth a page all the same.
    if (isBridgeError(error)) return { coverageNote: oneLine(error.message) }
    throw error
  }
}

/** Open the paths, headers only, and put together what is known of them. */
export const pageOf = Effect.fnUntraced(function*(families: FamilyRegistry, { command, conversion, diff, paths, plan, seconds, verify }: PageRequest) {
  const spaces: Array<OpenedSpace> = []
  const adapters = new Map<OpenedSpace, AdapterFacts | undefined>()
  for (const path of paths) {
    const space = yield* openSpace(path, families)
    spaces.push(space)
    adapters.set(space, yield* surveyAdapters(space, { norms: true }))
  }
  const shown = plan ? [...spaces, withComponents(plannedSpace(plan), families)] : spaces
  const page: Page = {
    version: VERSION,
    made: new Date().toISOString().replace(/\.\d+/, ""),
    command,
    ...(seconds === undefined ? {} : { seconds }),
    subjects: shown.map((space) => inspection(space, { boxes: true, adapter: adapters.get(space) })),
    ...(conversion ? { conversion } : {}),
    ...(verify ? { verify } : {}),
    ...(diff ? { diff } : {}),
    ...(command === "plan" ? { planned: true } as const : {}),
    ...coverageIn(families, shown, conversion)
  }
  return { page, spaces } satisfies Gathered
})

/** The card of a page, with the hashes of the files that identify its checkpoints. */
export const cardOf = Effect.fnUntraced(function*({ page, spaces }: Gathered) {
  const store = yield* storeInUse
  const hashes = yield* reading(async () => (await Promise.all(spaces.map((space) => hashesOf(store, space)))).flat())
  return verificationCard(page, { node: process.versions.node, hashes })
})

const IDENTIFYING = [METADATA, BACKEND, RUN_CONFIG, "config.json", "model.safetensors.index.json", CHECKSUMS]
const BLOCK = 4 << 20

/** Of the small files that say what the data files hold; `.checksums.json` has the sums of those. */
const hashesOf = async (store: Store, space: OpenedSpace): Promise<ReadonlyArray<CardHash>> => {
  const out: Array<CardHash> = []
  for (const name of IDENTIFYING) {
    const path = join(space.directory, name)
    if ((await present(store, path))?.kind !== "file") continue
    const file = await store.open(path, "read")
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
