/** Into a job and out of it: the driver that the launch asks for, and how its end is told. */
import { Cause, Effect, Exit, type Scope } from "effect"
import { type BridgeError, LaunchError } from "../errors.ts"
import { meeting } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { VERSION } from "../version.ts"
import { failureOf, interrupted, writeErrorFile } from "./failures.ts"
import type { FileJob } from "./files/documents.ts"
import { FileMember } from "./files/FileMember.ts"
import { filesWorld } from "./files/filesWorld.ts"
import type { Environment } from "../websocket/Environment.ts"
import { type Launch, VARIABLES } from "./launch.ts"
import { FILE_LIMITS, type Limits, LIMITS } from "./limits.ts"
import { memberWorld } from "./memberWorld.ts"
import type { Envelope, JobFailure } from "./messages.ts"
import { parseRendezvous } from "./rendezvous.ts"
import { singleWorld } from "./single.ts"
import { underWorld, World, type WorldCalls, type WorldError } from "./World.ts"
import { openSession } from "./ws/session.ts"

/** What a process must know to join its job. */
export interface JobOptions {
  readonly launch: Launch
  /** `--rendezvous`, see rendezvous.ts. */
  readonly rendezvous?: string | undefined
  /** Where processes meet if nothing is said: beside what is written. */
  readonly directory: string
  /** Digest of what is to be done: command, options, sources as this process sees them. */
  readonly plan: string
  readonly limits?: Partial<Limits>
  /** At rank 0 of processes that it started itself: whether one that has not joined may still do so. What never will is not waited for. */
  readonly mayCome?: (rank: number) => boolean
  readonly version?: string
  readonly env?: Environment
}

const runOf = ({ attempt, launcher, runId }: Launch): Envelope => {
  if (runId !== undefined) return { run: runId, attempt }
  throw new LaunchError({
    code: "launch/incomplete",
    problem: `the job has no name that tells it from others: ${launcher === "flags" || launcher === "variables" ? "nothing gives one" : `${launcher} gives none`}`,
    hint: `Set ${VARIABLES.runId} to the same in all its processes and another in every other job.`
  })
}

const failureIn = (rank: number, exit: Exit.Exit<unknown, unknown>): JobFailure | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  return Cause.hasInterruptsOnly(exit.cause) ? interrupted(rank) : failureOf(rank, Cause.squash(exit.cause))
}

/** Join the job; it is left with the scope: as done, or failed if the scope fails. */
const openWorld = (options: JobOptions): Effect.Effect<WorldCalls, WorldError, Scope.Scope | Disk> =>
  Effect.gen(function*() {
    const { directory, env = process.env, launch, mayCome, plan, rendezvous, version = VERSION } = options
    if (launch.worldSize === 1) return singleWorld(launch.runId)
    const run = yield* meeting(() => runOf(launch))
    const place = yield* meeting(() => parseRendezvous(rendezvous, directory, launch))
    const leave = (member: { readonly close: (failure: JobFailure | undefined) => Promise<void> }, exit: Exit.Exit<unknown, unknown>) =>
      Effect.promise(() => member.close(failureIn(launch.rank, exit)))
    if (place.kind === "file") {
      const disk = yield* Disk
      const job: FileJob = { disk, directory: place.path, run, rank: launch.rank, world: launch.worldSize, plan, version, limits: { ...FILE_LIMITS, ...options.limits } }
      const member = yield* Effect.acquireRelease(meeting((signal) => FileMember.join(job, signal)), leave, { interruptible: true })
      return filesWorld(member, job)
    }
    const session = yield* Effect.acquireRelease(
      meeting((signal) => openSession({ launch, run, rendezvous: place, plan, version, limits: { ...LIMITS, ...options.limits }, env, mayCome }, signal)),
      leave,
      { interruptible: true }
    )
    return memberWorld(session)
  })

/**
 * Run `use` as this process's part of a job. It ends when another process fails, with {@link PeerFailed}; its own failure ends the
 * others. The launcher's error file gets the cause.
 */
export const inWorld = <A, E extends BridgeError, R>(options: JobOptions, use: Effect.Effect<A, E, R | World>): Effect.Effect<A, E | WorldError, Exclude<R, World> | Disk> =>
  Effect.suspend(() => {
    const tell = (error: unknown) => Effect.sync(() => { writeErrorFile(error, options.env) })
    return Effect.scoped(Effect.gen(function*() {
      const world = yield* openWorld(options)
      // Before the others hear of it: torchrun takes the first process that ends for the cause, and ends this one.
      return yield* underWorld(use).pipe(Effect.provideService(World, world), Effect.tapError(tell))
    })).pipe(Effect.tapError(tell))
  }) as Effect.Effect<A, E | WorldError, Exclude<R, World> | Disk>
