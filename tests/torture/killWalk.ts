/**
 * The real process on the real disk is killed: at a call (before it, after it, in the middle of a transfer), after some time, or
 * asked to end by SIGINT and SIGTERM. Afterwards the target is as it was or complete, and going on or starting over in another
 * process gives the bytes of an undisturbed run.
 */
import { Cause, Effect, Exit } from "effect"
import { spawn } from "node:child_process"
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bundled } from "../bundled.ts"
import { program } from "../program.ts"
import { families } from "../../routes/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { recover } from "../../src/publish/staging/swap.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { loadCase } from "../conformance/cases.ts"
import { differences } from "./checks.ts"
import type { WalkResult } from "./faultWalk.ts"

const COUNT = new URL("./count.ts", import.meta.url)
/** The command line with something happening to it. */
export const CHILD = new URL("./child.ts", import.meta.url)

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Run a script of this project; `kill` after so many milliseconds. */
export const runScript = (script: string, args: ReadonlyArray<string>, kill?: number): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    const output = { stdout: "", stderr: "" }
    child.stdout.on("data", (data) => { output.stdout += data })
    child.stderr.on("data", (data) => { output.stderr += data })
    const timer = kill === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), kill)
    child.on("error", reject)
    child.on("close", (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, ...output })
    })
  })

export const runCli = (args: ReadonlyArray<string>, kill?: number): Promise<Ended> => runScript(program, args, kill)

/** Files below a directory by relative path; folders end with a slash. */
export const filesBelow = async (directory: string): Promise<Map<string, Uint8Array>> => {
  const files = new Map<string, Uint8Array>()
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const name = path.slice(directory.length + 1)
    if (entry.isDirectory()) files.set(`${name}/`, new Uint8Array(0))
    else files.set(name, await readFile(path))
  }
  return files
}

/** Small blocks, so that there are many. */
const SETTINGS = ["--concurrency", "16", "--max-memory", "8MB", "--quiet"]

interface Scene {
  readonly name: string
  readonly args: ReadonlyArray<string>
  /** The same in this process; what went wrong. */
  readonly again: (target: string, options: { readonly resume: boolean; readonly overwrite: boolean }) => Promise<string | undefined>
  readonly expected: ReadonlyMap<string, Uint8Array>
  /** What the target holds before. */
  readonly former?: string
  readonly calls: number
}

const failureOf = async <E>(run: Effect.Effect<unknown, E, Disk>): Promise<string | undefined> => {
  const exit = await Effect.runPromiseExit(run.pipe(Effect.provide(Disk.layer)))
  return Exit.isSuccess(exit) ? undefined : String(Cause.squash(exit.cause))
}

const KEEP = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const
/** The smallest blocks, which {@link SETTINGS} come to as well. */
const SMALL = { maxMemory: 1 } as const

/** A folder with a model and jobs on it; remove it when done. */
export const stage = async () => {
  const root = await mkdtemp(join(tmpdir(), "torture-"))
  const hf = join(root, "hf")
  await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), hf).pipe(Effect.provide(Disk.layer)))
  const [former, megatron, exported] = [join(root, "former"), join(root, "megatron"), join(root, "exported")] as const
  const importArgs = (tp: number, ...more: ReadonlyArray<string>) => ["import", ...more, "--hf-model", hf, "--standard", "--tp", String(tp), ...SETTINGS, "--megatron-path"]
  const exportArgs = ["export", "--hf-model", hf, "--megatron-path", megatron, "--checksum", ...SETTINGS, "--hf-path"]
  const importAgain: Scene["again"] = (target, options) =>
    failureOf(prepareImport(families, hf, { form: "standard", layout: () => standardLayout({ tp: 2 }), ...KEEP, step: 0 }).pipe(
      Effect.flatMap(({ run }) => run(target, { ...SMALL, ...options }))))
  const exportAgain: Scene["again"] = (target, options) =>
    failureOf(prepareExport(families, hf, megatron, KEEP).pipe(Effect.flatMap(({ run }) => run(target, { ...SMALL, ...options, checksum: true }))))
  /** Run undisturbed; how many calls that takes. */
  const count = async (args: ReadonlyArray<string>) => {
    const { code, stderr } = await runScript(await bundled(COUNT), args)
    if (code !== 0) throw new Error(`${args.join(" ")}: ${stderr}`)
    return Number(stderr.trim().split("\n").at(-1))
  }
  const over = importArgs(2, "--overwrite")
  const replaced = join(root, "replaced")
  const started = performance.now()
  await count([...importArgs(1), former])
  const duration = performance.now() - started
  await cp(former, replaced, { recursive: true })
  const scenes: ReadonlyArray<Scene> = [
    { name: "import", args: importArgs(2), again: importAgain, calls: await count([...importArgs(2), megatron]), expected: await filesBelow(megatron) },
    { name: "import --overwrite", args: over, again: importAgain, calls: await count([...over, replaced]), expected: await filesBelow(megatron), former },
    { name: "export", args: exportArgs, again: exportAgain, calls: await count([...exportArgs, exported]), expected: await filesBelow(exported) }
  ]
  return { root, scenes, duration }
}

