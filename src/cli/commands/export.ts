import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { contributeExport, type ExportPlanRequest, modelPath, planningAlone, prepareExport } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { reportTargets, writeReports } from "../../api/reportFiles.ts"
import { exportModel, exportModelOf } from "../flags/exported.ts"
import { isHub, sendingNotes } from "../../api/uploads.ts"
import * as flags from "../flags/index.ts"
import { refuseIdle } from "../idle.ts"
import { asJob, isMuted, plannedShares } from "../job.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { renderReport } from "../render.ts"
import { refuseDryReport, reportPaths } from "../flags/report.ts"
import { pathFlag } from "../paths.ts"

export const mtpFrom = pathFlag("mtp-from", "either").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Hugging Face directory to take multi-token-prediction tensors from, if the checkpoint has none"),
  Flag.optional
)

const restoreQuantized = Flag.Boolean("restore-quantized").pipe(
  Flag.withDescription("Write quantised tensors of --hf-model that have not changed as its own codes and scales, not as values"),
  Flag.withDefault(false)
)

export const exportCommand = Command.make("export", {
  ...exportModel,
  megatronPath: flags.megatronPath,
  hfPath: flags.hfPath,
  component: flags.component.pipe(Flag.withDescription("Layout that the checkpoint is said to have; differences are noted. Not needed: an export reads any layout. Repeatable")),
  torchDtype: flags.torchDtype,
  mtp: flags.mtp,
  mtpFrom,
  restoreQuantized,
  vocabSize: flags.vocabSize,
  allowUnmapped: flags.allowUnmapped,
  overwrite: flags.overwrite,
  resume: flags.resume,
  private: Flag.Boolean("private").pipe(Flag.withDescription("With --hf-path hf://Org/Name: a repository that does not exist is made as a private one"), Flag.withDefault(false)),
  createPr: Flag.Boolean("create-pr").pipe(Flag.withDescription("With --hf-path hf://Org/Name: the commit is a pull request"), Flag.withDefault(false)),
  checksum: flags.checksum,
  dryRun: flags.dryRun,
  trustRemoteCode: flags.trustRemoteCode,
  report: flags.report,
  card: flags.card,
  ...flags.engine,
  ...flags.shared,
  family: flags.family,
  ...flags.told
}, Effect.fn("export")(function*(input) {
  const model = yield* exportModelOf(input)
  const engine = yield* attempt(() => flags.engineOptions(input))
  const vocabulary = yield* attempt(() => flags.vocabularyOptions(input.vocabSize))
  yield* attempt(() => refuseIdle(["--mtp-from", Option.isSome(input.mtpFrom) && input.mtp === "drop", "--mtp drop leaves those tensors out"],
    ["--private", input.private && !isHub(input.hfPath), "--hf-path is no repository of the Hub"],
    ["--create-pr", input.createPr && !isHub(input.hfPath), "--hf-path is no repository of the Hub"],
    ["--restore-quantized", input.restoreQuantized && Option.isNone(input.hfModel), "without --hf-model there are no codes to restore"]))
  yield* refuseDryReport(input)
  return yield* asJob("export", input, { reads: input.megatronPath, target: input.hfPath, alone: input.dryRun }, Effect.fnUntraced(function*(input) {
    const families = yield* flags.namedFamilies(input)
    const request = { ...families, ...flags.tensorsOf(input), ...vocabulary, components: input.component, ...(Option.isSome(input.mtpFrom) ? { mtpFrom: yield* modelPath(input.mtpFrom.value) } : {}) }
    // The first process plans, writes the report and prints.
    if (isMuted(input)) {
      if (input.dryRun) return
      const comparison = input.restoreQuantized ? { restoreQuantized: engine } : {}
      return yield* contributeExport(model, input.megatronPath, { ...request, ...comparison }, input.hfPath, { ...engine, ...flags.runOptions(input) })
    }
    const targets = yield* reportTargets(reportPaths(input))
    const started = performance.now()
    const shared = input.dryRun ? yield* plannedShares(input) : {}
    const prepare = (comparison: Pick<ExportPlanRequest, "restoreQuantized">) => planningAlone(prepareExport(model, input.megatronPath, { ...request, ...shared, ...comparison }))
    const prepared = input.restoreQuantized
      ? yield* withProgress("comparing", input, (progress) =>
        prepare({ restoreQuantized: { ...engine, onSize: progress.total, progress: progress.add } }))
      : yield* prepare({})
    const { report } = prepared
    if (input.dryRun) return yield* emit("export", input, { ...report, notes: [...report.notes, ...sendingNotes(input.hfPath, report.files, input.createPr)], target: input.hfPath }, (r) => renderReport(r, r.target, false))
    const done = yield* withProgress("exporting", input, (progress) => {
      progress.total(report.files.reduce((sum, f) => sum + f.bytes, 0))
      return prepared.run(input.hfPath, { ...engine, ...flags.runOptions(input), hub: { private: input.private, createPr: input.createPr }, progress: progress.add })
    }, ["verify", "--hf-model", input.hfPath, "--megatron-path", input.megatronPath, ...flags.familyWords(input)])
    yield* writeReports(targets, { command: "export", paths: [input.megatronPath, input.hfPath], seconds: (performance.now() - started) / 1000, conversion: done, ...families })
    yield* emit("export", input, { ...done, target: input.hfPath }, (r) => renderReport(r, r.target, true))
  }))
})).pipe(
  Command.withExamples([
    {
      command: "convert_megatron_mimo export --megatron-path ./pretraining --hf-path ./trained --tokenizer ./tokenizer",
      description: "A checkpoint of Megatron-LM, described by the arguments that it holds"
    },
    {
      command: "convert_megatron_mimo export --hf-model ./hf --megatron-path ./megatron --hf-path ./trained",
      description: "Config, tokenizer and shard layout come from --hf-model"
    },
    {
      command: "convert_megatron_mimo export --hf-model ./hf --megatron-path ./run/iter_0001000 --hf-path ./trained --mtp-from ./hf",
      description: "A checkpoint whose trainer dropped the MTP layers gets them back from the original"
    },
    {
      command: "convert_megatron_mimo export --hf-model ./hf-fp8 --megatron-path ./megatron-fp8 --hf-path ./exported --restore-quantized",
      description: "Weights that training left alone stay FP8; the others are written as BF16"
    }
  ])
)
