/** What a step of a job finds out once for all processes. */
import { Effect } from "effect"
import type { z } from "zod"
import { currentWorld } from "./single.ts"
import { underWorld, World, type WorldError } from "./World.ts"

/** What only one process computes: the first does, all have the value. It reads contents, which all of them reading would be too much. */
export const once = <A, E, R>(what: string, schema: z.ZodType<A>, compute: Effect.Effect<A, E, R>): Effect.Effect<A, E | WorldError, R> =>
  Effect.gen(function*() {
    const world = yield* currentWorld
    if (world.size === 1) return yield* compute
    return yield* underWorld(Effect.gen(function*() {
      const value = world.rank === 0 ? yield* compute : undefined
      return yield* world.broadcast(what, schema, value)
    })).pipe(Effect.provideService(World, world))
  })
