import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { sampleModels, sampleSizes, writeSample } from "../../api/samples.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { bytes, plural } from "../text.ts"
import { pathArgument } from "../paths.ts"

export const sampleCommand = Command.make("sample", {
  directory: pathArgument("dir", "directory").pipe(Argument.withDescription("Where the Hugging Face checkpoint is written")),
  model: Flag.Literals("model", sampleModels).pipe(Flag.withDescription("The model whose structure it has"), Flag.withDefault(sampleModels[0])),
  size: Flag.Literals("size", sampleSizes).pipe(
    Flag.withDescription("tiny (a few MB, the default), small (some 100 MB), or published dimensions"),
    Flag.withDefault(sampleSizes[0])
  ),
  overwrite: flags.overwrite,
  ...flags.told
}, Effect.fn("sample")(function*(input) {
  const report = yield* withProgress("writing", input, ({ onProgress }) =>
    writeSample(input.directory, {
      model: input.model,
      size: input.size,
      overwrite: input.overwrite,
      onProgress
    }), ["plan", "--hf-model", input.directory])
  yield* emit("sample", input, report, (r) => `${r.directory}: ${r.architecture}, ${plural(r.tensors, "tensor")}, ${bytes(r.bytes)}`)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo sample ./hf", description: "A few MB" },
    { command: `convert_megatron_mimo sample --model ${sampleModels.at(-1)} --size 10GB ./hf`, description: "Published dimensions" }
  ])
)
