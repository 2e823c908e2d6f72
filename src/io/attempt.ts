/** From promises that reject with this project's own errors to Effects that fail with them. */
import { Effect } from "effect"
import { type BridgeError, InvalidFile, IoError, NoSpace, OutputRefused, PlanRefused, Unsupported, UsageError } from "../errors.ts"

const isBridgeError = (error: unknown): error is BridgeError =>
  error instanceof InvalidFile || error instanceof Unsupported || error instanceof PlanRefused || error instanceof UsageError ||
  error instanceof OutputRefused || error instanceof NoSpace || error instanceof IoError

/** Anything but a {@link BridgeError} is a defect. */
export const attempt = <A>(call: () => Promise<A> | A): Effect.Effect<A, BridgeError> =>
  Effect.tryPromise({ try: async () => call(), catch: (error) => error }).pipe(
    Effect.catch((error) => (isBridgeError(error) ? Effect.fail(error) : Effect.die(error)))
  )
