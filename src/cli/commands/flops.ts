import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { countFlops } from "../../api/training/flops.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { sampleFlags, samplesOf } from "../flags/training.ts"
import { renderFlops } from "../trainingText.ts"

export const flopsCommand = Command.make("flops", {
  hfModel: flags.hfModel,
  hfRevision: flags.hfRevision,
  ...sampleFlags,
  standard: Flag.Boolean("standard").pipe(Flag.withDescription("One model under one layout, with multi-token prediction. Default: by component, where there are several"), Flag.withDefault(false)),
  reference: Flag.Boolean("reference").pipe(Flag.withDescription("Also what the trainer logs, and why the two differ"), Flag.withDefault(false)),
  family: flags.family,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("flops")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const families = yield* flags.namedFamilies(input)
  const report = yield* countFlops(hfModel, { ...families, ...samplesOf(input), reference: input.reference, standard: input.standard })
  yield* emit("flops", input, report, renderFlops)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo flops --hf-model ./hf --seq-length 4096 --images '1*768x768'", description: "A sequence with an image" },
    { command: "convert_megatron_mimo flops --hf-model ./hf --freeze images --reference", description: "A frozen tower; and what the trainer would log" }
  ])
)
