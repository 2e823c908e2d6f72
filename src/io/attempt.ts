/** From promises that reject with this project's own errors to Effects that fail with them. */
import { Effect } from "effect"
import { type BridgeError, isBridgeError } from "../errors.ts"

/** Anything but a {@link BridgeError} is a defect. `signal` tells of an interruption. */
export const attempt = <A>(call: (signal: AbortSignal) => Promise<A> | A): Effect.Effect<A, BridgeError> =>
  Effect.tryPromise({ try: async (signal) => call(signal), catch: (error) => error }).pipe(
    Effect.catch((error) => (isBridgeError(error) ? Effect.fail(error) : Effect.die(error)))
  )

/** Several calls that an interruption lets end: nothing may still be writing when their folder is removed. */
export const steadily = (calls: () => Promise<void>): Effect.Effect<void, BridgeError> => Effect.uninterruptible(attempt(calls))
