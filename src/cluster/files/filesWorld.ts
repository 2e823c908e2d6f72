/** The world of a job that meets in files: work is dealt by arithmetic and not taken from others. */
import { Effect } from "effect"
import type { ZodType } from "zod"
import { ClusterError, quote } from "../../errors.ts"
import { meeting } from "../../io/attempt.ts"
import { communicator } from "../communicator.ts"
import { dealt } from "../dealt.ts"
import { WHILE_ALL_LIVE } from "../limits.ts"
import type { Work, WorldCalls } from "../World.ts"
import type { FileJob } from "./documents.ts"
import type { FileMember } from "./FileMember.ts"

export const filesWorld = (member: FileMember, { limits, rank, run, world }: FileJob): WorldCalls => {
  const take = member.step.bind(member)
  return {
    ...communicator("world", Array.from({ length: world }, (_, other) => other), rank, take, limits.step)!,
    runId: run.run,
    attempt: run.attempt,
    group: (name, ranks) => communicator(name, ranks, rank, take, limits.step),
    work: <A>(name: string, sizes: ReadonlyArray<number>, schema: ZodType<A>, owners = dealt(sizes, world)): Work<A> => {
      const own = sizes.map((_, unit) => unit).filter((unit) => owners[unit] === rank).sort((a, b) => sizes[b]! - sizes[a]!)
      const results: Array<readonly [number, A]> = []
      let next = 0
      let told = false
      const tell = async (): Promise<void> => {
        if (told || results.length < own.length) return
        told = true
        await member.finished(name, results)
      }
      return {
        take: meeting(async () => {
          await tell()
          return next < own.length ? own[next++] : undefined
        }),
        done: (unit, result) => meeting(async () => {
          results.push([unit, result])
          await tell()
          return true
        }),
        superseded: () => Effect.never,
        leaveOff: () => Effect.void,
        results: (wait) =>
          rank !== 0 ? Effect.succeed(undefined) : meeting(async () => {
            const values = schema.array().safeParse(await member.results(name, sizes.length, wait?.timeout ?? WHILE_ALL_LIVE))
            if (values.success) return values.data
            throw new ClusterError({ code: "cluster/protocol", problem: `a result of work ${quote(name)} is not what it should be: ${quote(values.error.issues[0]?.message ?? "")}` })
          })
      }
    },
    progress: (bytes) => member.progress(bytes),
    total: () => member.total,
    failed: Effect.flatMap(Effect.promise(() => member.failed), (error) => Effect.fail(error)),
    notes: () => [...member.notes]
  }
}
