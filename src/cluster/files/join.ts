/** How a process finds the others: rank 0 begins a session, the others come into it. */
import { hostname } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import type { z } from "zod"
import { ClusterError, ExitCode, quote } from "../../errors.ts"
import { errorOf } from "../failures.ts"
import { seconds } from "../limits.ts"
import { failureSchema } from "../messages.ts"
import { someRanks } from "../rankRuns.ts"
import { runName } from "../rendezvous.ts"
import { Board } from "./Board.ts"
import { FAILED, type FileJob, found, hereSchema, othersOf, type RunFolder, SESSION, sessionSchema, WELCOME } from "./documents.ts"
import { FIRST_PAUSE, FileSession, superseded } from "./FileSession.ts"

const now = (): number => performance.now()

const ownRank = (rank: number): string => `rank.${rank}.json`

const here = ({ plan, version, world }: FileJob): z.infer<typeof hereSchema> => ({ host: hostname(), plan, version, world })

/** Fails the job if a process of another version, world or plan came. */
const check = async (session: FileSession, rank: number, { host, plan, version, world }: z.infer<typeof hereSchema>): Promise<void> => {
  const { job } = session
  const wrong = version !== job.version ? ["launch/version", `rank ${rank} on host ${quote(host)} runs version ${quote(version)}, rank 0 runs ${job.version}`]
    : world !== job.world ? ["launch/world", `rank ${rank} on host ${quote(host)} was told of ${world} processes, rank 0 of ${job.world}`]
    : plan !== job.plan ? ["launch/plan", `rank ${rank} on host ${quote(host)} would do something else than rank 0: other options, or it sees another source`]
    : undefined
  if (wrong !== undefined) await session.failNow({ rank, host, code: wrong[0]!, problem: wrong[1]!, exitCode: ExitCode.usage })
}

const begin = async (job: FileJob, run: RunFolder, signal: AbortSignal): Promise<FileSession> => {
  const { limits, run: { attempt }, world } = job
  const former = await found(run.board, SESSION, sessionSchema)
  if (former !== undefined && former.attempt > attempt) throw superseded(attempt, former.attempt)
  const id = crypto.randomUUID()
  const session = new FileSession(job, run, id)
  try {
    await session.board.makeFolder()
    await session.board.claim(ownRank(0), here(job))
    await session.watch()
    await run.board.put(SESSION, { session: id, attempt })
    if (former !== undefined) await new Board(job.disk, join(run.path, former.session)).removeAll()
    const missing = await session.gather({
      from: othersOf(job), name: ownRank, schema: hereSchema, timeout: limits.join, signal,
      take: async (rank, theirs) => {
        session.hosts[rank] = theirs.host
        await check(session, rank, theirs)
      }
    })
    if (missing.length > 0) {
      await session.failNow({ rank: 0, host: hostname(), code: "cluster/join", problem: `${missing.length} of ${world} processes did not join within ${seconds(limits.join)}: ranks ${someRanks(missing)}`, exitCode: ExitCode.cluster })
    }
    await session.board.put(WELCOME, true)
    return session
  } catch (error) {
    session.stop()
    throw error
  }
}

const find = async (job: FileJob, run: RunFolder, signal: AbortSignal): Promise<FileSession> => {
  const { limits, rank, run: { attempt } } = job
  const until = now() + limits.join
  const over = new Set<string>()
  let failedSince: number | undefined
  let last = new ClusterError({ code: "cluster/join", problem: `rank 0 began no session in ${quote(run.path)} within ${seconds(limits.join)}`, hint: "Does rank 0 run, and does it see the same directory?" })
  for (let wait = FIRST_PAUSE; now() < until; wait = Math.min(limits.beat / 5, wait * 1.5)) {
    const current = await found(run.board, SESSION, sessionSchema)
    if (current !== undefined && current.attempt > attempt) throw superseded(attempt, current.attempt)
    if (current !== undefined && current.attempt === attempt && !over.has(current.session)) {
      const session = new FileSession(job, run, current.session)
      try {
        const failure = await found(session.board, FAILED, failureSchema)
        if (failure !== undefined) {
          // The job failed before this process came, or it is being started again.
          failedSince ??= now()
          if (now() - failedSince > limits.silence) {
            session.stop()
            throw errorOf(failure, rank)
          }
        } else if (!await session.board.claim(ownRank(rank), here(job))) {
          over.add(current.session)
          last = new ClusterError({ code: "cluster/duplicate", problem: `rank ${rank} is held by another process, and no new session began within ${seconds(limits.join)}` })
        } else {
          await session.watch()
          const welcome = await session.poll(until - now(), signal, () => session.board.get(WELCOME))
          if (welcome !== undefined) return session
        }
        session.stop()
      } catch (error) {
        session.stop()
        // Another session began meanwhile: this process belongs to that.
        if (!(error instanceof ClusterError && error.code === "cluster/superseded")) throw error
        over.add(current.session)
      }
    }
    await pause(wait, undefined, { signal })
  }
  throw last
}

/** The session that this process is of, once all are there. Rejects with MemberError, IoError, NoSpace. */
export const joinSession = async (job: FileJob, signal: AbortSignal): Promise<FileSession> => {
  const notes = new Set<string>()
  const path = join(job.directory, `.megatron-mimo.${await runName(job.run.run)}`)
  const run = { path, notes, board: new Board(job.disk, path, notes) }
  await run.board.makeFolder()
  return job.rank === 0 ? begin(job, run, signal) : find(job, run, signal)
}
