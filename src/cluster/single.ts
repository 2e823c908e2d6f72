/** A world of one process: nobody to wait for. */
import { Effect, Option } from "effect"
import { communicator, type StepCall } from "./communicator.ts"
import { type Work, World, type WorldCalls } from "./World.ts"

const answer = async ({ kind, value }: StepCall): Promise<unknown> => (kind === "allGather" || kind === "gather" ? [value] : value)

export const singleWorld = (runId: string = crypto.randomUUID()): WorldCalls => {
  let bytes = 0
  return {
    ...communicator("world", [0], 0, answer)!,
    runId,
    attempt: 0,
    group: (name, ranks) => communicator(name, ranks, 0, answer),
    work: <A>(_: string, sizes: ReadonlyArray<number>): Work<A> => {
      let next = 0
      const results = new Array<A>(sizes.length)
      return {
        take: Effect.sync(() => (next < sizes.length ? next++ : undefined)),
        done: (unit, result) => Effect.sync(() => { results[unit] = result; return true }),
        superseded: () => Effect.never,
        leaveOff: () => Effect.void,
        results: () => Effect.sync(() => results)
      }
    },
    progress: (n) => { bytes += n },
    total: () => bytes,
    failed: Effect.never,
    notes: () => []
  }
}

/** The world that the work runs in; outside of any job one of a single process. */
export const currentWorld: Effect.Effect<WorldCalls> = Effect.map(Effect.serviceOption(World), Option.getOrElse(() => singleWorld()))

/** Run `use` as if there were no other process: what a job's processes would ask each other, it finds out by itself. */
export const asOneProcess = <A, E, R>(use: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, World>> => Effect.suspend(() => Effect.provideService(use, World, singleWorld()))
