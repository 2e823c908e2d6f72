import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { dirname, resolve } from "node:path"
import { prepareImport } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { reportTargets, writeReports } from "../../api/reportFiles.ts"
import * as flags from "../flags.ts"
import { shared } from "../job.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { renderReport } from "../render.ts"
import { refuseDryReport, reportPaths } from "../reportFlags.ts"

export const importCommand = Command.make("import", {
  hfModel: flags.hfModel,
  hfRevision: flags.hfRevision,
  megatronPath: flags.megatronPath.pipe(Flag.withDescription("Where the Megatron checkpoint is written")),
  component: flags.component,
  ...flags.standard,
  torchDtype: flags.torchDtype,
  mtp: flags.mtp,
  allowUnmapped: flags.allowUnmapped,
  overwrite: flags.overwrite,
  resume: flags.resume,
  checksum: flags.checksum,
  dryRun: flags.dryRun,
  trustRemoteCode: flags.trustRemoteCode,
  report: flags.report,
  card: flags.card,
  ...flags.engine,
  ...flags.shared,
  family: flags.family,
  json: flags.json,
  quiet: flags.quiet,
  ...flags.progress
}, Effect.fn("import")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const { arrangement, engine } = yield* attempt(() => ({ arrangement: flags.arrangementOf(input), engine: flags.engineOptions(input) }))
  yield* refuseDryReport(input)
  return yield* shared("import", input, { reads: hfModel, beside: dirname(resolve(input.megatronPath)), alone: input.dryRun }, Effect.fnUntraced(function*(input) {
    const families = yield* flags.familiesOf(input)
    const targets = yield* reportTargets(reportPaths(input))
    const started = performance.now()
    const prepared = yield* prepareImport(hfModel, { ...flags.tensorsOf(input), ...arrangement, ...families })
    const { report } = prepared
    if (input.dryRun) return yield* emit("import", input, { ...report, target: input.megatronPath }, (r) => renderReport(r, r.target, false))
    const done = yield* withProgress("importing", input, (progress) => {
      progress.total(report.files.reduce((sum, f) => sum + f.bytes, 0))
      return prepared.run(input.megatronPath, { ...engine, ...flags.runOptions(input), progress: progress.add })
    }, ["verify", "--hf-model", hfModel, "--megatron-path", input.megatronPath, ...flags.familyWords(input)])
    yield* writeReports(targets, { command: "import", paths: [hfModel, input.megatronPath], seconds: (performance.now() - started) / 1000, conversion: done, ...families })
    yield* emit("import", input, { ...done, target: input.megatronPath }, (r) => renderReport(r, r.target, true))
  }))
})).pipe(
  Command.withDescription("Turn a Hugging Face checkpoint into a MegatronMIMO (or standard) torch_dist checkpoint"),
  Command.withExamples([
    { command: "convert_megatron_mimo import --hf-model ./hf --megatron-path ./megatron", description: "Every component tp=1, on consecutive ranks" },
    {
      command: "convert_megatron_mimo import --hf-model ./hf --megatron-path ./megatron --component language=tp=4,pp=2 --component images=tp=1",
      description: "Nine ranks: eight for the language model, one for images"
    },
    { command: "convert_megatron_mimo import --hf-model ./hf --megatron-path ./megatron --standard --tp 2", description: "One model, one layout" }
  ])
)
