/**
 * Complete checkpoint directories written by the reference system: importing the case's HF checkpoint at the same layout gives
 * the same `.distcp` files byte for byte; the directory is read and exported, with the original at hand (nothing is lost) and
 * with its config alone (exactly what the reference loses is lost).
 */
import { Effect, Stream } from "effect"
import { copyFile, mkdir, readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { openCheckpoint } from "../space/Checkpoint.ts"
import { prepareExport } from "../convert/prepareExport.ts"
import { prepareImport } from "../convert/prepareImport.ts"
import { exportArray } from "../plan/ExportDraft.ts"
import { digest } from "../engine/index.ts"
import type { BridgeError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import type { ConformanceCase } from "./Case.ts"
import { writeHfCheckpoint } from "./HfCheckpoint.ts"
import { type CaseResult, compareDirectories, formOfCase, inTemporary, layoutOf, referenceDtype } from "./Runner.ts"

const KEEP = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

/** Our first files of every rank against the reference's. */
const compareFiles = async (ours: string, theirs: string): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  const data = (names: ReadonlyArray<string>) => names.filter((name) => /^__\d+_0\.distcp$/.test(name))
  const [a, b] = [data(await readdir(ours)), data(await readdir(theirs))]
  for (const name of new Set([...a, ...b])) {
    if (!a.includes(name) || !b.includes(name)) problems.push(`${name} is written by one side only`)
    else if (!(await readFile(join(ours, name))).equals(await readFile(join(theirs, name)))) problems.push(`${name} differs from the reference's file`)
  }
  return problems
}

/** Export with the config alone: every tensor equals the source but those that the reference's own export changes or lacks. */
const compareBareExport = Effect.fnUntraced(function*(families: FamilyRegistry, c: ConformanceCase, hf: string, bare: string, checkpoint: string) {
  if (!c.export?.ok) return []
  const problems: Array<string> = []
  const digestsOf = Effect.fnUntraced(function*(model: string, path: string) {
    const { plan } = yield* prepareExport(families, model, path, KEEP)
    const digests = new Map<string, string>()
    yield* digest([...plan.tensors.values()].map((t) => exportArray(plan, t))).pipe(
      Stream.runForEach(({ id, sha256 }) => Effect.sync(() => digests.set(id, sha256))))
    return digests
  })
  const withOriginal = yield* digestsOf(hf, checkpoint)
  const alone = yield* digestsOf(bare, checkpoint)
  const different = new Map(c.export.different.map((d) => [d.name, d.sha256]))
  for (const { name } of c.hf.tensors) {
    const sha = alone.get(name)
    if (c.export.missing.includes(name) !== (sha === undefined)) problems.push(`export of the config alone: ${name} ${sha ? "is there" : "is missing"}`)
    else if (sha !== undefined && sha !== (different.get(name) ?? withOriginal.get(name))) problems.push(`export of the config alone: ${name} has other content`)
  }
  return problems
})

const runInside = Effect.fnUntraced(function*(families: FamilyRegistry, c: ConformanceCase, checkpoint: string, directory: string) {
  const [hf, bare, ours, exported] = ["hf", "bare", "ours", "exported"].map((name) => join(directory, name)) as [string, string, string, string]
  yield* writeHfCheckpoint(c, hf)
  yield* Effect.promise(() => mkdir(bare))
  yield* Effect.promise(() => copyFile(join(hf, "config.json"), join(bare, "config.json")))
  const prepared = yield* prepareImport(families, hf, { ...KEEP, form: formOfCase(c), layout: layoutOf(c), torchDtype: referenceDtype(c.megatron!.entries), step: 0 })
  yield* prepared.run(ours, { overwrite: false })
  const real = yield* openCheckpoint(checkpoint)
  const problems = [...(yield* Effect.promise(() => compareFiles(join(ours, "iter_0000000"), real.directory)))]
  yield* (yield* prepareExport(families, hf, checkpoint, { ...KEEP, mtpFrom: hf })).run(exported, { overwrite: false })
  problems.push(...(yield* Effect.promise(() => compareDirectories(hf, exported))))
  problems.push(...(yield* compareBareExport(families, c, hf, bare, checkpoint)))
  return problems
})

/** Run one directory against its case. */
export const runCheckpoint = (families: FamilyRegistry, c: ConformanceCase, checkpoint: string): Effect.Effect<CaseResult, never, Disk> =>
  inTemporary((directory) =>
    runInside(families, c, checkpoint, directory).pipe(
      Effect.map((problems): CaseResult =>
        problems.length === 0 ? { status: "passed", note: "files equal, exported without loss" } : { status: "failed", problems }),
      Effect.catch((error: BridgeError) => Effect.succeed<CaseResult>({ status: "failed", problems: [`${error._tag}: ${error.message}`] }))
    ))
