import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { prepareExport, prepareImport } from "../../api/conversions.ts"
import { UsageError } from "../../errors.ts"
import { attempt } from "../../api/ground.ts"
import * as flags from "../flags.ts"
import { emit } from "../output.ts"
import { renderReport } from "../render.ts"

export const planCommand = Command.make("plan", {
  hfModel: flags.hfModel,
  hfRevision: flags.hfRevision,
  megatronPath: flags.megatronPath.pipe(
    Flag.withDescription("Plan the export of this checkpoint; without it, the import of --hf-model is planned"),
    Flag.optional
  ),
  component: flags.component,
  ...flags.standard,
  torchDtype: flags.torchDtype,
  mtp: flags.mtp,
  vocabSize: flags.vocabSize,
  allowUnmapped: flags.allowUnmapped,
  trustRemoteCode: flags.trustRemoteCode,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("plan")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  if (Option.isSome(input.megatronPath)) {
    yield* attempt(() => flags.refuseLayoutOfImport(input))
    const vocabulary = yield* attempt(() => flags.vocabularyOptions(input.vocabSize))
    const { report } = yield* prepareExport(hfModel, input.megatronPath.value, { ...flags.tensorsOf(input), ...vocabulary, components: input.component })
    return yield* emit("plan", input, report, (r) => renderReport(r, undefined, false))
  }
  if (Option.isSome(input.vocabSize)) return yield* new UsageError({ problem: "--vocab-size goes with an export", hint: "--megatron-path names the checkpoint whose export is planned." })
  const arrangement = yield* attempt(() => flags.arrangementOf(input))
  const { report } = yield* prepareImport(hfModel, { ...flags.tensorsOf(input), ...arrangement })
  yield* emit("plan", input, report, (r) => renderReport(r, undefined, false))
})).pipe(
  Command.withDescription("Print what an import or export would do: components and ranks, tensors, files, dtype changes, disk needed"),
  Command.withExamples([
    { command: "convert_megatron_mimo plan --hf-model ./hf --component language=tp=4 --component images=tp=1", description: "An import" },
    { command: "convert_megatron_mimo plan --hf-model ./hf --megatron-path ./megatron --json", description: "An export, for scripts" }
  ])
)
