/** An interruption is no error, but whoever waits for an answer gets one: what happened and how to go on. */
import { Cause, Exit, Runtime } from "effect"

type Signal = "SIGINT" | "SIGTERM"

/** 128 and the number of the signal, as shells have it. */
const EXIT_CODES: Readonly<Record<Signal, number>> = { SIGINT: 130, SIGTERM: 143 }

let signal: Signal = "SIGINT"
let kept: string | undefined

/** What the work left behind, told before it ends. */
export const onKept = (text: string): void => { kept = text }

const say = (json: boolean, exitCode: number): void => {
  const message = `interrupted by ${signal}${kept === undefined ? "" : `; nothing was published\n  ${kept}`}`
  if (json) process.stdout.write(`${JSON.stringify({ ok: false, error: { kind: "Interrupted", signal, message, exitCode } }, undefined, 2)}\n`)
  else process.stderr.write(`${message}\n`)
}

/** How the process ends: `--json` or not, an interruption says so. Take it before anything runs: it listens for the signals. */
export const teardown = (json: boolean): Runtime.Teardown => {
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => { signal = name })
  return (exit, onExit) => {
    if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) {
      say(json, EXIT_CODES[signal])
      return onExit(EXIT_CODES[signal])
    }
    // A signal that came too late does not undo what a command said of itself.
    Runtime.defaultTeardown(exit, (code) => onExit(code === 0 ? Number(process.exitCode ?? 0) : code))
  }
}
