/** What can be fuzzed, and what counts as a crash. */
import { FormatError, isBridgeError } from "../../src/errors.ts"
import type { Random } from "./Random.ts"

export interface Target {
  readonly name: string
  /** The next input. */
  readonly make: (r: Random) => Uint8Array
  /** Read it. FormatError and the errors of `src/errors.ts` are answers; everything else is a crash. */
  readonly read: (input: Uint8Array) => void
}

export const SLOWEST_MS = 2000
/** What one input may leave on the heap or outside it. */
export const MOST_MEMORY = 512 << 20

export interface Crash {
  readonly target: string
  readonly input: Uint8Array
  readonly reason: string
}

const memory = (): number => {
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return arrayBuffers + heapUsed
}

/** Undefined: all is well. */
export const tryOne = ({ name, read }: Target, input: Uint8Array): Crash | undefined => {
  const before = memory()
  const started = performance.now()
  let reason: string | undefined
  try {
    read(input)
  } catch (error) {
    if (!(error instanceof FormatError) && !isBridgeError(error)) reason = error instanceof Error ? error.stack ?? error.message : String(error)
    else if (/undefined|\[object/.test(error.message)) reason = `the message makes no sense: ${error.message}`
  }
  const milliseconds = performance.now() - started
  if (milliseconds > SLOWEST_MS) reason ??= `took ${Math.round(milliseconds)} ms`
  const taken = memory() - before
  if (taken > MOST_MEMORY) reason ??= `took ${Math.round(taken / 2 ** 20)} MiB`
  return reason === undefined ? undefined : { target: name, input, reason }
}
