/** Runs under faults.c: every call of a few jobs fails in turn. Prints what came of it, as JSON. */
import { Effect, Layer } from "effect"
import { openSync } from "node:fs"
import { cp, mkdir, readdir, readFile, rm } from "node:fs/promises"
import { constants } from "node:os"
import { join } from "node:path"
import { families } from "../../../routes/index.ts"
import { writeHfCheckpoint } from "../../../src/conformance/HfCheckpoint.ts"
import { prepareExport } from "../../../src/convert/prepareExport.ts"
import { prepareImport } from "../../../src/convert/prepareImport.ts"
import { Disk, nodeCalls } from "../../../src/io/Disk.ts"
import { recover } from "../../../src/publish/staging/swap.ts"
import { standardLayout } from "../../../src/parallel/Layout.ts"
import { loadCase } from "../../conformance/cases.ts"
import { differences } from "../checks.ts"
import { filesBelow } from "../killWalk.ts"
import { type Outcome, outcomeOf } from "../worlds.ts"

/** What can be made to fail, as faults.c names it. */
type Op = "open" | "read" | "write" | "fsync" | "close" | "stat" | "list" | "realpath" | "rename" | "link" | "unlink" | "rmdir" | "mkdir" | "truncate" | "statfs"

interface Kind {
  readonly name: string
  /** 0: a short transfer. */
  readonly errno: number
  readonly ops: ReadonlySet<Op> | undefined
  readonly lasting?: boolean
  /** The exit code of a run that fails of it; `none`: it has to get over it. */
  readonly exitCode?: number | "none"
}

const { EACCES, EDQUOT, EINTR, EIO, EMFILE, ENOSPC, ESTALE } = constants.errno
const WRITING: ReadonlySet<Op> = new Set<Op>(["write", "fsync", "mkdir", "rename"])
const NAMING: ReadonlySet<Op> = new Set<Op>(["open", "stat", "list", "realpath", "rename", "unlink", "rmdir", "mkdir"])
const TRANSFERS: ReadonlySet<Op> = new Set<Op>(["read", "write"])

const kinds: ReadonlyArray<Kind> = [
  { name: "EIO", errno: EIO, ops: undefined },
  { name: "EIO from then on", errno: EIO, ops: new Set<Op>(["open", "read", "write", "fsync", "stat", "rename"]), lasting: true },
  { name: "ENOSPC", errno: ENOSPC, ops: WRITING, exitCode: 6 },
  { name: "EDQUOT from then on", errno: EDQUOT, ops: WRITING, lasting: true, exitCode: 6 },
  { name: "EINTR", errno: EINTR, ops: new Set<Op>(["open", "read", "write", "fsync"]), exitCode: "none" },
  { name: "EINTR from then on", errno: EINTR, ops: new Set<Op>(["read"]), lasting: true },
  { name: "ESTALE", errno: ESTALE, ops: new Set<Op>(["open", "read", "write", "fsync", "close", "stat", "list"]) },
  { name: "EACCES", errno: EACCES, ops: NAMING },
  { name: "EMFILE", errno: EMFILE, ops: new Set<Op>(["open"]) },
  { name: "short transfer", errno: 0, ops: TRANSFERS, exitCode: "none" }
]

const order = (text: string): void => {
  try {
    openSync(`/.faults/${text}`, "r")
  } catch {
    // Every order answers that there is no such file.
  }
}

interface Attempt {
  readonly resume?: boolean
  readonly overwrite?: boolean
}

interface Job {
  readonly name: string
  readonly run: (target: string, attempt: Attempt) => Promise<Outcome>
  /** What the target holds before. */
  readonly former?: string
  readonly expected: ReadonlyMap<string, Uint8Array>
}

const KEEP = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const
/** The smallest blocks there are, one at a time, so that every run makes the same calls. */
const SMALL = { maxMemory: 1, concurrency: 1, threads: 0 } as const

