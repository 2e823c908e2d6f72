import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { scaffold } from "../../bridge/scaffold.ts"
import { openHfSource } from "../../convert/HfSource.ts"
import { attempt } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import { writeSmall } from "../../io/small.ts"
import { pathArgument, pathFlag } from "../paths.ts"
import { print } from "../streams.ts"

export const scaffoldCommand = Command.make("scaffold", {
  directory: pathArgument("hf-dir", "directory").pipe(Argument.withDescription("Hugging Face model directory of an unknown architecture")),
  output: pathFlag("output", "file").pipe(
    Flag.withAlias("o"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("Write the starter file here, which must be free. Default: print it"),
    Flag.optional
  )
}, Effect.fn("scaffold")(function*({ directory, output }) {
  const disk = yield* Disk
  const source = yield* openHfSource(directory)
  const text = scaffold(source.architecture, source.tensors.tensors.values())
  if (Option.isSome(output)) yield* attempt(() => writeSmall(disk, output.value, Buffer.from(text)))
  else yield* Effect.sync(() => print(text))
})).pipe(
  Command.withDescription("Write a starter family file for an architecture that is not known yet"),
  Command.withExamples([{ command: "convert_megatron_mimo scaffold ./hf -o routes/new.ts", description: "Then decide every row (docs/adding-a-family.md)" }])
)
