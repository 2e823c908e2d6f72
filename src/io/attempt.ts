/**
 * The border between promises and Effect, in both directions; nothing else crosses it. Inwards: what a promise rejects with becomes a
 * typed failure if it is of the classes named, and a defect otherwise. Outwards: failures reject a promise as they are, and what an
 * AbortSignal interrupts rejects with the signal's reason.
 */
import { Cause, Effect, Exit, type Pull, Scope, Stream } from "effect"
import { ClusterError, InvalidFile, IoError, LaunchError, NoSpace, OutputRefused, PeerFailed, PlanRefused, StreamBroken, StreamRefused, Unsupported, UsageError } from "../errors.ts"

type ErrorClass = abstract new(...args: never) => object
type InstanceOf<Kinds extends ReadonlyArray<ErrorClass>> = InstanceType<Kinds[number]>

/** A call may also throw, or return a value right away. `signal` tells of an interruption. */
type Call<A> = (signal: AbortSignal) => Promise<A> | A

const isOneOf = <const Kinds extends ReadonlyArray<ErrorClass>>(kinds: Kinds, error: unknown): error is InstanceOf<Kinds> =>
  kinds.some((kind) => error instanceof kind)

/** Calls that reject with errors of these classes; anything else is a defect. */
const failing = <const Kinds extends ReadonlyArray<ErrorClass>>(...kinds: Kinds) => <A>(call: Call<A>): Effect.Effect<A, InstanceOf<Kinds>> =>
  Effect.tryPromise({ try: async (signal) => call(signal), catch: (error) => error }).pipe(
    Effect.catch((error) => (isOneOf(kinds, error) ? Effect.fail(error) : Effect.die(error)))
  )

/** Anything that this package fails with. */
export const attempt = failing(InvalidFile, Unsupported, PlanRefused, UsageError, OutputRefused, NoSpace, IoError, ClusterError)

/** Calls of the file system alone. */
export const lift = failing(NoSpace, IoError)

/** Files of a known format. */
export const opening = failing(InvalidFile, NoSpace, IoError)

/** What is there, of any format; an interrupted replacement of it is finished first. */
export const reading = failing(InvalidFile, Unsupported, OutputRefused, NoSpace, IoError)

/** What a name of a model stands for. */
export const named = failing(InvalidFile, Unsupported, UsageError, OutputRefused, NoSpace, IoError)

/** What options say by themselves. */
export const checking = failing(UsageError)

/** What follows from a config, headers and options. */
export const planning = failing(InvalidFile, Unsupported, PlanRefused, UsageError)

/** What is there, and what is to become of it. */
export const converting = failing(InvalidFile, Unsupported, PlanRefused, UsageError, OutputRefused, NoSpace, IoError)

/** What the processes of a job say to each other. */
export const meeting = failing(ClusterError, LaunchError, PeerFailed, NoSpace, IoError)

/** What the two ends of a weight stream say to each other. */
export const streaming = failing(StreamRefused, StreamBroken, LaunchError, InvalidFile, Unsupported, OutputRefused, NoSpace, IoError)

/** Several calls that an interruption lets end: nothing may still be writing when their folder is removed. */
export const uninterruptibly = (calls: () => Promise<void>): Effect.Effect<void, InvalidFile | OutputRefused | NoSpace | IoError> =>
  Effect.uninterruptible(failing(InvalidFile, OutputRefused, NoSpace, IoError)(calls))

/** The values of an iterator, as they are asked for. Who makes the iterator also ends it. */
export const values = <A, const Kinds extends ReadonlyArray<ErrorClass>>(
  next: () => Promise<IteratorResult<A, unknown>>,
  kinds: Kinds
): Stream.Stream<A, InstanceOf<Kinds>> =>
  Stream.fromAsyncIterable({ [Symbol.asyncIterator]: () => ({ next: next as () => Promise<IteratorResult<A>> }) }, (error) => error).pipe(
    Stream.catch((error) => (isOneOf(kinds, error) ? Stream.fail(error) : Stream.die(error)))
  )

/** What a promise rejects with, for a failed Effect. */
const rejection = (cause: Cause.Cause<unknown>, signal: AbortSignal | undefined): unknown =>
  signal?.aborted && Cause.hasInterruptsOnly(cause) ? signal.reason : Cause.squash(cause)

/**
 * Run an Effect. Rejects with its failure. An aborted signal interrupts it: once everything that it holds is closed, the promise
 * rejects with `signal.reason`.
 */
export const toPromise = async <A, E>(effect: Effect.Effect<A, E>, signal?: AbortSignal): Promise<A> => {
  signal?.throwIfAborted()
  const exit = await Effect.runPromiseExit(effect, signal ? { signal } : undefined)
  if (Exit.isSuccess(exit)) return exit.value
  throw rejection(exit.cause, signal)
}

/**
 * The values of a stream, one loop over them. An aborted signal closes at once what the stream holds, also while the loop's body
 * runs; the loop then ends with `signal.reason`. Leaving the loop closes it as well.
 */
export const toAsyncIterable = <A, E>(stream: Stream.Stream<A, E>, signal?: AbortSignal): AsyncIterable<A> => ({
  [Symbol.asyncIterator]: () => iterator(stream, signal)
})

const iterator = <A, E>(stream: Stream.Stream<A, E>, signal: AbortSignal | undefined): AsyncIterator<A, undefined> => {
  const scope = Scope.makeUnsafe()
  let ready: ReadonlyArray<A> = []
  let at = 0
  let ended: Promise<void> | undefined
  const end = (): Promise<void> => {
    signal?.removeEventListener("abort", end)
    ready = []
    return ended ??= Effect.runPromise(Scope.close(scope, Exit.void))
  }
  signal?.addEventListener("abort", end, { once: true })
  let pull: Pull.Pull<ReadonlyArray<A>, E> = Effect.flatMap(Scope.provide(Stream.toPull(stream), scope), (made) => pull = made)
  const over = { done: true, value: undefined } as const
  return {
    next: async () => {
      if (at < ready.length) return { done: false, value: ready[at++]! }
      const exit = ended || signal?.aborted ? undefined : await Effect.runPromiseExit(pull, signal ? { signal } : undefined)
      if (exit && Exit.isSuccess(exit) && !signal?.aborted) {
        ready = exit.value
        at = 1
        return { done: false, value: ready[0]! }
      }
      await end()
      signal?.throwIfAborted()
      if (!exit || Exit.isSuccess(exit)) return over
      const error = Cause.squash(exit.cause)
      if (Cause.isDone(error)) return over
      throw error
    },
    return: async () => {
      await end()
      return over
    }
  }
}
