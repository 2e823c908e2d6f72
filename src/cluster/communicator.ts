/** Groups over any driver: names, ranks and the order of steps here; how a step is taken is the driver's. */
import { Effect } from "effect"
import type { ZodType } from "zod"
import { ClusterError, LaunchError, PeerFailed, quote } from "../errors.ts"
import type { StepKind } from "./messages.ts"
import { LIMITS } from "./limits.ts"
import { type RankRun, runsOf } from "./rankRuns.ts"
import type { Communicator, Wait, WorldError } from "./World.ts"

/** A step as the drivers take it. */
export interface StepCall {
  /** Unique in the attempt: group and the step's number in it. */
  readonly key: string
  readonly kind: StepKind
  readonly what: string
  readonly ranks: ReadonlyArray<number>
  readonly members: ReadonlyArray<RankRun>
  readonly value: unknown
  /** Milliseconds. */
  readonly timeout: number
}

/** Resolves with the first member's value (broadcast), all values (allGather; gather at the first member) or nothing of meaning. Rejects with a {@link WorldError}. */
export type TakeStep = (step: StepCall) => Promise<unknown>

/** `call` rejects with nothing but a {@link WorldError}; anything else is a defect. */
export const lifted = <A>(call: () => Promise<A>): Effect.Effect<A, WorldError> =>
  Effect.tryPromise({ try: call, catch: (error) => error }).pipe(
    Effect.catch((error) =>
      error instanceof ClusterError || error instanceof LaunchError || error instanceof PeerFailed ? Effect.fail(error) : Effect.die(error))
  )

const shaped = <A>(what: string, schema: ZodType<A>, value: unknown): A => {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw new ClusterError({ code: "cluster/protocol", problem: `a value at ${quote(what)} is not what it should be: ${quote(result.error.issues[0]?.message ?? "")}` })
}

/** The group `name` as process `self` has it; undefined if it is no member. */
export const communicator = (name: string, ranks: ReadonlyArray<number>, self: number, take: TakeStep, timeout = LIMITS.step): Communicator | undefined => {
  const rank = ranks.indexOf(self)
  if (rank < 0) return undefined
  const members = runsOf(ranks)
  let steps = 0
  const step = (kind: StepKind, what: string, value: unknown, wait: Wait | undefined): Promise<unknown> =>
    take({ key: `${name}#${steps++}`, kind, what, ranks, members, value, timeout: wait?.timeout ?? timeout })
  return {
    name,
    ranks,
    rank,
    size: ranks.length,
    barrier: (what, wait) => lifted(async () => { await step("barrier", what, null, wait) }),
    broadcast: (what, schema, value, wait) => lifted(async () => shaped(what, schema, await step("broadcast", what, rank === 0 ? value : null, wait))),
    allGather: (what, schema, value, wait) => lifted(async () => shaped(what, schema.array(), await step("allGather", what, value, wait))),
    gather: (what, schema, value, wait) =>
      lifted(async () => {
        const values = await step("gather", what, value, wait)
        return rank === 0 ? shaped(what, schema.array(), values) : undefined
      }),
    agree: (what, digest, wait) => lifted(async () => { await step("agree", what, digest, wait) })
  }
}
