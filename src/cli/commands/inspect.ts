import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { inspect } from "../../api/checkpoints.ts"
import { checkpointPath } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { UsageError } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { inspectionCsv } from "../inspectCsv.ts"
import { inspectionJson, inspectionText } from "../inspectText.ts"
import { cleaned } from "../../quote.ts"
import { idleEngine, refuseIdle } from "../idle.ts"
import { withProgress } from "../progress.ts"
import { pathArgument } from "../paths.ts"
import { print } from "../streams.ts"

export const inspectCommand = Command.make("inspect", {
  path: pathArgument("path", "either").pipe(Argument.withDescription("Safetensors file or directory, Megatron checkpoint or iter_* folder, .distcp or .pt file")),
  filter: Flag.String("filter").pipe(
    Flag.withAlias("f"),
    Flag.withMetavar("GLOB"),
    Flag.withDescription("List only tensors whose name matches: * and ? are wild, {a,b} is either, plain text may stand anywhere. Repeatable"),
    Flag.between(0, 100)
  ),
  stats: Flag.Boolean("stats").pipe(
    Flag.withDescription("Read the listed tensors: min, max, mean, std, zeros, NaN and infinities of each"),
    Flag.withDefault(false)
  ),
  chunks: Flag.Boolean("chunks").pipe(Flag.withDescription("List the box, file and byte range of every chunk"), Flag.withDefault(false)),
  list: Flag.Boolean("list").pipe(Flag.withDescription("One line per tensor instead of a tree"), Flag.withDefault(false)),
  summary: Flag.Boolean("summary").pipe(Flag.withDescription("Sums only, no tensors"), Flag.withDefault(false)),
  csv: Flag.Boolean("csv").pipe(Flag.withDescription("The tensors as CSV"), Flag.withDefault(false)),
  ...flags.engine,
  family: flags.family,
  ...flags.told
}, Effect.fn("inspect")(function*(input) {
  if (input.csv && input.json) return yield* new UsageError({ problem: "--csv and --json exclude each other" })
  const summary = "--summary lists no tensors"
  const shown = input.summary ? summary : input.csv ? "--csv has a line for each tensor anyway" : "--json has every tensor anyway"
  yield* attempt(() => refuseIdle(
    ["--list", input.list && (input.csv || input.json || input.summary), shown],
    ["--chunks", input.chunks && input.summary, summary],
    ["--stats", input.stats && input.summary, summary],
    ["--filter", input.filter.length > 0 && input.summary, "sums are of everything"],
    ["--summary", input.csv && input.summary, "--csv has tensors only"],
    ...idleEngine(input, !input.stats, "only --stats reads tensors")
  ))
  const engine = yield* attempt(() => flags.engineOptions(input))
  const families = yield* flags.namedFamilies(input)
  const path = yield* checkpointPath(input.path)
  const request = { ...engine, ...families, filter: input.filter, boxes: input.chunks }
  const found = input.stats
    ? yield* withProgress("reading", input, ({ onProgress }) => inspect(path, { ...request, statistics: true, onProgress }))
    : yield* inspect(path, request)
  const show = (pieces: Iterable<string>) => Effect.sync(() => { Iterator.from(pieces).every(print) })
  if (input.csv) return yield* show(inspectionCsv(cleaned(found)))
  if (input.json) return yield* show(inspectionJson(input.summary ? { ...found, tensors: [] } : found))
  if (!input.quiet) yield* show(inspectionText(cleaned(found), { list: input.list || input.stats || input.chunks, summary: input.summary }))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo inspect ./megatron", description: "Everything, on a page" },
    { command: "convert_megatron_mimo inspect ./hf --stats --filter '*.mlp.*'", description: "Do the values look like weights?" },
    { command: "convert_megatron_mimo inspect ./megatron/iter_0000000 --chunks --json", description: "Which bytes of which file hold what" }
  ])
)
