/** What a command says, and where. */
import { Flag } from "effect/cli"

export const json = Flag.Boolean("json").pipe(Flag.withDescription("Print the report, or the error, as JSON"), Flag.withDefault(false))

export const quiet = Flag.Boolean("quiet").pipe(Flag.withAlias("q"), Flag.withDescription("No progress, no report; errors only"), Flag.withDefault(false))

/** Of commands that take their time. */
export const progress = {
  progress: Flag.Boolean("progress").pipe(Flag.withDescription("Progress on stderr. --no-progress: none, but the report"), Flag.withDefault(true)),
  jsonEvents: Flag.Boolean("json-events").pipe(
    Flag.withDescription("Progress for programs: one JSON object a line on stderr (event, phase, done, total, bytesPerSecond, network)"),
    Flag.withDefault(false)
  )
}

/** What every command has that takes its time and ends with a report. */
export const told = { json, quiet, ...progress }
