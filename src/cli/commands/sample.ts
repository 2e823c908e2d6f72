import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { families } from "../../../routes/index.ts"
import { type SampleSize, samples } from "../../../routes/samples/index.ts"
import { writeSample } from "../../conformance/Sample.ts"
import * as flags from "../flags.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { bytes, plural } from "../text.ts"
import { pathArgument } from "../paths.ts"

const models = Object.keys(samples) as [string, ...Array<string>]

export const sampleCommand = Command.make("sample", {
  directory: pathArgument("dir", "directory").pipe(Argument.withDescription("Where the Hugging Face checkpoint is written")),
  model: Flag.Literals("model", models).pipe(Flag.withDescription("Which model's structure"), Flag.withDefault(models[0])),
  size: Flag.Literals("size", ["tiny", "small", "1GB", "10GB"]).pipe(
    Flag.withDescription("tiny (a few MB, the default), small (some 100 MB), or published dimensions"),
    Flag.withDefault("tiny")
  ),
  overwrite: flags.overwrite,
  json: flags.json,
  quiet: flags.quiet,
  ...flags.progress
}, Effect.fn("sample")(function*(input) {
  const report = yield* withProgress("writing", input, (progress) =>
    writeSample(families, samples[input.model]![input.size as SampleSize], input.directory, {
      overwrite: input.overwrite,
      progress: progress.add,
      onSize: progress.total
    }))
  yield* emit(input, report, (r) => `${r.directory}: ${r.architecture}, ${plural(r.tensors, "tensor")}, ${bytes(r.bytes)}`)
})).pipe(
  Command.withDescription("Write a deterministic sample checkpoint (real structure, generated weights), to try and to measure with"),
  Command.withExamples([
    { command: "convert_megatron_mimo sample ./hf", description: "A few MB" },
    { command: `convert_megatron_mimo sample --model ${models.at(-1)} --size 10GB ./hf`, description: "Published dimensions" }
  ])
)
