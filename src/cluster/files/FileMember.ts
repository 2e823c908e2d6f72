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
 */
import { createHash } from "node:crypto"
import { z } from "zod"
import { ClusterError, ExitCode, type IoError, type NoSpace, quote } from "../../errors.ts"
import type { StepCall } from "../communicator.ts"
import { seconds } from "../limits.ts"
import type { MemberError } from "../Member.ts"
import type { JobFailure } from "../messages.ts"
import { someRanks } from "../rankRuns.ts"
import { doneSchema, type FileJob, leftName, othersOf, postSchema, SESSION } from "./documents.ts"
import { joinSession } from "./join.ts"
import type { FileSession } from "./FileSession.ts"

const hashed = (key: string): string => createHash("sha256").update(key).digest("hex").slice(0, 32)

export class FileMember {
  readonly #session: FileSession

  private constructor(session: FileSession) {
    this.#session = session
  }

  static async join(job: FileJob, signal: AbortSignal): Promise<FileMember> {
    return new FileMember(await joinSession(job, signal))
  }

  get failed(): Promise<MemberError | IoError | NoSpace> {
    return this.#session.failed
  }

  /** Bytes of all ranks, at rank 0. */
  get total(): number {
    return this.#session.total
  }

  /** What is to be said of the file system. */
  get notes(): ReadonlySet<string> {
    return this.#session.run.notes
  }

  progress(bytes: number): void {
    this.#session.progress(bytes)
  }

  /** The outcome of a step, as `TakeStep` has it. */
  async step({ key, kind, ranks, timeout, value, what }: StepCall): Promise<unknown> {
    const { board, job: { rank } } = this.#session
    const index = ranks.indexOf(rank)
    const name = `step.${hashed(key)}`
    const all = `${name}.all.json`
    const post = { kind, what, size: ranks.length, value: value ?? null }
    const incomplete = (why: string): string => `${kind} ${quote(what)} was not complete within ${seconds(timeout)}: ${why}`
    if (kind === "broadcast") {
      if (index !== 0) return this.#await(all, timeout, incomplete(`rank ${ranks[0]} is missing`))
      await board.put(all, value)
      return value
    }
    if (index > 0) {
      await board.put(`${name}.${index}.json`, post)
      return kind === "gather" ? null : this.#await(all, timeout, incomplete(`rank ${ranks[0]} does not answer`))
    }
    const values = new Array<unknown>(ranks.length)
    values[0] = value
    const missing = await this.#session.gather({
      from: ranks.keys().drop(1), name: (other) => `${name}.${other}.json`, schema: postSchema, timeout,
      take: async (other, theirs) => {
        await this.#sameStep(post, theirs, ranks[other]!)
        values[other] = theirs.value
      }
    })
    if (missing.length > 0) throw late(incomplete(`ranks ${someRanks(missing.map((other) => ranks[other]!))} are missing`))
    if (kind !== "gather") await board.put(all, kind === "allGather" ? values : null)
    return kind === "gather" || kind === "allGather" ? values : null
  }

  /** This rank's share of a work is done. */
  async finished(work: string, results: ReadonlyArray<readonly [unit: number, value: unknown]>): Promise<void> {
    const { board, job: { rank } } = this.#session
    await board.put(`done.${hashed(work)}.${rank}.json`, results)
  }

  /** What all shares yielded, by unit. */
  async results(work: string, units: number, timeout: number): Promise<ReadonlyArray<unknown>> {
    const { job } = this.#session
    const values = new Array<unknown>(units)
    const missing = await this.#session.gather({
      from: [0, ...othersOf(job)], name: (rank) => `done.${hashed(work)}.${rank}.json`, schema: doneSchema, timeout,
      take: (_, share) => { for (const [unit, value] of share) values[unit] = value }
    })
    if (missing.length > 0) throw late(`work ${quote(work)} was not done within ${seconds(timeout)}: the shares of ranks ${someRanks(missing)} are missing`)
    return values
  }

  /** The first failure of the session wins. */
  fail(failure: JobFailure): Promise<void> {
    return this.#session.fail(failure)
  }

  /** Done, or ended for `failure`. Rank 0 waits for the others and clears up. */
  async close(failure: JobFailure | undefined): Promise<void> {
    const session = this.#session
    const { board, job, run } = session
    const { beat, silence } = job.limits
    try {
      if (failure !== undefined && !session.hasFailed) await this.fail(failure)
      session.leave()
      if (job.rank !== 0) await session.rest()
      await board.put(leftName(job.rank), true)
      if (job.rank !== 0) return
      const hasFailed = failure !== undefined || session.hasFailed
      const missing = await session.gather({
        from: othersOf(job), name: leftName, schema: z.literal(true), timeout: hasFailed ? Math.min(silence, 3 * beat) : Infinity, evenIfFailed: hasFailed
      })
      await session.rest()
      if (missing.length > 0) return
      await run.board.remove(SESSION)
      await board.removeAll()
      await job.disk.removeDirectory(run.path).catch(() => {})
    } finally {
      session.stop()
    }
  }

  async #sameStep(own: z.infer<typeof postSchema>, theirs: z.infer<typeof postSchema>, rank: number): Promise<void> {
    const { hosts, job } = this.#session
    const host = hosts[rank] ?? "unknown"
    if (theirs.kind !== own.kind || theirs.what !== own.what || theirs.size !== own.size) {
      await this.#session.failNow({ rank, host, code: "cluster/order", problem: `rank ${rank} is at ${quote(theirs.kind)} ${quote(theirs.what)} where rank ${job.rank} is at ${own.kind} ${quote(own.what)}: the members of a group must take the same steps`, exitCode: ExitCode.cluster })
    }
    if (own.kind === "agree" && theirs.value !== own.value) {
      await this.#session.failNow({ rank, host, code: "launch/plan", problem: `rank ${rank} does not have what rank ${job.rank} has at ${quote(own.what)}: it sees another source, or was given other options`, exitCode: ExitCode.usage })
    }
  }

  async #await(name: string, timeout: number, problem: string): Promise<unknown> {
    const document = await this.#session.poll(timeout, undefined, () => this.#session.board.get(name))
    if (document === undefined) throw late(problem)
    return document.value
  }
}

const late = (problem: string): ClusterError => new ClusterError({ code: "cluster/timeout", problem })
