/** What can be fuzzed, and what counts as a crash. */
import { FormatError, isBridgeError } from "../../src/errors.ts"
import type { Random } from "./Random.ts"

export interface Target {
  readonly name: string
  /** The next input. */
  readonly make: (r: Random) => Uint8Array
  /** Read it. FormatError and the errors of `src/errors.ts` are answers; everything else is a crash. */
  readonly read: (input: Uint8Array) => void | Promise<void>
  /** Inputs that a short test tries. Default 200. */
  readonly few?: number
}

/**
 * Of the processor: a machine may be busy with other things. A config of a kilobyte may claim as many layers as are allowed, and a
 * model of 400,000 parts takes two to three seconds.
 */
export const SLOWEST_MS = 6000
/** Of the clock: waiting for something that never comes. */
const LONGEST_WAIT_MS = 15_000
/** What reading one input may take at its peak. */
export const MOST_MEMORY = 512 << 20

export interface Crash {
  readonly target: string
  readonly input: Uint8Array
  readonly reason: string
}

export interface Outcome {
  readonly crash: Crash | undefined
  /** Bytes by which this input raised the most that the process ever took. It counts garbage of earlier inputs, too. */
  readonly raised: number
}

/** An answer that was no good though nothing was thrown: what was accepted cannot be so. */
export class Wrong extends Error {}

const highest = (): number => process.resourceUsage().maxRSS * 1024

/** A stack, as it was or with its line ends escaped. */
const nonsense = (message: string): boolean => /\bundefined\b|\[object|(\n|\\u000a)\s+at /.test(message)

const complaint = (error: unknown): string | undefined => {
  if (!(error instanceof FormatError) && !isBridgeError(error)) return error instanceof Error ? error.stack ?? error.message : String(error)
  if (nonsense(error.message)) return `the message makes no sense: ${error.message}`
  if (isBridgeError(error) && (error.exitCode < 1 || error.exitCode > 125)) return `exit code ${error.exitCode}: ${error.message}`
  return undefined
}

/** Read one input and judge how that went. */
export const tryOne = async ({ name, read }: Target, input: Uint8Array, slowestMs = SLOWEST_MS): Promise<Outcome> => {
  const before = highest()
  const started = performance.now()
  const used = process.cpuUsage()
  let reason: string | undefined
  try {
    await read(input)
  } catch (error) {
    reason = complaint(error)
  }
  const { system, user } = process.cpuUsage(used)
  const waited = performance.now() - started
  const milliseconds = waited > LONGEST_WAIT_MS ? waited : Math.min(waited, (system + user) / 1000)
  const raised = highest() - before
  // Memory first: to fill much of it takes its time.
  if (raised > MOST_MEMORY) reason ??= `took ${Math.round(raised / 2 ** 20)} MiB`
  if (milliseconds > slowestMs) reason ??= `took ${Math.round(milliseconds)} ms`
  return { crash: reason === undefined ? undefined : { target: name, input, reason }, raised }
}
