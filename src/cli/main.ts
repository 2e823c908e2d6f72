/** The command line: how it is run, and what becomes of its failures. */
import { format, stripVTControlCharacters } from "node:util"
import { setFlagsFromString } from "node:v8"
import { NodePath, NodeStdio, NodeTerminal } from "@effect/platform-node"
import { Cause, Console, Effect, FileSystem, Layer, Logger } from "effect"
import { CliError, CliOutput, Command } from "effect/cli"
import { ChildProcessSpawner } from "effect/process"
import { ExitCode, isBridgeError, UsageError } from "../errors.ts"
import { Disk, RemembersIo } from "../api/ground.ts"
import { tellLauncher } from "../api/tellLauncher.ts"
import { VERSION } from "../version.ts"
import { helpFormatter } from "./help.ts"
import { teardown } from "./interruption.ts"
import { commandOf, fromReference } from "./reference.ts"
import { crash, fail } from "./output.ts"
import { rootFor } from "./root.ts"
import { runMain } from "./runMain.ts"
import { printOwn, tell, tellOwn } from "./streams.ts"
import { Words } from "./words.ts"

/** Of a command that is none, nothing else is worth saying: its flags cannot be known. */
const told = (errors: ReadonlyArray<CliError.CliError>): ReadonlyArray<CliError.CliError> => {
  const unknown = errors.filter((error) => error instanceof CliError.UnknownSubcommand)
  return unknown.length > 0 ? unknown : errors
}

const problemOf = (errors: ReadonlyArray<CliError.CliError>): string => errors.map(({ message }) => message).join("\n")

/** What was wrong with a command line, as an error of ours. */
const misused = (error: CliError.CliError): UsageError =>
  new UsageError({ problem: problemOf("errors" in error && error.errors.length > 0 ? told(error.errors) : [error]) })

/** Usage errors in one line and a pointer to the help, instead of the whole help; or as JSON. */
const presenter = (command: string | undefined, json: boolean) => CliOutput.layerPresenter({
  present: (event) =>
    event._tag !== "InvalidInvocation"
      ? CliOutput.defaultPresenter.present(event)
      : Effect.gen(function*() {
        const formatter = yield* CliOutput.Formatter
        const errors = told(event.errors)
        if (json) {
          return yield* fail(command, new UsageError({ problem: problemOf(errors), hint: `${event.commandPath.join(" ")} --help shows what there is.` }), true)
        }
        yield* Effect.sync(() => tell(`${stripVTControlCharacters(formatter.formatErrors(errors).trim())}\n`))
        yield* Console.error(`\nTry '${event.commandPath.join(" ")} --help'`)
      })
})

/** What the command-line library prints: help, versions, completions. */
const streamConsole: Console.Console = Object.assign(Object.create(console) as Console.Console, {
  log: (...args: ReadonlyArray<unknown>) => { printOwn(`${format(...args)}\n`) },
  error: (...args: ReadonlyArray<unknown>) => { tellOwn(`${format(...args)}\n`) }
})

/** What `--log-level debug` adds: on stderr, whatever goes to stdout. */
const stderrLogger = Logger.make<unknown, void>(({ logLevel, message }) => {
  const words = (Array.isArray(message) ? message : [message]).map((part) => (typeof part === "string" ? part : JSON.stringify(part)))
  tell(`${logLevel.toLowerCase()}: ${words.join(" ")}\n`)
})

/**
 * What the command-line library asks for. It never starts a process, and looks at files in its wizard only (our commands do so through
 * their own disk): Node's modules for both would be a tenth of the start.
 */
const platform = (args: ReadonlyArray<string>) => Layer.mergeAll(
  NodePath.layer,
  NodeStdio.layer,
  NodeTerminal.layer,
  Layer.succeed(ChildProcessSpawner.ChildProcessSpawner, ChildProcessSpawner.make(() => Effect.die("nothing here starts processes"))),
  args.includes("--wizard") ? Layer.unwrap(Effect.promise(async () => (await import("@effect/platform-node/NodeFileSystem")).layer)) : FileSystem.layerNoop({})
)

/** Run a command line. `disk`: what it reads and writes. */
export const main = (args: ReadonlyArray<string>, disk: Layer.Layer<Disk> = Disk.layer): void => {
  // A young generation that stays small and an old one that is collected sooner: planning the export of 100 000 tensors takes 370 MB
  // instead of 530, and a tenth longer (docs/performance.md, "What was tried").
  for (const flag of ["--semi-space-growth-factor=1", "--heap-growing-percent=50"]) setFlagsFromString(flag)
  // Nothing of ours goes through these; whoever else writes there must not end the process.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {})
  program(args, disk).pipe(
    Effect.provideService(RemembersIo, true),
    runMain({ teardown: teardown(commandOf(args), args.includes("--json")) })
  )
}

/** A command line as an Effect that prints what there is to print, failures included, and sets the exit code. */
export const program = (args: ReadonlyArray<string>, disk: Layer.Layer<Disk>) => {
  const json = args.includes("--json")
  const debug = args.includes("--debug")
  const command = commandOf(args)
  const { args: own, notes } = fromReference(args.filter((a) => a !== "--debug"))
  if (!args.includes("--quiet") && !args.includes("-q")) for (const note of notes) tell(`note: ${note}\n`)
  return Effect.promise(() => rootFor(own)).pipe(
    Effect.flatMap((root) => Command.runWith(root, { version: VERSION })(own)),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.failCause(cause)
      const error = Cause.squash(cause)
      const shown = isBridgeError(error) ? fail(command, error, json)
        : CliError.isCliError(error) ? Effect.sync(() => { process.exitCode = ExitCode.usage })
        : crash(command, error, json, debug)
      return Effect.andThen(tellLauncher(CliError.isCliError(error) ? misused(error) : error), shown)
    }),
    Effect.provideService(Console.Console, streamConsole),
    Effect.provideService(Words, own),
    Effect.provide(Layer.mergeAll(platform(own), disk, presenter(command, json), Logger.layer([stderrLogger]), CliOutput.layer(helpFormatter)))
  )
}
