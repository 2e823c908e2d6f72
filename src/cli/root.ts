/** One composition of all commands. */
import { Effect, Option } from "effect"
import { Argument, type CliError, Command, Flag, GlobalFlag, Param, Primitive } from "effect/cli"
import { type Disk, Remote } from "../api/ground.ts"
import type { BridgeError } from "../errors.ts"
import { VERSION } from "../version.ts"
import { adapterCommand } from "./commands/adapter.ts"
import { diffCommand } from "./commands/diff.ts"
import { doctorCommand } from "./commands/doctor.ts"
import { exportCommand } from "./commands/export.ts"
import { flopsCommand } from "./commands/flops.ts"
import { importCommand } from "./commands/import.ts"
import { inspectCommand } from "./commands/inspect.ts"
import { layoutCommand } from "./commands/layout.ts"
import { memoryCommand } from "./commands/memory.ts"
import { modelsCommand } from "./commands/models.ts"
import { planCommand } from "./commands/plan.ts"
import { relabelCommand } from "./commands/relabel.ts"
import { reportCommand } from "./commands/report.ts"
import { roundtripCommand } from "./commands/roundtrip.ts"
import { sampleCommand } from "./commands/sample.ts"
import { scaffoldCommand } from "./commands/scaffold.ts"
import { setupCommand } from "./commands/setup.ts"
import { verifyCommand } from "./commands/verify.ts"

const working = [
  importCommand, exportCommand, verifyCommand, roundtripCommand, planCommand, inspectCommand, diffCommand, reportCommand, relabelCommand, doctorCommand,
  modelsCommand, sampleCommand, scaffoldCommand, flopsCommand, memoryCommand, layoutCommand, setupCommand, adapterCommand
] as const

/** Shells complete the names; one that is none is told by the command line, with the one that was meant. */
const commandName = Param.makeSingle({
  name: "command",
  kind: Param.argumentKind,
  primitiveType: Object.assign(Primitive.Choice(working.map(({ name }) => [name, name] as const)), { parse: (value: string) => Effect.succeed(value) }) as Primitive.Primitive<string>
})

/** The same as flags say. */
const again = (...args: ReadonlyArray<string>): Effect.Effect<void, BridgeError | CliError.CliError, Command.Environment | Disk> =>
  Effect.suspend(() => Command.runWith(root, { version: VERSION })(args))

const helpCommand = Command.make("help", { command: commandName.pipe(Argument.optional) }, ({ command }) => again(...Option.toArray(command), "--help")).pipe(
  Command.withDescription("Show the help of a command: the same as COMMAND --help")
)

const versionCommand = Command.make("version", {}, () => again("--version")).pipe(Command.withDescription("Show the version: the same as --version"))

/** Every command that reads a model may read one of the Hub. */
const cache = GlobalFlag.Setting("cache")({
  flag: Flag.Boolean("cache").pipe(
    Flag.withDescription("Keep what is read of a model on the Hub in the Hub's cache (HF_HUB_CACHE). Default: it is streamed, and nothing is kept"),
    Flag.withDefault(false)
  )
})

export const root = Command.make("convert_megatron_mimo").pipe(
  Command.withDescription(
    "Move model weights between Hugging Face safetensors and MegatronMIMO torch_dist checkpoints, bit for bit: no torch, no GPU, no model in memory."
  ),
  Command.withSubcommands([...working, helpCommand, versionCommand]),
  Command.provideEffect(Remote, Effect.gen(function*() { return { cache: yield* cache } })),
  Command.withGlobalFlags([cache])
)

interface Named {
  readonly name: string
  readonly subcommands: ReadonlyArray<{ readonly commands: ReadonlyArray<Named> }>
}

/** Commands that do something, as they are typed: `import`, `setup sft`. */
const leaves = ({ name, subcommands }: Named): ReadonlyArray<ReadonlyArray<string>> => {
  const below = subcommands.flatMap((group) => group.commands.flatMap(leaves))
  return below.length === 0 ? [[name]] : below.map((words) => [name, ...words])
}

/** The words of every command, help and version among them. */
export const commandWords: ReadonlyArray<ReadonlyArray<string>> = leaves(root as Named).map((words) => words.slice(1))
