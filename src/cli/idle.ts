/** A flag that would do nothing is a misunderstanding: it is refused instead of being passed over. */
import { Option } from "effect"
import { ENGINE_DEFAULTS } from "../api/engine.ts"
import { UsageError } from "../errors.ts"
import type { EngineFlags } from "./flags/index.ts"

/** A flag, whether it was given where it does nothing, and why that is so. */
export type Idle = readonly [flag: string, given: boolean, why: string]

/** @throws UsageError for the first that was given */
export const refuseIdle = (...rules: ReadonlyArray<Idle>): void => {
  const found = rules.find(([, given]) => given)
  if (found) throw new UsageError({ problem: `${found[0]} would do nothing: ${found[2]}` })
}

/** The flags of the engine, where nothing runs through it. */
export const idleEngine = (flags: EngineFlags, isIdle: boolean, why: string): ReadonlyArray<Idle> => [
  ["--concurrency", isIdle && Option.isSome(flags.concurrency), why],
  ["--max-memory", isIdle && Option.isSome(flags.maxMemory), why],
  ["--threads", isIdle && Option.isSome(flags.threads), why],
  ["--io", isIdle && flags.io !== ENGINE_DEFAULTS.io, why]
]
