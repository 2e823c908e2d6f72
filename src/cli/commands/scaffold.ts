import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { modelPath } from "../../api/conversions.ts"
import { scaffoldFamily } from "../../api/scaffolding.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { pathArgument, pathFlag } from "../paths.ts"

export const scaffoldCommand = Command.make("scaffold", {
  directory: pathArgument("hf-dir", "directory").pipe(Argument.withDescription("Hugging Face model directory of an unknown architecture")),
  output: pathFlag("output", "file").pipe(
    Flag.withAlias("o"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("Write the starter file here, which must be free. Default: print it"),
    Flag.optional
  ),
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("scaffold")(function*(input) {
  const written = yield* scaffoldFamily(yield* modelPath(input.directory), Option.getOrUndefined(input.output))
  // The text has lines of its own, so it is not cleaned as a value would be; the streams still let nothing pass that a terminal obeys.
  yield* emit("scaffold", input, written, ({ file }) => (file === undefined ? written.text.trimEnd() : `wrote ${file}`))
})).pipe(
  Command.withExamples([{ command: "convert_megatron_mimo scaffold ./hf -o routes/new.ts", description: "Then decide every row (docs/adding-a-family.md)" }])
)
