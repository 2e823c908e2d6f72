/** A job on this machine: this process is rank 0, and it starts the others as children of its own. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { availableParallelism, tmpdir, totalmem } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { type Launch, VARIABLES } from "../cluster/launch.ts"
import { memoryOfProcess, SHARED_ENGINE } from "../convert/shares.ts"
import { type BridgeError, ClusterError, type JobError, quote } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import type { Store } from "../store/Store.ts"
import { inJob } from "./job.ts"

export interface Children {
  /** Of all processes, this one included. */
  readonly size: number
  /** What runs as the others: a program and its arguments, the same for each of them. */
  readonly command: readonly [program: string, ...args: ReadonlyArray<string>]
}

/** Starting a process and planning once more take some tenths of a second: what one of them does in that time and more. */
const WORTH = 1 << 30
/** The kernel copies for all of them; beyond this, more gain nothing on machines that were measured (docs/performance.md). */
const MOST = 16
/** Tensors of a model whose plan is no small part of the memory. */
const MANY_TENSORS = 10_000

/** How many processes share the reading and writing of so many bytes on this machine, if nobody says. */
export const usualProcesses = (bytes: number, cores = availableParallelism(), memory = totalmem()): number =>
  Math.max(1, Math.min(MOST, cores - 2, Math.floor(bytes / WORTH), Math.floor(memory / 4 / memoryOfProcess(SHARED_ENGINE, MANY_TENSORS))))

/** Bytes of the files in a directory and below; 0 for what cannot be read, which whoever opens it will say. */
export const bytesBelow = async (store: Store, path: string, depth = 3): Promise<number> => {
  const info = await store.stat(path).catch(() => undefined)
  if (info?.kind === "file") return info.size
  if (info?.kind !== "directory" || depth === 0) return 0
  const names = await store.list(path).catch(() => [])
  let bytes = 0
  for (const name of names) bytes += await bytesBelow(store, join(path, name), depth - 1)
  return bytes
}

const LAST_WORDS = 2000
/** Milliseconds that children have to end by themselves. */
const PATIENCE = 5000

class Child {
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>
  readonly #process: ChildProcess
  #words = ""
  #isGone = false

  constructor([program, ...args]: Children["command"], env: NodeJS.ProcessEnv) {
    this.#process = spawn(program, args, { env, stdio: ["ignore", "ignore", "pipe"] })
    this.#process.stderr!.on("data", (text: Buffer) => { this.#words = (this.#words + text.toString()).slice(-LAST_WORDS) })
    this.ended = new Promise<{ readonly code: number | null; readonly signal: string | null }>((resolve) => {
      this.#process.on("error", (error) => {
        this.#words += error.message
        resolve({ code: null, signal: null })
      })
      this.#process.on("close", (code, signal) => resolve({ code, signal }))
    }).finally(() => { this.#isGone = true })
  }

  get isGone(): boolean {
    return this.#isGone
  }

  get words(): string {
    return this.#words.trim().split("\n")[0] ?? ""
  }

  async end(): Promise<void> {
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), PATIENCE)
    this.#process.kill("SIGTERM")
    await this.ended
    clearTimeout(timer)
  }
}

/**
 * Run `use` as rank 0 of a job of this process and its children. When it ends, they have ended. A child that ends badly before the job
 * knows it fails with ClusterError `cluster/lost`.
 */
export const withChildren = <A, E extends BridgeError, R>(
  { command, size }: Children,
  plan: string,
  use: Effect.Effect<A, E, R>
): Effect.Effect<A, E | JobError, R | Disk> =>
  Effect.scoped(Effect.gen(function*() {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "megatron-mimo-job-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    const runId = crypto.randomUUID()
    const rendezvous = `directory:${folder}`
    const children = yield* Effect.acquireRelease(
      Effect.sync(() => Array.from({ length: size - 1 }, (_, i) =>
        new Child([...command, "--rendezvous", rendezvous], { ...process.env, [VARIABLES.rank]: String(i + 1), [VARIABLES.worldSize]: String(size), [VARIABLES.runId]: runId }))),
      (all, exit) => Effect.promise(async () => {
        // After a success they end by themselves, as soon as they have read that all is published.
        const done = Promise.all(all.map((child) => child.ended))
        const inTime = exit._tag === "Success" && await Promise.race([done.then(() => true), new Promise<boolean>((resolve) => { setTimeout(() => resolve(false), PATIENCE).unref() })])
        if (!inTime) await Promise.all(all.map((child) => child.end()))
      })
    )
    const lost = Effect.callback<never, ClusterError>((resume) => {
      for (const [i, child] of children.entries()) {
        void child.ended.then(({ code, signal }) => {
          // What a peer has failed with, the job itself tells.
          if (code === 0 || signal === "SIGTERM") return
          setTimeout(() => resume(Effect.fail(new ClusterError({
            code: "cluster/lost",
            problem: `process ${i + 1} of ${size} ended with ${signal ?? `exit code ${code}`}${child.words ? `: ${quote(child.words)}` : ""}`
          }))), PATIENCE / 5).unref()
        })
      }
    })
    const launch: Launch = { rank: 0, worldSize: size, launcher: "flags", localRank: 0, localSize: size, runId, attempt: 0 }
    return yield* Effect.raceFirst(inJob({ launch, rendezvous }, { beside: folder, plan, mayCome: (rank) => children[rank - 1]?.isGone === false }, use), lost)
  })) as Effect.Effect<A, E | JobError, R | Disk>
