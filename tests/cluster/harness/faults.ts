/**
 * One job of 3 to 8 processes and one fault, by seed. What must hold, whatever the fault: every process that can end does so in time; if
 * anything was published, all of it was; every failure names the cause.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import type { Limits } from "../../../src/cluster/limits.ts"
import { inWorld, type JobOptions } from "../../../src/cluster/open.ts"
import { isBridgeError } from "../../../src/errors.ts"
import { Disk } from "../../../src/io/Disk.ts"
import { bundled } from "../../bundled.ts"
import { program, UNITS } from "./program.ts"
import { freePort, type Proxy, proxyTo } from "./proxy.ts"

export const inProcessFaults = ["cut", "reset", "black hole", "slow connection", "two holders", "wrong token", "wrong plan", "full disk", "coordinator cut off", "newer attempt"] as const
export const processFaults = ["SIGKILL", "SIGSTOP", "coordinator SIGKILL", "coordinator SIGSTOP", "SIGKILL over files"] as const
export type Fault = typeof inProcessFaults[number] | typeof processFaults[number]

/** Short; a machine that is busy is not taken for a lost process (`Attention`). */
const LIMITS: Limits = { beat: 150, silence: 1_500, planning: 3_000, join: 4_000, lease: 10_000, step: 15_000 }
/** What never ends is given up; how long the others took is in `seconds`. */
const IN_TIME = 60_000

export interface Ending {
  readonly fault: Fault
  readonly seed: number
  /** From the fault until the last process had ended. */
  readonly seconds: number
  /** What is wrong with it; nothing, as a rule. */
  readonly complaints: ReadonlyArray<string>
}

/** mulberry32 */
const random = (seed: number) => (below: number): number => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) % below
}

interface End {
  readonly rank: number
  readonly error: string | undefined
  readonly code: string | undefined
}

const TOKEN = "a-token-of-sixteen-characters"

/** Success everywhere and all published, or nobody succeeded silently beside a failure and the cause is named. */
const judge = (ends: ReadonlyArray<End>, published: ReadonlyArray<ReadonlyArray<string>>, cause: RegExp, mustSucceed: boolean): ReadonlyArray<string> => {
  const complaints: Array<string> = []
  const all = Array.from({ length: UNITS }, (_, unit) => `unit ${unit}`)
  if (published.length > 1) complaints.push(`published ${published.length} times`)
  for (const results of published) if (JSON.stringify(results) !== JSON.stringify(all)) complaints.push(`published half: ${JSON.stringify(results)}`)
  const failed = ends.filter(({ error }) => error !== undefined)
  if (failed.length === 0 && published.length !== 1) complaints.push("all succeeded, nothing was published")
  if (mustSucceed && failed.length > 0) complaints.push(`failed: ${failed[0]!.error}`)
  for (const { code, error, rank } of failed) {
    if (code === "internal") complaints.push(`rank ${rank} crashed: ${error}`)
    else if (!mustSucceed && !cause.test(error!)) complaints.push(`rank ${rank} does not name the cause: ${error}`)
  }
  return complaints
}

const inTime = async <A>(work: Promise<A>, complaints: Array<string>): Promise<A | undefined> => {
  const over = new AbortController()
  const late = pause(IN_TIME, "late" as const, { signal: over.signal }).catch(() => "late" as const)
  const first = await Promise.race([work, late])
  over.abort()
  if (first !== "late") return first as A
  complaints.push(`not over within ${IN_TIME} ms`)
  return undefined
}

