import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { preparePrune, type PruneReport } from "../../api/trainingFolder.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { pathArgument } from "../paths.ts"
import { bold, bytes } from "../text.ts"

const FATES = { kept: "stays", removed: "goes", slimmed: "loses its optimizer state" } as const

const renderPrune = ({ directory, done, freed, iterations, notes }: PruneReport): string => {
  const rows = iterations.map(({ because, fate, freed: own, name }) => `  ${name}  ${FATES[fate]}${because === undefined ? "" : ` (${because})`}${own > 0 ? `  ${bytes(own)}` : ""}`)
  const lines = [`${bold(done ? "pruned" : "prune")} ${directory}`, rows.join("\n"), `  ${bytes(freed)} ${done ? "freed" : "would be freed; --yes does it"}`]
  for (const note of notes) lines.push(`${bold("note")} ${note}`)
  return lines.join("\n\n")
}

const count = (name: string, what: string) => Flag.Int(name).pipe(Flag.withMetavar("K"), Flag.withDescription(what), Flag.optional)

export const pruneCommand = Command.make("prune", {
  directory: pathArgument("directory", "directory").pipe(Argument.withDescription("Training folder with the iter_* folders")),
  keepEvery: count("keep-every", "Remove iterations whose step is no multiple of K"),
  keepLast: count("keep-last", "Leave the newest K iterations as they are. Default 1: the newest always stays, and so does what a tracker names"),
  drop: Flag.Literals("drop", ["optimizer"]).pipe(Flag.withDescription("Take the optimizer's state out of the iterations that stay, but for the newest and the tracked"), Flag.optional),
  yes: Flag.Boolean("yes").pipe(Flag.withDescription("Do it. Without it, what would go and how many bytes is printed"), Flag.withDefault(false)),
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("prune")(function*(input) {
  const number = (flag: Option.Option<number>, name: "keepEvery" | "keepLast") => (Option.isSome(flag) ? { [name]: flag.value } : {})
  const { report, run } = yield* preparePrune(input.directory, { ...number(input.keepEvery, "keepEvery"), ...number(input.keepLast, "keepLast"), dropOptimizer: Option.isSome(input.drop) })
  yield* emit("prune", input, input.yes ? yield* run() : report, renderPrune)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo prune ./pretraining --keep-every 1000", description: "What would go" },
    { command: "convert_megatron_mimo prune ./pretraining --keep-every 1000 --drop optimizer --yes", description: "Every thousandth iteration, without optimizer state; the newest as it is" }
  ])
)
