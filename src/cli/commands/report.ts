import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { UsageError } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { reportPaths } from "../flags/report.ts"
import { checkpointPath } from "../../api/conversions.ts"
import { reportTargets, writeReports } from "../../api/reportFiles.ts"
import { pathArgument, pathFlag } from "../paths.ts"

const output = pathFlag("output", "file").pipe(
  Flag.withAlias("o"),
  Flag.withMetavar("FILE"),
  Flag.withDescription("The HTML page to write. Default report.html"),
  Flag.withDefault("report.html")
)

export const reportCommand = Command.make("report", {
  paths: pathArgument("path", "either").pipe(
    Argument.withDescription("Checkpoints of any kind; a Hugging Face model and a Megatron checkpoint of it also show where every tensor went"),
    Argument.variadic({ min: 1, max: 8 })
  ),
  output,
  card: flags.card,
  family: flags.family,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("report")(function*(input) {
  if (/\.ya?ml$/i.test(input.output)) return yield* new UsageError({ problem: "-o names the HTML page", hint: "--card FILE writes the YAML card." })
  const targets = yield* reportTargets(reportPaths({ report: Option.some(input.output), card: input.card }))
  const families = yield* flags.namedFamilies(input)
  yield* writeReports(targets, { command: "report", paths: yield* Effect.forEach(input.paths, checkpointPath), ...families })
  const files = [...targets.pages, ...targets.cards]
  yield* emit("report", input, { files }, (r) => r.files.map((f) => `wrote ${f}`).join("\n"))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo report ./megatron -o report.html", description: "What is where" },
    { command: "convert_megatron_mimo report ./hf ./megatron -o report.html --card card.yaml", description: "And where every tensor of ./hf went" }
  ])
)
