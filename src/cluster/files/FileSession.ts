/**
 * One session of a job whose processes meet in files, as one of them sees it: its board, the signs of life of all, the first failure.
 * Silence is told by a number that does not grow, in the time of who looks.
 */
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import type { z } from "zod"
import { ClusterError, ExitCode, type IoError, type NoSpace } from "../../errors.ts"
import { errorOf } from "../failures.ts"
import { Attention, seconds } from "../limits.ts"
import type { MemberError } from "../Member.ts"
import { failureSchema, type JobFailure } from "../messages.ts"
import { Board } from "./Board.ts"
import { beatSchema, FAILED, type FileJob, found, leftName, othersOf, type RunFolder, SESSION, sessionSchema } from "./documents.ts"

/** Milliseconds between the first two looks. */
export const FIRST_PAUSE = 10

const now = (): number => performance.now()

interface Gathering<A> {
  readonly from: Iterable<number>
  readonly name: (one: number) => string
  readonly schema: z.ZodType<A>
  readonly take?: (one: number, value: A) => void | Promise<void>
  readonly timeout: number
  readonly signal?: AbortSignal
  readonly evenIfFailed?: boolean
}

export class FileSession {
  readonly board: Board
  readonly run: RunFolder
  readonly job: FileJob
  /** By rank, as far as they are known here. */
  readonly hosts: Array<string> = []
  readonly #id: string
  readonly #attention: Attention
  readonly #failed = Promise.withResolvers<MemberError | IoError | NoSpace>()
  readonly #seen: Array<{ count: number; at: number; done: number }> = []
  readonly #timer: NodeJS.Timeout
  #error: MemberError | IoError | NoSpace | undefined
  #count = 0
  #done = 0
  #watching: Promise<void> | undefined
  #isLeaving = false

  constructor(job: FileJob, run: RunFolder, id: string) {
    this.job = job
    this.run = run
    this.#id = id
    this.board = new Board(job.disk, join(run.path, id), run.notes)
    this.#attention = new Attention(job.limits.beat, now())
    this.#timer = setInterval(() => { void this.watch() }, job.limits.beat)
  }

  get failed(): Promise<MemberError | IoError | NoSpace> {
    return this.#failed.promise
  }

  get hasFailed(): boolean {
    return this.#error !== undefined
  }

  /** Bytes of all ranks, at rank 0. */
  get total(): number {
    return this.#seen.reduce((sum, { done }) => sum + done, 0) + (this.job.rank === 0 ? this.#done : 0)
  }

  progress(bytes: number): void {
    this.#done += bytes
  }

  /** The first failure of the session wins. */
  async fail(failure: JobFailure): Promise<void> {
    await this.board.claim(FAILED, failure)
  }

  async failNow(failure: JobFailure): Promise<never> {
    await this.fail(failure)
    const first = await found(this.board, FAILED, failureSchema) ?? failure
    this.#end(errorOf(first, this.job.rank))
    throw this.#error
  }

  /** Look again and again, less and less often; undefined: in vain. */
  async poll<A>(timeout: number, signal: AbortSignal | undefined, look: () => Promise<A | undefined>, evenIfFailed = false): Promise<A | undefined> {
    const until = now() + timeout
    for (let wait = FIRST_PAUSE;; wait = Math.min(this.job.limits.beat / 5, wait * 1.5)) {
      if (this.#error !== undefined && !evenIfFailed) throw this.#error
      const seen = await look()
      if (seen !== undefined) return seen
      if (now() >= until) return undefined
      await pause(wait, undefined, signal === undefined ? {} : { signal })
    }
  }

  /** Once a beat: give a sign of life, look for those of others, for a failure and for a newer session. */
  watch(): Promise<void> {
    return this.#watching ??= this.#look().finally(() => { this.#watching = undefined })
  }

  async #look(): Promise<void> {
    if (this.#error !== undefined) return
    const { limits, rank, run } = this.job
    try {
      await this.board.put(`beat.${rank}.json`, { count: ++this.#count, done: this.#done })
      const failure = await found(this.board, FAILED, failureSchema)
      if (failure !== undefined) return this.#end(errorOf(failure, rank))
      const current = await found(this.run.board, SESSION, sessionSchema)
      if (current !== undefined && current.session !== this.#id && this.#count > 1) {
        return this.#end(current.attempt > run.attempt ? superseded(run.attempt, current.attempt) : new ClusterError({ code: "cluster/superseded", problem: "the job was started again: rank 0 began a new session" }))
      }
      const isPaid = this.#attention.isPaid(now())
      for (const other of rank === 0 ? othersOf(this.job) : [0]) {
        const beat = await found(this.board, `beat.${other}.json`, beatSchema)
        const before = this.#seen[other]
        if (beat !== undefined && beat.count !== before?.count) this.#seen[other] = { count: beat.count, at: now(), done: beat.done }
        else if (before !== undefined && isPaid && now() - before.at > limits.silence && !await this.#hasLeft(other)) {
          if (rank === 0) await this.fail({ rank: other, host: this.hosts[other] ?? "unknown", code: "cluster/lost", problem: `it was lost: no sign of life for ${seconds(limits.silence)}`, exitCode: ExitCode.cluster })
          else this.#end(new ClusterError({ code: "cluster/coordinator-lost", problem: `rank 0 was lost: no sign of life for ${seconds(limits.silence)}`, hint: "Start the job again with --resume." }))
        }
      }
    } catch (error) {
      // It belongs to a session whose files were removed.
      if (!this.#isLeaving) this.#end(error as MemberError | IoError | NoSpace)
    }
  }

  /**
   * Take what each of `from` leaves under its name, as it comes. Whose did not come in time: none, if all is well. `evenIfFailed`: although the
   * job has failed.
   */
  async gather<A>({ evenIfFailed, from, name, schema, signal, take, timeout }: Gathering<A>): Promise<ReadonlyArray<number>> {
    const missing = new Set(from)
    await this.poll(timeout, signal, async () => {
      for (const one of missing) {
        const value = await found(this.board, name(one), schema)
        if (value === undefined) continue
        await take?.(one, value)
        missing.delete(one)
      }
      return missing.size === 0 ? true : undefined
    }, evenIfFailed)
    return [...missing]
  }

  /** From here on others may be gone. */
  leave(): void {
    this.#isLeaving = true
  }

  /** No more signs of life. */
  stop(): void {
    clearInterval(this.#timer)
    this.leave()
  }

  /** The last sign of life has been given: nothing is being written any more. */
  async rest(): Promise<void> {
    this.stop()
    await this.#watching
  }

  async #hasLeft(rank: number): Promise<boolean> {
    return await this.board.get(leftName(rank)) !== undefined
  }

  #end(error: MemberError | IoError | NoSpace): void {
    if (this.#error !== undefined) return
    this.#error = error
    this.#failed.resolve(error)
  }
}

/** Attempt `own` of the job meets a newer one. */
export const superseded = (own: number, newer: number): ClusterError => new ClusterError({ code: "cluster/superseded", problem: `attempt ${own} was given up: attempt ${newer} runs` })
