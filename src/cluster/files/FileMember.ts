/**
 * A job whose processes meet in files alone: for clusters where no process may listen.
 *
 * ```text
 * DIRECTORY/.megatron-mimo.RUN/
 *   session.json             which session is current, by rank 0 of the newest attempt
 *   SESSION/
 *     rank.R.json            process R is here (claimed once)
 *     welcome.json           all are
 *     beat.R.json            a number that grows, and bytes done
 *     step.HASH.I.json       member I's value at a step; step.HASH.all.json the step's outcome, by its first member
 *     done.HASH.R.json       what R's share of a work yielded
 *     failed.json            the first failure (claimed once)
 *     left.R.json            R needs nothing more
 * ```
 *
 * **Details**
 *
 * A process that is started again belongs to a new session, which rank 0 begins; whoever is of an older one stops when it sees that.
 * Silence is told by a number that does not grow, in the time of who looks.
 */
import { createHash } from "node:crypto"
import { hostname } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { z } from "zod"
import { ClusterError, ExitCode, type IoError, type NoSpace, quote } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import type { StepCall } from "../communicator.ts"
import { errorOf } from "../failures.ts"
import { Attention, type Limits, seconds } from "../limits.ts"
import type { MemberError } from "../Member.ts"
import { type Envelope, failureSchema, type JobFailure } from "../messages.ts"
import { someRanks } from "../rankRuns.ts"
import { runName } from "../rendezvous.ts"
import { Board } from "./Board.ts"

export interface FileJob {
  readonly disk: DiskCalls
  readonly directory: string
  readonly run: Envelope
  readonly rank: number
  readonly world: number
  readonly plan: string
  readonly version: string
  readonly limits: Limits
}

const sessionSchema = z.object({ session: z.uuid(), attempt: z.int() })
const hereSchema = z.object({ host: z.string(), plan: z.string(), version: z.string(), world: z.int() })
const beatSchema = z.object({ count: z.int(), done: z.number() })
const postSchema = z.object({ kind: z.string(), what: z.string(), size: z.int(), value: z.unknown() })
const doneSchema = z.array(z.tuple([z.int(), z.unknown()]))

const SESSION = "session.json"
const WELCOME = "welcome.json"
const FAILED = "failed.json"

const FIRST_PAUSE = 10

const hashed = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 32)

/** What is on the board, if it is of this shape. */
const found = async <A>(board: Board, name: string, schema: z.ZodType<A>): Promise<A | undefined> => {
  const document = await board.get(name)
  const value = document && schema.safeParse(document.value)
  return value?.success ? value.data : undefined
}

const now = (): number => performance.now()

export class FileMember {
  readonly notes = new Set<string>()
  readonly #job: FileJob
  readonly #runBoard: Board
  readonly #board: Board
  readonly #session: string
  readonly #attention: Attention
  readonly #failed = Promise.withResolvers<MemberError | IoError | NoSpace>()
  readonly #hosts: Array<string> = []
  readonly #seen: Array<{ count: number; at: number; done: number }> = []
  readonly #timer: NodeJS.Timeout
  #error: MemberError | IoError | NoSpace | undefined
  #count = 0
  #done = 0
  #watching: Promise<void> | undefined
  #isLeaving = false

  private constructor(job: FileJob, runBoard: Board, folder: string, session: string, notes: Set<string>) {
    this.#job = job
    this.#runBoard = runBoard
    this.#session = session
    this.#board = new Board(job.disk, folder, notes)
    this.notes = notes
    this.#attention = new Attention(job.limits.beat, now())
    this.#timer = setInterval(() => { void this.#watch() }, job.limits.beat)
  }

  static async join(job: FileJob, signal: AbortSignal): Promise<FileMember> {
    const notes = new Set<string>()
    const folder = join(job.directory, `.megatron-mimo.${await runName(job.run.run)}`)
    const runBoard = new Board(job.disk, folder, notes)
    await runBoard.makeFolder()
    return job.rank === 0 ? FileMember.#begin(job, runBoard, folder, notes, signal) : FileMember.#find(job, runBoard, folder, notes, signal)
  }

