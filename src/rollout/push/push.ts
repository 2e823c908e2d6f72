/**
 * One version to several replicas of an engine, in the one order that is safe: fetch and verify, pause, flush, update, read the version back
 * from all, resume. Each phase is over for all before the next begins. After a failure nobody is resumed: an engine that failed may hold
 * a mixture, and the others another version than it.
 */
import { Effect } from "effect"
import { join, resolve } from "node:path"
import { type JobError, IoError, quote, some, UsageError } from "../../errors.ts"
import { attempt, converting } from "../../io/attempt.ts"
import { Disk, type DiskCalls } from "../../io/Disk.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { openSafetensors } from "../../safetensors/SafetensorsDirectory.ts"
import { isMissing } from "../../store/present.ts"
import { versionFolder, versionText } from "../names.ts"
import { pullVersion } from "../pull.ts"
import { listVersions, readVersion, type Version } from "../Version.ts"
import { type Driver, type DriverOptions, type EngineKind, type Load, type PauseMode } from "./Driver.ts"
import { EngineClient, engineAddress } from "./EngineClient.ts"
import { probe } from "./probe.ts"
import { sglangDriver } from "./sglang.ts"
import { vllmDriver } from "./vllm.ts"

export interface PushOptions {
  /** Of every replica. Never a router in front of several: it would hand the call to one of them. */
  readonly engines: ReadonlyArray<string>
  /** Default: the newest; an earlier one is a way back. */
  readonly version?: number
  /** The folder of versions as the engines see it. Default: its own path. */
  readonly engineRoot?: string
  /** A directory on the engines' hosts that they bring to the version themselves (`/pull_weights`). */
  readonly engineLocal?: string
  /** A copy that is pulled here and seen by the engines under the same path. */
  readonly copy?: string
  /** The model that engines were started with, where the first version is a delta. */
  readonly model?: string
  readonly token?: string
  readonly pause?: PauseMode
  readonly phases?: boolean
  /** Milliseconds for a pull or a load, and for everything else. */
  readonly slow?: number
  readonly quick?: number
}

/** What a push does, phase by phase, on all replicas each. */
export const phases = ["prepare", "pause", "flush", "update", "confirm", "resume"] as const
export type PushPhase = (typeof phases)[number]

/** One replica: how far it came, and what it holds. */
export interface ReplicaReport {
  readonly engine: string
  readonly kind: EngineKind
  /** The last phase that it went through; absent: none. */
  readonly reached?: PushPhase
  /** What it says that it has. */
  readonly version?: string
  /** What is known of its weights. */
  readonly holds: "old" | "new" | "unknown"
  readonly paused: boolean
  readonly problem?: string
}

/** Where a push ended, replica by replica. */
export interface PushReport {
  readonly version: number
  readonly complete: boolean
  /** What failed. */
  readonly failed?: PushPhase
  readonly replicas: ReadonlyArray<ReplicaReport>
  /** Milliseconds from the first pause to the last resume. */
  readonly pausedMs?: number
  /** What to do now. */
  readonly recovery: ReadonlyArray<string>
  readonly notes: ReadonlyArray<string>
}

const SLOW_MS = 600_000
const QUICK_MS = 30_000

interface Replica {
  readonly client: EngineClient
  readonly driver: Driver
  reached?: PushPhase
  version?: string
  holds: ReplicaReport["holds"]
  paused: boolean
  problem?: string
}

const messageOf = (error: unknown): string => (error instanceof IoError ? error.summary : error instanceof Error ? error.message : String(error))

/** A name that engines have not seen: some keep what they read under a path. Its files are those of the copy. */
const freshName = async (disk: DiskCalls, copy: string, version: number): Promise<string> => {
  const folder = `${copy}.v${versionText(version)}-${Date.now().toString(36)}`
  await disk.makeDirectory(folder)
  for (const name of await disk.list(copy)) {
    if ((await disk.lstat(join(copy, name))).kind === "file") await disk.link(join(copy, name), join(folder, name))
  }
  return folder
}

const ALIAS = /\.v\d{6,15}-[0-9a-z]+$/

/** Names of former versions: their files are about to be those of another one. */
const removeFreshNames = async (disk: DiskCalls, copy: string): Promise<void> => {
  const [parent, name] = [resolve(copy, ".."), resolve(copy).split("/").at(-1)!]
  const names = await disk.list(parent).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw error
  })
  for (const other of names) if (other.startsWith(`${name}.v`) && ALIAS.test(other)) await disk.removeTree(join(parent, other))
}

