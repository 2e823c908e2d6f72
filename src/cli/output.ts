/** Where results and errors go: results to stdout (text or JSON), errors to stderr, or to stdout as JSON with `--json`. */
import { Effect } from "effect"
import type { BridgeError } from "../errors.ts"
import { cleaned, quote, safeJson } from "../quote.ts"
import { print, tell } from "./streams.ts"

export interface OutputFlags {
  readonly json: boolean
  readonly quiet: boolean
}

/** Print a result; `text` renders it, with nothing in it that a terminal would obey. */
export const emit = <A extends object>(flags: OutputFlags, data: A, text: (data: A) => string): Effect.Effect<void> =>
  Effect.sync(() => {
    if (flags.json) print(`${safeJson({ ok: true, ...data }, 2)}\n`)
    else if (!flags.quiet) print(`${text(cleaned(data))}\n`)
  })

const details = (error: BridgeError): object => {
  const { hint, names, path, place } = error as { hint?: string; names?: ReadonlyArray<string>; path?: string; place?: object }
  return { kind: error._tag, code: error.code, ...(hint === undefined ? {} : { hint }), ...(path ? { path } : {}), ...place, ...(names ? { names } : {}) }
}

/** Print an error and set the exit code. */
export const fail = (error: BridgeError, json: boolean): Effect.Effect<void> =>
  Effect.sync(() => {
    process.exitCode = error.exitCode
    if (json) {
      print(`${safeJson({ ok: false, error: { ...details(error), message: error.message, exitCode: error.exitCode } }, 2)}\n`)
    } else tell(`error: ${error.message}\n`)
  })

/** A failure that is ours: say so, without a stack unless asked. */
export const crash = (defect: unknown, json: boolean, debug: boolean): Effect.Effect<void> =>
  Effect.sync(() => {
    process.exitCode = 70
    const message = defect instanceof Error ? defect.message : String(defect)
    if (json) print(`${safeJson({ ok: false, error: { kind: "Internal", message, exitCode: 70 } }, 2)}\n`)
    else tell(`internal error: ${quote(message)}\n  This is a bug. --debug shows where.\n`)
    if (debug && defect instanceof Error) tell(`${defect.stack}\n`)
  })