const HOWS = ["before", "after", "half", "SIGINT", "SIGTERM", "time"] as const

export interface KillOptions {
  readonly points: number
  readonly progress?: (done: number) => void
}

export const killWalk = async ({ points, progress }: KillOptions): Promise<ReadonlyMap<string, WalkResult>> => {
  const results = new Map<string, { points: number; failed: number; problems: Array<string> }>(HOWS.map((how) => [how, { points: 0, failed: 0, problems: [] }]))
  const { duration, root, scenes } = await stage()
  try {
    const sources = await filesBelow(join(root, "hf"))
    for (let i = 0; i < points; i++) {
      const scene = scenes[i % scenes.length]!
      const how = HOWS[Math.floor(i / scenes.length) % HOWS.length]!
      const round = scenes.length * HOWS.length
      // Every kind of end goes once through the whole run; every other one is in the commit.
      const share = (Math.floor(i / round) + 0.5) / Math.ceil(points / round)
      const at = Math.floor(i / round) % 2 === 0 ? Math.floor(share * scene.calls) : scene.calls - 1 - Math.floor(share * 12)
      const folder = join(root, `point-${i}`)
      await mkdir(folder)
      const result = results.get(how)!
      const { ended, problems } = await killAt(scene, folder, how, at, duration * (0.3 + 0.8 * share), i % 2 === 0)
      result.points++
      if (ended.code !== 0) result.failed++
      result.problems.push(...problems.map((p) => `${scene.name}, ${how}, call ${at}: ${p}`))
      await rm(folder, { recursive: true, force: true })
      progress?.(i)
    }
    const changed = differences(await filesBelow(join(root, "hf")), sources)
    results.get("before")!.problems.push(...changed.map((d) => `the source: ${d}`))
  } finally {
    await rm(root, { recursive: true, force: true })
  }
  return results
}

const killAt = async (scene: Scene, folder: string, how: (typeof HOWS)[number], at: number, delay: number, resume: boolean) => {
  const target = join(folder, "target")
  if (scene.former) await cp(scene.former, target, { recursive: true })
  const problems: Array<string> = []
  const ended = how === "time" ? await runCli([...scene.args, target], delay) : await runScript(await bundled(CHILD), [String(at), how, ...scene.args, target])
  const expectedEnd = how === "SIGINT" || how === "SIGTERM" ? ended.code === (how === "SIGINT" ? 130 : 143) || ended.code === 0 : ended.signal === "SIGKILL" || ended.code === 0
  if (!expectedEnd) problems.push(`ended with code ${ended.code}, signal ${ended.signal}: ${ended.stderr}`)
  await recover(nodeCalls, target)
  const there = (await readdir(folder)).includes("target")
  const found = there ? await filesBelow(target) : undefined
  const isNew = found !== undefined && differences(found, scene.expected).length === 0
  const isOld = scene.former ? found !== undefined && differences(found, await filesBelow(scene.former)).length === 0 : found === undefined
  if (!isNew && !isOld) problems.push(`the target is neither as it was nor complete: ${found ? differences(found, scene.expected).slice(0, 3).join(", ") : "it is gone"}`)
  const strays = (await readdir(folder)).filter((name) => name !== "target" && !/^\.target\.(partial|discarded\..+)$/.test(name))
  if (strays.length > 0) problems.push(`stray ${strays.join(", ")}`)
  const again = await scene.again(target, { resume, overwrite: scene.former !== undefined || (!resume && isNew) })
  const way = resume ? "--resume" : "again"
  if (again !== undefined) problems.push(`${way}: ${again}`)
  else problems.push(...differences(await filesBelow(target), scene.expected).map((d) => `${way}: ${d}`))
  const left = (await readdir(folder)).filter((name) => name !== "target")
  if (left.length > 0) problems.push(`left ${left.join(", ")}`)
  return { ended, problems }
}
