import { Effect } from "effect"
import { writeErrorFile } from "../cluster/failures.ts"

/** Tell the launcher why this process ends, where it wants to know (torchrun). What was told first stays. */
export const tellLauncher = (error: unknown): Effect.Effect<void> => Effect.sync(() => { writeErrorFile(error) })
