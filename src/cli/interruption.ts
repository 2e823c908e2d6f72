/** An interruption is no error, but whoever waits for an answer gets one: what happened and how to go on. */
import { Cause, Exit, Runtime } from "effect"
import { safeJson } from "../quote.ts"
import { failureEnvelope } from "./envelope.ts"
import { outputFailure, print, tell } from "./streams.ts"

type Signal = "SIGHUP" | "SIGINT" | "SIGTERM"

/** 128 and the number of the signal, as shells have it. */
const EXIT_CODES: Readonly<Record<Signal, number>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 }

/** The first that came. */
let signal: Signal | undefined
let kept: string | undefined

/** What the work left behind, told before it ends. */
export const onKept = (text: string): void => { kept = text }

/** Said while it lasts: whoever waits wants to know for what. */
export const onWait = (text: string): void => { process.stderr.write(`${text}\n`) }

const say = (command: string | undefined, json: boolean, signal: Signal): void => {
  const message = `interrupted by ${signal}${kept === undefined ? "" : `; nothing was published\n  ${kept}`}`
  if (json) print(`${safeJson({ ...failureEnvelope(command, EXIT_CODES[signal]), error: { kind: "Interrupted", code: "interrupted", signal, message, exitCode: EXIT_CODES[signal] } }, 2)}\n`)
  else tell(`${message}\n`)
}

/** What a command said of itself; if that was well, but its result could not be written to standard output, then that. */
const exitCodeOf = (code: number): number => {
  const own = code === 0 ? Number(process.exitCode ?? 0) : code
  const failure = own === 0 ? outputFailure() : undefined
  if (failure === undefined) return own
  tell(`error: ${failure.message}\n`)
  return failure.exitCode
}

/** How the process ends: `--json` or not, an interruption says so. Take it before anything runs: it listens for the signals. */
export const teardown = (command: string | undefined, json: boolean): Runtime.Teardown => {
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => { signal ??= name })
  // A terminal that is closed. The runtime knows only the other two.
  process.on("SIGHUP", () => {
    signal ??= "SIGHUP"
    process.emit("SIGTERM", "SIGTERM")
  })
  return (exit, onExit) => {
    if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) {
      const by = signal ?? "SIGINT"
      say(command, json, by)
      return onExit(EXIT_CODES[by])
    }
    // A signal that came too late does not undo what a command said of itself.
    Runtime.defaultTeardown(exit, (code) => onExit(exitCodeOf(code)))
  }
}
