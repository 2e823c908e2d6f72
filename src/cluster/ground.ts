/** What the coordinator's parts stand on. */
import type { ToMember } from "./messages.ts"

export interface Ground {
  /** Milliseconds, monotonic. */
  readonly now: () => number
  readonly send: (ranks: ReadonlyArray<number>, message: ToMember) => void
  /** `rank` is at fault: the job ends. */
  readonly fail: (rank: number, code: string, problem: string) => void
}