const driverOf = (kind: EngineKind, client: EngineClient, options: DriverOptions): Driver => (kind === "sglang" ? sglangDriver : vllmDriver)(client, options)

/** Run a phase on all replicas, and wait for all; true if it went well everywhere. */
const phaseOn = async (replicas: ReadonlyArray<Replica>, phase: PushPhase, step: (replica: Replica) => Promise<void>): Promise<boolean> => {
  const outcomes = await Promise.allSettled(replicas.map(step))
  outcomes.forEach((outcome, i) => {
    const replica = replicas[i]!
    if (outcome.status === "fulfilled") replica.reached = phase
    else replica.problem = messageOf(outcome.reason)
  })
  return outcomes.every(({ status }) => status === "fulfilled")
}

const run = async (replicas: ReadonlyArray<Replica>, load: Load): Promise<{ readonly failed?: PushPhase; readonly pausedMs?: number }> => {
  const started = { at: 0 }
  const confirm = async (replica: Replica): Promise<void> => {
    const version = await replica.driver.version()
    if (version !== undefined) replica.version = version
    if (version === load.label) return
    replica.holds = "unknown"
    throw new IoError({ path: replica.client.address, operation: "read", errno: "EVERSION", detail: `says that it has the version ${version ?? "(none)"}, not ${load.label}` })
  }
  const steps: ReadonlyArray<readonly [PushPhase, (replica: Replica) => Promise<void>]> = [
    ["prepare", ({ driver }) => driver.prepare(load)],
    ["pause", async (replica) => {
      started.at ||= performance.now()
      // A call that is not answered may have paused it all the same.
      replica.paused = true
      await replica.driver.pause()
    }],
    ["flush", ({ driver }) => driver.flush()],
    ["update", async (replica) => {
      replica.holds = "unknown"
      await replica.driver.update(load)
      replica.holds = "new"
    }],
    ["confirm", async (replica) => {
      await confirm(replica)
      if (await replica.driver.isPaused() !== false) return
      replica.holds = "unknown"
      throw new IoError({ path: replica.client.address, operation: "read", errno: "EVERSION", detail: "is not paused any more: it was started anew, or somebody has resumed it" })
    }],
    ["resume", async (replica) => {
      await replica.driver.resume()
      replica.paused = false
      // It may have been started anew in between, with what it was started with.
      await confirm(replica)
    }]
  ]
  for (const [phase, step] of steps) {
    if (!await phaseOn(replicas, phase, step)) return { failed: phase }
  }
  return { pausedMs: Math.round(performance.now() - started.at) }
}

const recoveryOf = (failed: PushPhase | undefined, version: number): ReadonlyArray<string> => {
  if (failed === undefined) return []
  if (failed === "prepare") return ["No engine was paused, and all generate with the weights that they had. Mend what failed and push again."]
  const again = `Push again when all answer (push … --to ${version}), or an earlier version (--to N): it pauses, loads a whole version on every replica, and resumes only when all have confirmed it.`
  if (failed === "resume") return ["All replicas had confirmed the new version. Some may not have been resumed, or were started anew since: those say another version.", again]
  if (failed === "pause" || failed === "flush") return ["No weights were touched. Replicas that were paused stay paused.", again]
  return ["Replicas that hold “unknown” may have a mixture of two versions: do not resume them. Nothing was resumed.", "A full version is the safe one after a failed load: publish one with publish --full.", again]
}

/** What every replica is told to load. */
const loadOf = Effect.fnUntraced(function*(root: string, target: number, request: PushOptions, kinds: ReadonlySet<EngineKind>) {
  const { copy, engineLocal, engineRoot, model } = request
  const disk = yield* Disk
  const version: Version = yield* readVersion(root, target)
  const label = String(target)
  const source = engineRoot ?? resolve(root)
  if (copy !== undefined) {
    yield* converting(() => removeFreshNames(disk, copy))
    yield* pullVersion(root, copy, { version: target, ...(model === undefined ? {} : { model }) })
    return { path: yield* converting(() => freshName(disk, resolve(copy), target)), label, pull: undefined } satisfies Load as Load
  }
  if (engineLocal !== undefined) {
    if (kinds.has("vllm")) return yield* new UsageError({ problem: "--engine-local: vLLM pulls nothing itself", hint: "--copy DIR pulls here, on a disk that the engines see." })
    return { path: engineLocal, label, pull: { local: engineLocal, source, version: target } } satisfies Load as Load
  }
  if (version.kind === "delta") {
    return yield* new UsageError({
      problem: `version ${target} is a delta, which no engine loads as it is`,
      hint: "--copy DIR pulls it here, on a disk that the engines see; --engine-local DIR lets SGLang pull it on its own host."
    })
  }
  yield* openSafetensors(version.directory)
  return { path: join(source, versionFolder(target)), label, pull: undefined } satisfies Load as Load
})

