import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { countMemory } from "../../api/training/memory.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { run, runOf, sampleFlags, samplesOf } from "../flags/training.ts"
import { renderMemory } from "../trainingText.ts"

export const memoryCommand = Command.make("memory", {
  hfModel: flags.hfModel,
  hfRevision: flags.hfRevision,
  component: flags.component,
  ...flags.standard,
  ...sampleFlags,
  ...run,
  reference: Flag.Boolean("reference").pipe(Flag.withDescription("Also what the trainers print of a standard layout"), Flag.withDefault(false)),
  family: flags.family,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("memory")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const families = yield* flags.namedFamilies(input)
  const report = yield* countMemory(hfModel, { ...families, ...samplesOf(input), ...runOf(input), ...flags.arrangementOf(input), reference: input.reference })
  yield* emit("memory", input, report, renderMemory)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo memory --hf-model ./hf -c language=tp=4,pp=2,dp=2 -c images=tp=1 --images '1*768x768'", description: "Components on ranks of their own" },
    { command: "convert_megatron_mimo memory --hf-model ./hf --standard --tp 8 --recompute full --gpu h200", description: "One layout, everything made again" }
  ])
)
