/** The commands of a command line put together: all of them, or the one that it names. */
import { Effect, Option } from "effect"
import { Argument, type CliError, Command, Flag, GlobalFlag, Param, Primitive } from "effect/cli"
import { type Disk, Remote } from "../api/ground.ts"
import type { BridgeError } from "../errors.ts"
import { VERSION } from "../version.ts"
import { type AnyCommand, commands } from "./commands/index.ts"
import { commandOf } from "./reference.ts"

/** Shells complete the names; one that is none is told by the command line, with the one that was meant. */
const commandName = Param.makeSingle({
  name: "command",
  kind: Param.argumentKind,
  primitiveType: Object.assign(Primitive.Choice(Object.keys(commands).map((name) => [name, name] as const)), { parse: (value: string) => Effect.succeed(value) }) as Primitive.Primitive<string>
})

/** The same as flags say. */
const again = (...args: ReadonlyArray<string>): Effect.Effect<void, BridgeError | CliError.CliError, Command.Environment | Disk> =>
  Effect.flatMap(Effect.promise(() => rootFor(args)), (root) => Command.runWith(root, { version: VERSION })(args))

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

/** A command of which help says no more than what it is for. */
const named = (name: string): AnyCommand => Command.make(name)

/** All commands; those for which `isWanted` says so with all that they have. */
const rootWith = async (isWanted: (name: string) => boolean) => rootOf(await Promise.all(Object.entries(commands).map(async ([name, { description, load }]) =>
  (isWanted(name) ? await load() : named(name)).pipe(Command.withDescription(description)))))

const rootOf = (working: ReadonlyArray<AnyCommand>) => Command.make("convert_megatron_mimo").pipe(
  Command.withDescription(
    "Move model weights between Hugging Face safetensors and MegatronMIMO torch_dist checkpoints, bit for bit: no torch, no GPU, no model in memory."
  ),
  Command.withSubcommands([...working, helpCommand, versionCommand]),
  Command.provideEffect(Remote, Effect.gen(function*() { return { cache: yield* cache } })),
  Command.withGlobalFlags([cache])
)

/** With all that every command has. */
export const wholeRoot = () => rootWith(() => true)

/** Completions are of all flags, and the wizard asks for any. */
const NEEDS_ALL = /^--(completions|wizard)(=|$)/

/** With what a command line needs: of other commands than its own, what help says of them. */
export const rootFor = (args: ReadonlyArray<string>) => (args.some((arg) => NEEDS_ALL.test(arg)) ? wholeRoot() : rootWith((name) => name === commandOf(args)))

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
export const commandWords = async (): Promise<ReadonlyArray<ReadonlyArray<string>>> => leaves((await wholeRoot()) as Named).map((words) => words.slice(1))
