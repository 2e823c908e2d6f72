/**
 * The processes of a job as one service: who they are, and the few things they say to each other.
 *
 * Three drivers: a single process (single.ts), a coordinator over WebSockets (ws/), files in a shared directory (files/). Weights never
 * travel between processes; every process reads and writes files.
 *
 * **Details**
 *
 * The first failure wins: when one process fails, or is lost, every call of every other one fails with the same {@link PeerFailed},
 * and so does {@link WorldCalls.failed}, which {@link underWorld} races against the work.
 *
 * **Gotchas**
 *
 * Members of a group must make its calls in the same order, as with torch's process groups. `what` names the step in messages, and a
 * step where members are at different ones is an error.
 */
import { Context, Effect, Option } from "effect"
import type { ZodType } from "zod"
import type { ClusterError, IoError, LaunchError, NoSpace, PeerFailed } from "../errors.ts"

/** What every call can fail with; the last two where processes meet in files. */
export type WorldError = ClusterError | LaunchError | PeerFailed | NoSpace | IoError

export interface Wait {
  /** Milliseconds. Default: ten minutes. */
  readonly timeout?: number
}

/** Values are small plain data: all those of a step together have at most {@link LARGEST_EXCHANGE} bytes as JSON. */
export interface Communicator {
  readonly name: string
  /** Members as ranks of the world, in the order of the group. */
  readonly ranks: ReadonlyArray<number>
  /** Index in `ranks`. */
  readonly rank: number
  readonly size: number
  /** Waits until every member is here. */
  readonly barrier: (what: string, wait?: Wait) => Effect.Effect<void, WorldError>
  /** The value that the first member gives, at all members; what others give counts for nothing. */
  readonly broadcast: <A>(what: string, schema: ZodType<A>, value: A | undefined, wait?: Wait) => Effect.Effect<A, WorldError>
  /** The values of all members, in their order. */
  readonly allGather: <A>(what: string, schema: ZodType<A>, value: A, wait?: Wait) => Effect.Effect<ReadonlyArray<A>, WorldError>
  /** The values of all members, in their order, at the first one; undefined at the others, which do not wait. */
  readonly gather: <A>(what: string, schema: ZodType<A>, value: A, wait?: Wait) => Effect.Effect<ReadonlyArray<A> | undefined, WorldError>
  /** Waits until every member is here, and fails the job with `launch/plan` if they do not give the same value. */
  readonly agree: (what: string, digest: string, wait?: Wait) => Effect.Effect<void, WorldError>
}

/**
 * Units of work that are dealt to ranks.
 *
 * **Details**
 *
 * Unit `i` is of `sizes[i]` bytes; every rank first gets its own share (`dealt`). Over WebSockets a rank that has finished takes units
 * from the rank that has most left of those that have begun, and a unit whose holder makes no progress for as long as a lease lasts, or
 * takes several times as long as others did, is given to a second rank: a unit may be done twice, and only the first to be finished is
 * accepted. What a unit yields must therefore not depend on who does it, and must not be visible before all is done (names of its own,
 * renamed by the committer).
 */
export interface Work<A> {
  /** The next unit for this rank; undefined: there is none left. */
  readonly take: Effect.Effect<number | undefined, WorldError>
  /** Whether this was the first to finish the unit. */
  readonly done: (unit: number, result: A) => Effect.Effect<boolean, WorldError>
  /** Completes when another rank has finished the unit, which this one is at: then {@link leaveOff}. */
  readonly superseded: (unit: number) => Effect.Effect<void>
  /** The unit is not finished here, and nothing of it is under way any more. */
  readonly leaveOff: (unit: number) => Effect.Effect<void, WorldError>
  /**
   * Waits until all units are done and no rank is at one any more, by default for as long as all processes live. At rank 0: what was
   * accepted, by unit. Elsewhere undefined, at once.
   */
  readonly results: (wait?: Wait) => Effect.Effect<ReadonlyArray<A> | undefined, WorldError>
}

/** The group of all processes, and what only all of them have: groups, shared work, progress, failure. */
export interface WorldCalls extends Communicator {
  /** The same in all processes of the job and in no other job. */
  readonly runId: string
  readonly attempt: number
  /**
   * The group of these ranks; undefined in a process that is not among them. Nothing is exchanged: every member must use the same name
   * for the same ranks.
   */
  readonly group: (name: string, ranks: ReadonlyArray<number>) => Communicator | undefined
  /** Deal out units of these sizes (bytes; the same in all processes). `owners`: the rank of each unit; by default dealt by bytes. */
  readonly work: <A>(name: string, sizes: ReadonlyArray<number>, schema: ZodType<A>, owners?: ReadonlyArray<number>) => Work<A>
  /** Bytes done since the last call; those of all ranks are added up at rank 0 and keep leases. */
  readonly progress: (bytes: number) => void
  /** Bytes done by all ranks, so far as rank 0 knows; 0 elsewhere. */
  readonly total: () => number
  /** Fails when another process does; never succeeds. */
  readonly failed: Effect.Effect<never, WorldError>
  /** Things worth a line in the report. */
  readonly notes: () => ReadonlyArray<string>
}

/** Bytes of the JSON of all values of one step: what fits into a message beside its envelope. */
export const LARGEST_EXCHANGE = 1_000_000

/** The job that the surrounding Effect runs in. */
export class World extends Context.Service<World, WorldCalls>()("megatron-mimo/World") {}

/** Run `use` in the world: it ends as soon as another process fails. */
export const underWorld = <A, E, R>(use: Effect.Effect<A, E, R>): Effect.Effect<A, E | WorldError, R | World> =>
  Effect.gen(function*() {
    const world = yield* World
    return yield* Effect.raceFirst(use, world.failed)
  })

/** Do units until none is left for this rank. `use` is interrupted when another rank has done the unit: nothing of it may go on then. */
export const eachUnit = <A, E, R>(work: Work<A>, use: (unit: number) => Effect.Effect<A, E, R>): Effect.Effect<void, E | WorldError, R> =>
  Effect.gen(function*() {
    for (;;) {
      const unit = yield* work.take
      if (unit === undefined) return
      const result = yield* Effect.raceFirst(Effect.asSome(use(unit)), Effect.as(work.superseded(unit), Option.none<A>()))
      yield* Option.isSome(result) ? work.done(unit, result.value) : work.leaveOff(unit)
    }
  })
