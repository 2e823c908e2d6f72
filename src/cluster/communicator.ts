/** Groups over any driver: names, ranks and the order of steps here; how a step is taken is the driver's. */
import type { ZodType } from "zod"
import { ClusterError, quote } from "../errors.ts"
import { meeting } from "../io/attempt.ts"
import type { StepKind } from "./messages.ts"
import { LIMITS } from "./limits.ts"
import { type RankRun, runsOf } from "./rankRuns.ts"
import type { Communicator, Wait } from "./World.ts"

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

/** Resolves with the first member's value (broadcast), all values (allGather; gather at the first member) or nothing of meaning. Rejects with a `WorldError`. */
export type TakeStep = (step: StepCall) => Promise<unknown>

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
    barrier: (what, wait) => meeting(async () => { await step("barrier", what, null, wait) }),
    broadcast: (what, schema, value, wait) => meeting(async () => shaped(what, schema, await step("broadcast", what, rank === 0 ? value : null, wait))),
    allGather: (what, schema, value, wait) => meeting(async () => shaped(what, schema.array(), await step("allGather", what, value, wait))),
    gather: (what, schema, value, wait) =>
      meeting(async () => {
        const values = await step("gather", what, value, wait)
        return rank === 0 ? shaped(what, schema.array(), values) : undefined
      }),
    agree: (what, digest, wait) => meeting(async () => { await step("agree", what, digest, wait) })
  }
}
