/** What all processes of a job have done so far, as one of them shows it. */
import { Effect } from "effect"
import type { WorldCalls } from "./World.ts"

const OFTEN = "200 millis"

/**
 * Run `use` with what it tells its own bytes to. At rank 0 `progress` is told, while it runs and once at its end, of the bytes that all
 * processes have done since it was last told.
 */
export const worldProgress = <A, E, R>(
  world: WorldCalls,
  progress: ((bytes: number) => void) | undefined,
  use: (done: (bytes: number) => void) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  world.size === 1 ? use(progress ?? (() => {}))
    : world.rank > 0 || progress === undefined ? use(world.progress)
    : telling(world, progress, use(world.progress))

const telling = <A, E, R>(world: WorldCalls, progress: (bytes: number) => void, use: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  let told = 0
  const tell = Effect.sync(() => {
    const total = world.total()
    if (total > told) progress(total - told)
    told = Math.max(told, total)
  })
  return Effect.raceFirst(Effect.forever(Effect.andThen(Effect.sleep(OFTEN), tell)), use).pipe(Effect.tap(() => tell))
}
