/** What all processes of a job have done so far, as one of them shows it. */
import { Effect } from "effect"
import type { WorldCalls } from "./World.ts"

const OFTEN = "200 millis"

/** While `use` runs, and once at its end, `progress` is told of the bytes that all have done since it was last told. At rank 0. */
export const tellingProgress = <A, E, R>(world: WorldCalls, progress: (bytes: number) => void, use: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  let told = 0
  const tell = Effect.sync(() => {
    const total = world.total()
    if (total > told) progress(total - told)
    told = Math.max(told, total)
  })
  return Effect.raceFirst(Effect.forever(Effect.andThen(Effect.sleep(OFTEN), tell)), use).pipe(Effect.tap(() => tell))
}
