/** The world as a member of a coordinator's job has it. */
import { Effect } from "effect"
import type { ZodType } from "zod"
import { ClusterError, quote } from "../errors.ts"
import { meeting } from "../io/attempt.ts"
import type { Coordinator } from "./Coordinator.ts"
import { communicator, type TakeStep } from "./communicator.ts"
import { dealt } from "./dealt.ts"
import { type Limits, WHILE_ALL_LIVE } from "./limits.ts"
import type { Member } from "./Member.ts"
import type { Envelope } from "./messages.ts"
import type { Work, WorldCalls } from "./World.ts"

export interface MemberWorld {
  readonly member: Member
  readonly run: Envelope
  readonly rank: number
  readonly world: number
  readonly limits: Limits
  /** At rank 0. */
  readonly coordinator: Coordinator | undefined
  readonly notes: ReadonlyArray<string>
}

export const memberWorld = ({ coordinator, limits, member, notes, rank, run, world }: MemberWorld): WorldCalls => {
  const take: TakeStep = ({ key, kind, members, timeout, value, what }) => member.step(key, kind, what, members, value, timeout)
  const everyone = Array.from({ length: world }, (_, other) => other)
  return {
    ...communicator("world", everyone, rank, take, limits.step)!,
    runId: run.run,
    attempt: run.attempt,
    group: (name, ranks) => communicator(name, ranks, rank, take, limits.step),
    work: <A>(name: string, sizes: ReadonlyArray<number>, schema: ZodType<A>, owners = dealt(sizes, world)): Work<A> => {
      if (rank === 0) member.open(name, sizes, owners)
      return {
        take: meeting(() => member.take(name, sizes.length)),
        done: (unit, result) => meeting(() => member.done(name, unit, result)),
        superseded: (unit) => Effect.promise(() => member.superseded(name, unit)),
        leaveOff: (unit) => meeting(async () => member.leaveOff(name, unit)),
        results: (wait) =>
          rank !== 0 ? Effect.succeed(undefined) : meeting(async () => {
            const values = schema.array().safeParse(await member.results(name, wait?.timeout ?? WHILE_ALL_LIVE))
            if (values.success) return values.data
            throw new ClusterError({ code: "cluster/protocol", problem: `a result of work ${quote(name)} is not what it should be: ${quote(values.error.issues[0]?.message ?? "")}` })
          })
      }
    },
    progress: (bytes) => member.progress(bytes),
    total: () => coordinator?.total ?? 0,
    failed: Effect.flatMap(Effect.promise(() => member.failed), (error) => Effect.fail(error)),
    notes: () => notes
  }
}
