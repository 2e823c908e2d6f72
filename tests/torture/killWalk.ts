/**
 * The real process on the real disk is killed: at a call (before it, after it, in the middle of a transfer), after some time, or
 * asked to end by SIGINT and SIGTERM. Afterwards the target is as it was or complete, and going on or starting over in another
 * process gives the bytes of an undisturbed run.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { recover } from "../../src/io/staging/swap.ts"
import { loadCase } from "../conformance/cases.ts"
import { differences } from "./checks.ts"
import type { WalkResult } from "./faultWalk.ts"

const CHILD = new URL("./child.ts", import.meta.url).pathname
const COMMAND = new URL("../../src/cli/bin.ts", import.meta.url).pathname

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

export const runCli = (args: ReadonlyArray<string>, kill?: number): Promise<Ended> => runScript(COMMAND, args, kill)

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
  readonly expected: ReadonlyMap<string, Uint8Array>
  /** What the target holds before. */
  readonly former?: string
  readonly calls: number
}

/** A folder with a model and jobs on it; remove it when done. */
export const stage = async () => {
  const root = await mkdtemp(join(tmpdir(), "torture-"))
  await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), join(root, "hf")).pipe(Effect.provide(Disk.layer)))
  const hf = ["--hf-model", join(root, "hf")]
  const importing = (tp: number) => ["import", ...hf, "--standard", "--tp", String(tp), ...SETTINGS, "--megatron-path"]
  const exporting = ["export", ...hf, "--megatron-path", join(root, "megatron"), "--checksum", ...SETTINGS, "--hf-path"]
  const must = async (args: ReadonlyArray<string>) => {
    const { code, stderr } = await runCli(args)
    if (code !== 0) throw new Error(`${args.join(" ")}: ${stderr}`)
  }
  await must([...importing(1), join(root, "former")])
  await must([...importing(2), join(root, "megatron")])
  await must([...exporting, join(root, "exported")])
  const count = async (args: ReadonlyArray<string>, target: string, former?: string) => {
    if (former) await cp(former, target, { recursive: true })
    // The call number that never comes: the run ends by itself. Its last call tells how many there are.
    const { stderr } = await runScript(new URL("./count.ts", import.meta.url).pathname, [...args, target])
    await rm(target, { recursive: true })
    return Number(stderr.trim().split("\n").at(-1))
  }
  const imported = await filesBelow(join(root, "megatron"))
  const former = join(root, "former")
  const scenes: ReadonlyArray<Scene> = [
    { name: "import", args: importing(2), expected: imported, calls: await count(importing(2), join(root, "count-1")) },
    {
      name: "import --overwrite",
      args: [importing(2)[0]!, "--overwrite", ...importing(2).slice(1)],
      expected: imported,
      former,
      calls: await count(["import", "--overwrite", ...importing(2).slice(1)], join(root, "count-2"), former)
    },
    { name: "export", args: exporting, expected: await filesBelow(join(root, "exported")), calls: await count(exporting, join(root, "count-3")) }
  ]
  return { root, scenes }
}

const HOWS = ["before", "after", "half", "SIGINT", "SIGTERM", "time"] as const

export interface KillOptions {
  readonly points: number
  readonly progress?: (done: number) => void
}

export const killWalk = async ({ points, progress }: KillOptions): Promise<ReadonlyMap<string, WalkResult>> => {
  const results = new Map<string, { points: number; failed: number; problems: Array<string> }>(HOWS.map((how) => [how, { points: 0, failed: 0, problems: [] }]))
  const { root, scenes } = await stage()
  try {
    const sources = await filesBelow(join(root, "hf"))
    const started = performance.now()
    await runCli(["--version"])
    const startUp = performance.now() - started
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
      const { ended, problems } = await killAt(scene, folder, how, at, startUp * (1 + share), i % 2 === 0)
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
  const ended = how === "time" ? await runCli([...scene.args, target], delay) : await runScript(CHILD, [String(at), how, ...scene.args, target])
  const expectedEnd = how === "SIGINT" || how === "SIGTERM" ? ended.code === 130 || ended.code === 0 : ended.signal === "SIGKILL" || ended.code === 0
  if (!expectedEnd) problems.push(`ended with code ${ended.code}, signal ${ended.signal}: ${ended.stderr}`)
  await recover(nodeCalls, target)
  const there = (await readdir(folder)).includes("target")
  const found = there ? await filesBelow(target) : undefined
  const isNew = found !== undefined && differences(found, scene.expected).length === 0
  const isOld = scene.former ? found !== undefined && differences(found, await filesBelow(scene.former)).length === 0 : found === undefined
  if (!isNew && !isOld) problems.push(`the target is neither as it was nor complete: ${found ? differences(found, scene.expected).slice(0, 3).join(", ") : "it is gone"}`)
  const strays = (await readdir(folder)).filter((name) => name !== "target" && !/^\.target\.(partial|discarded\..+)$/.test(name))
  if (strays.length > 0) problems.push(`stray ${strays.join(", ")}`)
  const again = await runCli([...scene.args.slice(0, 1), ...(resume ? ["--resume"] : isNew ? ["--overwrite"] : []), ...scene.args.slice(1).filter((a) => resume || !isNew || a !== "--overwrite"), target])
  if (again.code !== 0) problems.push(`${resume ? "--resume" : "again"}: ended with ${again.code}: ${again.stderr}`)
  else problems.push(...differences(await filesBelow(target), scene.expected).map((d) => `${resume ? "--resume" : "again"}: ${d}`))
  const left = (await readdir(folder)).filter((name) => name !== "target")
  if (left.length > 0) problems.push(`left ${left.join(", ")}`)
  return { ended, problems }
}