/** All processes in this one, each behind a proxy of its own. */
export const runInProcess = async (fault: typeof inProcessFaults[number], seed: number): Promise<Ending> => {
  const next = random(seed)
  const world = 3 + next(6)
  const victim = 1 + next(world - 1)
  const at = 10 + next(120)
  const port = await freePort()
  const proxies: Array<Proxy> = []
  for (let rank = 0; rank < world; rank++) proxies.push(await proxyTo(port))
  const published: Array<ReadonlyArray<string>> = []
  const run = (rank: number, other: Partial<JobOptions> = {}, failAt?: number): Promise<End> =>
    Effect.runPromise(inWorld({
      launch: { rank, worldSize: world, launcher: "flags", runId: `${fault} ${seed}`, attempt: 0 },
      rendezvous: `127.0.0.1:${rank === 0 ? port : proxies[rank]!.port}`,
      directory: "/nowhere", plan: "plan", limits: LIMITS, env: { MEGATRON_MIMO_TOKEN: TOKEN }, ...other
    }, program({ failAt, published: (results) => published.push(results) })).pipe(Effect.provide(Disk.layer))).then(
      () => ({ rank, error: undefined, code: undefined }),
      (error: Error) => ({ rank, error: error.message, code: isBridgeError(error) ? error.code : "internal" })
    )
  const own: Partial<JobOptions> = fault === "wrong token" ? { env: { MEGATRON_MIMO_TOKEN: `${TOKEN}!` } } : fault === "wrong plan" ? { plan: "another" } : {}
  const processes = Array.from({ length: world }, (_, rank) => rank === victim ? run(rank, own, fault === "full disk" ? next(2) : undefined) : run(rank))
  const complaints: Array<string> = []
  const over = inTime(Promise.all(processes), complaints)
  await pause(at)
  const began = performance.now()
  let extra: Promise<End> | undefined
  if (fault === "cut") proxies[victim]!.cut()
  else if (fault === "reset") proxies[victim]!.reset()
  else if (fault === "black hole") proxies[victim]!.swallow()
  else if (fault === "slow connection") proxies[victim]!.delay(5 + next(60))
  else if (fault === "coordinator cut off") for (const proxy of proxies) (next(2) === 0 ? proxy.cut : proxy.swallow)()
  else if (fault === "two holders") extra = run(victim)
  else if (fault === "newer attempt") extra = run(victim, { launch: { rank: victim, worldSize: world, launcher: "flags", runId: `${fault} ${seed}`, attempt: 1 } })
  const ends = await over
  const second = extra && await inTime(extra, complaints)
  const seconds = (performance.now() - began) / 1000
  for (const proxy of proxies) proxy.close()
  // Somebody took the port in the meantime: that is not the fault that is meant.
  if (ends?.[0]?.code === "cluster/listen") return runInProcess(fault, seed)
  const host = "on host .+"
  const causes: Partial<Record<Fault, RegExp>> = {
    "wrong token": new RegExp(`does not know this token|did not join within .+ranks ${victim}; 1 connections without the right token`),
    "wrong plan": new RegExp(`rank ${victim} ${host} would do something else than rank 0`),
    "full disk": new RegExp(`__${victim}_0.distcp: 4096 bytes are needed|__${victim}_0.distcp: the file system .+ is full`),
    "coordinator cut off": /rank \d+ on host .+ failed: it was lost|rank 0\) was lost|rank 0 was not reached|did not join|given up this process/,
    "newer attempt": /attempt 1 of the job has begun/
  }
  const lost = new RegExp(`rank ${victim} ${host} failed: it was lost|rank 0\\) was lost|ranks ${victim}$|rank 0 was not reached|given up this process`)
  if (ends !== undefined) complaints.push(...judge(ends, published, causes[fault] ?? lost, fault === "slow connection" || fault === "two holders"))
  if (fault === "two holders" && second !== undefined && second.error !== undefined && !/is held by another process|was not reached|would|failed/.test(second.error)) complaints.push(`the second holder: ${second.error}`)
  return { fault, seed, seconds, complaints }
}

/** Real processes. */
export const runProcesses = async (fault: typeof processFaults[number], seed: number): Promise<Ending> => {
  const next = random(seed)
  const world = 3 + next(3)
  const victim = fault.startsWith("coordinator") ? 0 : 1 + next(world - 1)
  const directory = mkdtempSync(join(tmpdir(), "faults-"))
  const complaints: Array<string> = []
  const options = { directory, rendezvous: fault.endsWith("files") ? "file" : "directory", unitMs: 100, limits: { ...LIMITS, join: 60_000 } }
  const member = await bundled(new URL("./process.ts", import.meta.url))
  const children = Array.from({ length: world }, (_, rank) => {
    const child = spawn(process.execPath, [member, JSON.stringify(options)], {
      env: { PATH: process.env["PATH"], MEGATRON_MIMO_RANK: String(rank), MEGATRON_MIMO_WORLD_SIZE: String(world), MEGATRON_MIMO_RUN_ID: `run-${seed}` }, stdio: ["ignore", "pipe", "inherit"]
    })
    let text = ""
    const joined = new Promise<void>((resolve) => {
      child.stdout.on("data", (data) => {
        text += data
        if (text.includes("joined")) resolve()
      })
      child.once("close", () => resolve())
    })
    return { rank, child, joined, end: new Promise<string>((resolve) => child.once("close", () => resolve(text))) }
  })
  // The first units are on their way.
  await Promise.all(children.map(({ joined }) => joined))
  await pause(next(400))
  const signal = fault.includes("SIGKILL") ? "SIGKILL" : "SIGSTOP"
  const began = performance.now()
  children[victim]!.child.kill(signal)
  const others = children.filter(({ rank }) => rank !== victim)
  const texts = await inTime(Promise.all(others.map(({ end }) => end)), complaints)
  const seconds = (performance.now() - began) / 1000
  for (const { child } of children) child.kill("SIGKILL")
  const last = await children[victim]!.end
  await Promise.all(children.map(({ end }) => end))
  rmSync(directory, { recursive: true, force: true })
  const linesOf = (text: string) => text.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as { published?: ReadonlyArray<string>; error?: string; code?: string })
  // The victim may have published before.
  const published = [last, ...texts ?? []].flatMap(linesOf).flatMap((line) => (line.published ? [line.published] : []))
  const ends = (texts ?? []).map((text, index): End => {
    const lines = linesOf(text)
    const failed = lines.find(({ error }) => error !== undefined)
    return { rank: others[index]!.rank, error: failed?.error, code: failed?.code }
  })
  const cause = victim === 0 ? /rank 0\) was lost|rank 0 was lost|rank 0 was not reached/ : new RegExp(`rank ${victim} on host .+ failed: it was lost|ranks ${victim}$`)
  if (texts !== undefined) complaints.push(...judge(ends, published, cause, false))
  return { fault, seed, seconds, complaints }
}