const stage = async (root: string): Promise<ReadonlyArray<Job>> => {
  const at = (name: string) => join(root, name)
  await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), at("hf")).pipe(Effect.provide(Layer.succeed(Disk, nodeCalls))))
  const imports = (tp: number): Job["run"] => (target, { overwrite = false, resume = false }) =>
    outcomeOf(
      prepareImport(families, at("hf"), { form: "standard", layout: () => standardLayout({ tp }), ...KEEP, step: 0 }).pipe(
        Effect.flatMap(({ run }) => run(target, { ...SMALL, overwrite, resume }))),
      nodeCalls
    )
  const exports: Job["run"] = (target, { overwrite = false, resume = false }) =>
    outcomeOf(
      prepareExport(families, at("hf"), at("megatron"), KEEP).pipe(Effect.flatMap(({ run }) => run(target, { ...SMALL, overwrite, resume, checksum: true }))),
      nodeCalls
    )
  const whole = async (run: Job["run"], target: string) => {
    const outcome = await run(target, {})
    if (outcome.status !== "done") throw new Error(`undisturbed: ${JSON.stringify(outcome)}`)
    return filesBelow(target)
  }
  const expected = await whole(imports(2), at("megatron"))
  await whole(imports(1), at("former"))
  return [
    { name: "import", run: imports(2), expected },
    { name: "import --overwrite", run: (target, attempt) => imports(2)(target, { ...attempt, overwrite: true }), former: at("former"), expected },
    { name: "export", run: exports, expected: await whole(exports, at("exported")) }
  ]
}

/** A folder for one point. */
const fresh = async (root: string, job: Job): Promise<string> => {
  const folder = join(root, "point")
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder)
  if (job.former) await cp(job.former, join(folder, "target"), { recursive: true })
  return folder
}

const callsOf = async (root: string, job: Job): Promise<ReadonlyArray<readonly [Op, number]>> => {
  const target = join(await fresh(root, job), "target")
  order("arm/none/0/0/0")
  await job.run(target, {})
  order("report")
  const report = await readFile(process.env["FAULT_REPORT"]!, "utf8")
  return report.trim().split("\n").map((line) => line.split(" ")).map(([op, count]) => [op as Op, Number(count)])
}

const faultAt = async (root: string, job: Job, kind: Kind, op: Op, k: number) => {
  const folder = await fresh(root, job)
  const target = join(folder, "target")
  const problems: Array<string> = []
  order(`arm/${op}/${k}/${kind.errno}/${kind.lasting === true ? 1 : 0}`)
  const outcome = await job.run(target, {})
  order("arm/none/0/0/0")
  const failed = outcome.status === "refused"
  if (outcome.status === "defect" || outcome.status === "hang") problems.push(`${outcome.status}: ${outcome.message}`)
  if (failed && outcome.exitCode >= 126) problems.push(`exit code ${outcome.exitCode}`)
  if (failed && kind.exitCode === "none") problems.push(`failed: ${outcome.message}`)
  if (failed && typeof kind.exitCode === "number" && outcome.exitCode !== kind.exitCode) problems.push(`exit code ${outcome.exitCode}: ${outcome.message}`)
  if (failed && /Unknown system error|EUNKNOWN/.test(outcome.message)) problems.push(`nameless: ${outcome.message}`)
  await recover(nodeCalls, target)
  const found = (await readdir(folder)).includes("target") ? await filesBelow(target) : undefined
  const isNew = found !== undefined && differences(found, job.expected).length === 0
  const isOld = job.former === undefined ? found === undefined : found !== undefined && differences(found, await filesBelow(job.former)).length === 0
  if (!isNew && !isOld) problems.push("the target is neither as it was nor complete")
  if (outcome.status === "done" && !isNew) problems.push("done, but the target is not complete")
  const again = await job.run(target, { resume: true })
  if (again.status !== "done") problems.push(`resumed: ${JSON.stringify(again)}`)
  else problems.push(...differences(await filesBelow(target), job.expected).map((d) => `resumed: ${d}`))
  problems.push(...(await readdir(folder)).filter((name) => name !== "target").map((name) => `left ${name}`))
  return { failed, problems: problems.map((p) => `${job.name}, ${kind.name} at ${op} ${k}: ${p}`) }
}

const [root, every] = [process.argv[2]!, Number(process.argv[3])]
await mkdir(root, { recursive: true })
const jobs = await stage(root)
const results = Object.fromEntries(kinds.map((k) => [k.name, { points: 0, failed: 0, problems: new Array<string>() }]))
let number = 0
for (const job of jobs) {
  const calls = await callsOf(root, job)
  for (const kind of kinds) {
    for (const [op, count] of calls) {
      if (kind.ops && !kind.ops.has(op)) continue
      for (let k = 0; k < count; k++) {
        if (number++ % every !== 0) continue
        const result = results[kind.name]!
        const { failed, problems } = await faultAt(root, job, kind, op, k)
        result.points++
        if (failed) result.failed++
        result.problems.push(...problems)
      }
    }
  }
}
process.stdout.write(JSON.stringify(results))
