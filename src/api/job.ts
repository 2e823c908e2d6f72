/** A command as one of several processes of a job. */
import { Effect } from "effect"
import { z } from "zod"
import { type Launch, launchOf } from "../cluster/launch.ts"
import { WHILE_ALL_LIVE } from "../cluster/limits.ts"
import type { JobOptions } from "../cluster/open.ts"
import { privateFolder } from "../cluster/privateFolder.ts"
import { currentWorld } from "../cluster/single.ts"
import type { WorldError } from "../cluster/World.ts"
import type { BridgeError } from "../errors.ts"
import { meeting } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"

/** What `--rank`, `--world-size` and `--rendezvous` say; the launcher's variables say the rest. */
export interface JobRequest {
  readonly rank?: number | undefined
  readonly worldSize?: number | undefined
  readonly rendezvous?: string | undefined
}

export interface Job {
  readonly launch: Launch
  readonly rendezvous: string | undefined
}

/** This process's place in its job. LaunchError */
export const jobOf = (request: JobRequest = {}) =>
  meeting((): Job => ({ launch: launchOf(request), rendezvous: request.rendezvous }))

/** What the first process of the job finds, at all of them: it alone looks. */
export const decidedOnce = <A extends ReadonlyArray<string>, E, R>(what: string, find: Effect.Effect<A, E, R>): Effect.Effect<ReadonlyArray<string>, E | WorldError, R> =>
  Effect.gen(function*() {
    const world = yield* currentWorld
    const found = world.rank === 0 ? yield* find : undefined
    return world.size === 1 ? found! : yield* world.broadcast<ReadonlyArray<string>>(what, z.array(z.string()), found, { timeout: WHILE_ALL_LIVE })
  })

/**
 * Run `use` as this process's part of the job: `currentWorld` in it is the job's.
 *
 * @param beside where the processes meet if nothing is said and they are on several hosts: a directory that all see
 * @param plan digest of what is to be done, the same in all processes
 */
export const inJob = <A, E extends BridgeError, R>(
  { launch, rendezvous }: Job,
  { beside, mayCome, plan }: Pick<JobOptions, "mayCome" | "plan"> & { readonly beside: string },
  use: Effect.Effect<A, E, R>
): Effect.Effect<A, E | WorldError, R | Disk> =>
  Effect.gen(function*() {
    const isOneHost = launch.localSize === launch.worldSize && launch.worldSize > 1
    const directory = isOneHost ? (yield* meeting(privateFolder)) ?? beside : beside
    // Most commands are one process, which needs none of this.
    const { inWorld } = yield* Effect.promise(() => import("../cluster/open.ts"))
    return yield* inWorld({ launch, rendezvous, directory, plan, ...(mayCome ? { mayCome } : {}) }, use)
  }) as Effect.Effect<A, E | WorldError, R | Disk>