  static async #begin(job: FileJob, runBoard: Board, folder: string, notes: Set<string>, signal: AbortSignal): Promise<FileMember> {
    const { limits, run, world } = job
    const former = await found(runBoard, SESSION, sessionSchema)
    if (former !== undefined && former.attempt > run.attempt) throw superseded(run.attempt, former.attempt)
    const session = crypto.randomUUID()
    const member = new FileMember(job, runBoard, join(folder, session), session, notes)
    try {
      await member.#board.makeFolder()
      await member.#board.claim("rank.0.json", member.#here())
      await member.#watch()
      await runBoard.put(SESSION, { session, attempt: run.attempt })
      if (former !== undefined) await new Board(job.disk, join(folder, former.session)).removeAll()
      const missing = new Set(Array.from({ length: world - 1 }, (_, index) => index + 1))
      const complete = await member.#poll(limits.join, signal, async () => {
        for (const rank of missing) {
          const here = await found(member.#board, `rank.${rank}.json`, hereSchema)
          if (here === undefined) continue
          member.#hosts[rank] = here.host
          await member.#check(rank, here)
          missing.delete(rank)
        }
        return missing.size === 0 ? true : undefined
      })
      if (complete === undefined) {
        await member.#failNow({ rank: 0, host: hostname(), code: "cluster/join", problem: `${missing.size} of ${world} processes did not join within ${seconds(limits.join)}: ranks ${someRanks([...missing])}`, exitCode: ExitCode.cluster })
      }
      await member.#board.put(WELCOME, true)
      return member
    } catch (error) {
      member.stop()
      throw error
    }
  }

  static async #find(job: FileJob, runBoard: Board, folder: string, notes: Set<string>, signal: AbortSignal): Promise<FileMember> {
    const { limits, rank, run } = job
    const until = now() + limits.join
    const over = new Set<string>()
    let failedSince: number | undefined
    let last = new ClusterError({ code: "cluster/join", problem: `rank 0 began no session in ${quote(folder)} within ${seconds(limits.join)}`, hint: "Does rank 0 run, and does it see the same directory?" })
    for (let wait = FIRST_PAUSE; now() < until; wait = Math.min(limits.beat / 5, wait * 1.5)) {
      const current = await found(runBoard, SESSION, sessionSchema)
      if (current !== undefined && current.attempt > run.attempt) throw superseded(run.attempt, current.attempt)
      if (current !== undefined && current.attempt === run.attempt && !over.has(current.session)) {
        const member = new FileMember(job, runBoard, join(folder, current.session), current.session, notes)
        try {
          const failure = await found(member.#board, FAILED, failureSchema)
          if (failure !== undefined) {
            // The job failed before this process came, or it is being started again.
            failedSince ??= now()
            if (now() - failedSince > limits.silence) {
              member.stop()
              throw errorOf(failure, rank)
            }
          } else if (!await member.#board.claim(`rank.${rank}.json`, member.#here())) {
            over.add(current.session)
            last = new ClusterError({ code: "cluster/duplicate", problem: `rank ${rank} is held by another process, and no new session began within ${seconds(limits.join)}` })
          } else {
            await member.#watch()
            const welcome = await member.#poll(until - now(), signal, () => member.#board.get(WELCOME))
            if (welcome !== undefined) return member
          }
          member.stop()
        } catch (error) {
          member.stop()
          // Another session began meanwhile: this process belongs to that.
          if (!(error instanceof ClusterError && error.code === "cluster/superseded")) throw error
          over.add(current.session)
        }
      }
      await pause(wait, undefined, { signal })
    }
    throw last
  }

  get failed(): Promise<MemberError | IoError | NoSpace> {
    return this.#failed.promise
  }

  /** Bytes of all ranks, at rank 0. */
  get total(): number {
    return this.#seen.reduce((sum, { done }) => sum + done, 0) + (this.#job.rank === 0 ? this.#done : 0)
  }

  progress(bytes: number): void {
    this.#done += bytes
  }

  /** The outcome of a step, as `TakeStep` has it. */
  async step({ key, kind, ranks, timeout, value, what }: StepCall): Promise<unknown> {
    const { rank } = this.#job
    const index = ranks.indexOf(rank)
    const name = `step.${hashed(key)}`
    const all = `${name}.all.json`
    const post = { kind, what, size: ranks.length, value: value ?? null }
    if (kind === "broadcast") {
      if (index === 0) {
        await this.#board.put(all, value)
        return value
      }
      return (await this.#await(all, timeout, () => `broadcast ${quote(what)} was not complete within ${seconds(timeout)}: rank ${ranks[0]} is missing`)).value
    }
    if (index > 0) {
      await this.#board.put(`${name}.${index}.json`, post)
      if (kind === "gather") return null
      return (await this.#await(all, timeout, () => `${kind} ${quote(what)} was not complete within ${seconds(timeout)}: rank ${ranks[0]} does not answer`)).value
    }
    const values = new Array<unknown>(ranks.length)
    values[0] = value
    const missing = new Set(Array.from({ length: ranks.length - 1 }, (_, other) => other + 1))
    const complete = await this.#poll(timeout, undefined, async () => {
      for (const other of missing) {
        const theirs = await found(this.#board, `${name}.${other}.json`, postSchema)
        if (theirs === undefined) continue
        await this.#sameStep(post, theirs, ranks[other]!)
        values[other] = theirs.value
        missing.delete(other)
      }
      return missing.size === 0 ? true : undefined
    })
    if (complete === undefined) throw late(`${kind} ${quote(what)} was not complete within ${seconds(timeout)}: ranks ${someRanks([...missing].map((other) => ranks[other]!))} are missing`)
    if (kind !== "gather") await this.#board.put(all, kind === "allGather" ? values : null)
    return kind === "gather" || kind === "allGather" ? values : null
  }

  /** This rank's share of a work is done. */
  async finished(work: string, results: ReadonlyArray<readonly [unit: number, value: unknown]>): Promise<void> {
    await this.#board.put(`done.${hashed(work)}.${this.#job.rank}.json`, results)
  }

  /** What all shares yielded, by unit. */
  async results(work: string, units: number, timeout: number): Promise<ReadonlyArray<unknown>> {
    const { world } = this.#job
    const values = new Array<unknown>(units)
    const missing = new Set(Array.from({ length: world }, (_, rank) => rank))
    const complete = await this.#poll(timeout, undefined, async () => {
      for (const rank of missing) {
        const share = await found(this.#board, `done.${hashed(work)}.${rank}.json`, doneSchema)
        if (share === undefined) continue
        for (const [unit, value] of share) values[unit] = value
        missing.delete(rank)
      }
      return missing.size === 0 ? true : undefined
    })
    if (complete === undefined) throw late(`work ${quote(work)} was not done within ${seconds(timeout)}: the shares of ranks ${someRanks([...missing])} are missing`)
    return values
  }

  /** The first failure of the session wins. */
  async fail(failure: JobFailure): Promise<void> {
    await this.#board.claim(FAILED, failure)
  }

  /** Done, or ended for `failure`. Rank 0 waits for the others and clears up. */
  async close(failure: JobFailure | undefined): Promise<void> {
    const { limits, rank, world } = this.#job
    try {
      if (failure !== undefined && this.#error === undefined) await this.fail(failure)
      this.#isLeaving = true
      if (rank !== 0) await this.#rest()
      await this.#board.put(`left.${rank}.json`, true)
      if (rank !== 0) return
      const missing = new Set(Array.from({ length: world - 1 }, (_, index) => index + 1))
      const hasFailed = failure !== undefined || this.#error !== undefined
      const gone = await this.#poll(hasFailed ? Math.min(limits.silence, 3 * limits.beat) : Infinity, undefined, async () => {
        for (const other of missing) if (await this.#board.get(`left.${other}.json`) !== undefined) missing.delete(other)
        return missing.size === 0 ? true : undefined
      }, hasFailed)
      await this.#rest()
      if (gone === undefined) return
      await this.#runBoard.remove(SESSION)
      await this.#board.removeAll()
      await this.#job.disk.removeDirectory(join(this.#job.directory, `.megatron-mimo.${await runName(this.#job.run.run)}`)).catch(() => {})
    } finally {
      this.stop()
    }
  }

  /** No more signs of life. */
  stop(): void {
    clearInterval(this.#timer)
    this.#isLeaving = true
  }

  /** The last sign of life has been given: nothing is being written any more. */
  async #rest(): Promise<void> {
    this.stop()
    await this.#watching
  }

  #here() {
    const { plan, version, world } = this.#job
    return { host: hostname(), plan, version, world }
  }

  async #check(rank: number, here: z.infer<typeof hereSchema>): Promise<void> {
    const { plan, version, world } = this.#job
    const wrong = here.version !== version ? ["launch/version", `rank ${rank} on host ${quote(here.host)} runs version ${quote(here.version)}, rank 0 runs ${version}`]
      : here.world !== world ? ["launch/world", `rank ${rank} on host ${quote(here.host)} was told of ${here.world} processes, rank 0 of ${world}`]
      : here.plan !== plan ? ["launch/plan", `rank ${rank} on host ${quote(here.host)} would do something else than rank 0: other options, or it sees another source`]
      : undefined
    if (wrong !== undefined) await this.#failNow({ rank, host: here.host, code: wrong[0]!, problem: wrong[1]!, exitCode: ExitCode.usage })
  }

  async #sameStep(own: z.infer<typeof postSchema>, theirs: z.infer<typeof postSchema>, rank: number): Promise<void> {
    const host = this.#hosts[rank] ?? "unknown"
    if (theirs.kind !== own.kind || theirs.what !== own.what || theirs.size !== own.size) {
      await this.#failNow({ rank, host, code: "cluster/order", problem: `rank ${rank} is at ${quote(theirs.kind)} ${quote(theirs.what)} where rank ${this.#job.rank} is at ${own.kind} ${quote(own.what)}: the members of a group must take the same steps`, exitCode: ExitCode.cluster })
    }
    if (own.kind === "agree" && theirs.value !== own.value) {
      await this.#failNow({ rank, host, code: "launch/plan", problem: `rank ${rank} does not have what rank ${this.#job.rank} has at ${quote(own.what)}: it sees another source, or was given other options`, exitCode: ExitCode.usage })
    }
  }

  async #failNow(failure: JobFailure): Promise<never> {
    await this.fail(failure)
    const first = await found(this.#board, FAILED, failureSchema) ?? failure
    this.#end(errorOf(first, this.#job.rank))
    throw this.#error
  }

  async #await(name: string, timeout: number, problem: () => string): Promise<{ readonly value: unknown }> {
    const document = await this.#poll(timeout, undefined, () => this.#board.get(name))
    if (document === undefined) throw late(problem())
    return document
  }

  /** Look again and again, less and less often; undefined: in vain. */
  async #poll<A>(timeout: number, signal: AbortSignal | undefined, look: () => Promise<A | undefined>, evenIfFailed = false): Promise<A | undefined> {
    const until = now() + timeout
    for (let wait = FIRST_PAUSE;; wait = Math.min(this.#job.limits.beat / 5, wait * 1.5)) {
      if (this.#error !== undefined && !evenIfFailed) throw this.#error
      const seen = await look()
      if (seen !== undefined) return seen
      if (now() >= until) return undefined
      await pause(wait, undefined, signal === undefined ? {} : { signal })
    }
  }

  /** Once a beat: give a sign of life, look for those of others, for a failure and for a newer session. */
  #watch(): Promise<void> {
    return this.#watching ??= this.#look().finally(() => { this.#watching = undefined })
  }

  async #look(): Promise<void> {
    if (this.#error !== undefined) return
    const { limits, rank, run, world } = this.#job
    try {
      await this.#board.put(`beat.${rank}.json`, { count: ++this.#count, done: this.#done })
      const failure = await found(this.#board, FAILED, failureSchema)
      if (failure !== undefined) return this.#end(errorOf(failure, rank))
      const current = await found(this.#runBoard, SESSION, sessionSchema)
      if (current !== undefined && current.session !== this.#session && this.#count > 1) {
        return this.#end(current.attempt > run.attempt ? superseded(run.attempt, current.attempt) : new ClusterError({ code: "cluster/superseded", problem: "the job was started again: rank 0 began a new session" }))
      }
      const isPaid = this.#attention.isPaid(now())
      for (const other of rank === 0 ? Array.from({ length: world - 1 }, (_, index) => index + 1) : [0]) {
        const beat = await found(this.#board, `beat.${other}.json`, beatSchema)
        const before = this.#seen[other]
        if (beat !== undefined && beat.count !== before?.count) this.#seen[other] = { count: beat.count, at: now(), done: beat.done }
        else if (before !== undefined && isPaid && now() - before.at > limits.silence && !await this.#hasLeft(other)) {
          if (rank === 0) await this.fail({ rank: other, host: this.#hosts[other] ?? "unknown", code: "cluster/lost", problem: `it was lost: no sign of life for ${seconds(limits.silence)}`, exitCode: ExitCode.cluster })
          else this.#end(new ClusterError({ code: "cluster/coordinator-lost", problem: `rank 0 was lost: no sign of life for ${seconds(limits.silence)}`, hint: "Start the job again with --resume." }))
        }
      }
    } catch (error) {
      // It belongs to a session whose files were removed.
      if (!this.#isLeaving) this.#end(error as MemberError | IoError | NoSpace)
    }
  }

  async #hasLeft(rank: number): Promise<boolean> {
    return await this.#board.get(`left.${rank}.json`) !== undefined
  }

  #end(error: MemberError | IoError | NoSpace): void {
    if (this.#error !== undefined) return
    this.#error = error
    this.#failed.resolve(error)
  }
}

const late = (problem: string): ClusterError => new ClusterError({ code: "cluster/timeout", problem })

const superseded = (own: number, newer: number): ClusterError => new ClusterError({ code: "cluster/superseded", problem: `attempt ${own} was given up: attempt ${newer} runs` })
