/** Where results and errors go: results to stdout (text or JSON), errors to stderr, or to stdout as JSON with `--json`. */
import { Effect } from "effect"
import { type BridgeError, ExitCode } from "../errors.ts"
import { cleaned, quote, safeJson } from "../quote.ts"
import { type CommandName, failureEnvelope, success } from "./envelope.ts"
import { print, tell } from "./streams.ts"

/** sysexits.h: EX_SOFTWARE */
const INTERNAL = 70

export interface OutputFlags {
  readonly json: boolean
  readonly quiet: boolean
}

/**
 * Print the result of `command`, and end with `exitCode`; `text` renders it, with nothing in it that a terminal would obey.
 */
export const emit = <A extends object>(command: CommandName, flags: OutputFlags, data: A, text: (data: A) => string, exitCode: 0 | 1 = ExitCode.ok): Effect.Effect<void> =>
  Effect.sync(() => {
    if (exitCode !== ExitCode.ok) process.exitCode = exitCode
    if (flags.json) print(`${safeJson({ ...success(command, exitCode), ...data }, 2)}\n`)
    else if (!flags.quiet) print(`${text(cleaned(data))}\n`)
  })

const details = (error: BridgeError): object => {
  const { hint, names, path, place } = error as { hint?: string; names?: ReadonlyArray<string>; path?: string; place?: object }
  return { kind: error._tag, code: error.code, ...(hint === undefined ? {} : { hint }), ...(path ? { path } : {}), ...place, ...(names ? { names } : {}), ...peerOf(error) }
}

const peerOf = (error: BridgeError): object => {
  if (error._tag !== "PeerFailed") return {}
  const { file, host, rank, rootCode, rootExitCode, tensor } = error
  return { peer: { rank, host, code: rootCode, exitCode: rootExitCode, ...(file === undefined ? {} : { file }), ...(tensor === undefined ? {} : { tensor }) } }
}

/** Print an error of `command` (as it was typed) and set the exit code. */
export const fail = (command: string | undefined, error: BridgeError, json: boolean): Effect.Effect<void> =>
  Effect.sync(() => {
    process.exitCode = error.exitCode
    if (json) {
      print(`${safeJson({ ...failureEnvelope(command, error.exitCode), error: { ...details(error), message: error.message, exitCode: error.exitCode } }, 2)}\n`)
    } else tell(`error: ${error.message}\n`)
  })

/** A failure that is ours: say so, without a stack unless asked. */
export const crash = (command: string | undefined, defect: unknown, json: boolean, debug: boolean): Effect.Effect<void> =>
  Effect.sync(() => {
    process.exitCode = INTERNAL
    const message = defect instanceof Error ? defect.message : String(defect)
    if (json) print(`${safeJson({ ...failureEnvelope(command, INTERNAL), error: { kind: "Internal", code: "internal", message, exitCode: INTERNAL } }, 2)}\n`)
    else tell(`internal error: ${quote(message)}\n  This is a bug. --debug shows where.\n`)
    if (debug && defect instanceof Error) tell(`${defect.stack}\n`)
  })