const refuseUnable = (replicas: ReadonlyArray<Replica>, routesOf: (replica: Replica) => ReadonlySet<string>, load: Load): void => {
  for (const replica of replicas) {
    const needed = [...replica.driver.needs, ...(load.pull ? ["/pull_weights"] : [])]
    const missing = needed.filter((route) => !routesOf(replica).has(route))
    if (missing.length === 0) continue
    throw new IoError({
      path: replica.client.address,
      operation: "probe",
      errno: "ENOTSUP",
      detail: `this engine (${replica.driver.kind}) has no ${some(missing)}`,
      hint: replica.driver.kind === "vllm" ? "vLLM has these routes with VLLM_SERVER_DEV_MODE=1; doctor --engine says what will work." : "doctor --engine says what will work."
    })
  }
}

/** Push a version of `root`. Fails before anything was asked of an engine; what failed afterwards stands in the report. */
export const pushVersion = (root: string, request: PushOptions): Effect.Effect<PushReport, JobError, Disk> => Effect.scoped(Effect.gen(function*() {
  const { engines, pause, phases: inPhases = false, quick = QUICK_MS, slow = SLOW_MS, token, version } = request
  const store = yield* storeInUse
  const addresses = yield* converting(() => [...new Set(engines.map(engineAddress))])
  if (addresses.length === 0) return yield* new UsageError({ problem: "--engine: no engine is named" })
  const target = version ?? (yield* converting(() => listVersions(store, root))).at(-1)
  if (target === undefined) return yield* new UsageError({ problem: `${quote(root)} holds no versions`, hint: "publish writes them." })
  const clients = yield* Effect.acquireRelease(
    Effect.sync(() => addresses.map((address) => new EngineClient(address, token))),
    (made) => Effect.promise(async () => { for (const client of made) await client.close().catch(() => {}) })
  )
  const facts = yield* attempt((signal) => Promise.all(clients.map((client) => probe(client, { timeout: quick, signal }))))
  const kinds = facts.map(({ kind }) => kind)
  const unknown = facts.find(({ kind }) => kind === undefined)
  if (unknown) {
    return yield* new IoError({ path: unknown.address, operation: "probe", errno: "ENOTSUP", detail: "is neither SGLang nor vLLM with the routes for new weights", hint: "vLLM has them with VLLM_SERVER_DEV_MODE=1; doctor --engine says what is there." })
  }
  const load: Load = yield* loadOf(root, target, request, new Set(kinds as ReadonlyArray<EngineKind>))
  const outcome = yield* attempt(async (signal) => {
    const options: DriverOptions = { signal, quick, slow, pause, phases: inPhases }
    const replicas = clients.map((client, i): Replica => ({ client, driver: driverOf(kinds[i]!, client, options), holds: "old", paused: false }))
    refuseUnable(replicas, (replica) => facts[replicas.indexOf(replica)]!.routes, load)
    return { replicas, ...await run(replicas, load) }
  })
  const { failed, pausedMs, replicas } = outcome
  return {
    version: target,
    complete: failed === undefined,
    ...(failed === undefined ? {} : { failed }),
    replicas: replicas.map(({ client, driver, holds, paused, problem, reached, version: said }) => ({
      engine: client.address,
      kind: driver.kind,
      ...(reached === undefined ? {} : { reached }),
      ...(said === undefined ? {} : { version: said }),
      holds,
      paused,
      ...(problem === undefined ? {} : { problem })
    })),
    ...(pausedMs === undefined ? {} : { pausedMs }),
    recovery: recoveryOf(failed, target),
    notes: []
  } satisfies PushReport as PushReport
}))
