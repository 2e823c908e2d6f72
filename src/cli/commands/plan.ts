import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { prepareExport, prepareImport } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { reportTargets, writeReports } from "../../api/reportFiles.ts"
import { UsageError } from "../../errors.ts"
import { exportModel, exportModelOf } from "../flags/exported.ts"
import { refuseIdle } from "../idle.ts"
import * as flags from "../flags/index.ts"
import { reportPaths } from "../flags/report.ts"
import { emit } from "../output.ts"
import { renderReport } from "../render.ts"

export const planCommand = Command.make("plan", {
  ...exportModel,
  megatronPath: flags.megatronPath.pipe(
    Flag.withDescription("Plan the export of this checkpoint; without it, the import of --hf-model is planned"),
    Flag.optional
  ),
  component: flags.component,
  ...flags.standard,
  loadRoute: flags.loadRoute,
  ...flags.written,
  torchDtype: flags.torchDtype,
  mtp: flags.mtp,
  vocabSize: flags.vocabSize,
  report: flags.report,
  card: flags.card,
  allowUnmapped: flags.allowUnmapped,
  trustRemoteCode: flags.trustRemoteCode,
  processes: flags.plannedProcesses,
  family: flags.family,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("plan")(function*(input) {
  const model = yield* exportModelOf(input)
  const targets = yield* reportTargets(reportPaths(input))
  const families = yield* flags.namedFamilies(input)
  const shared = Option.match(input.processes, { onNone: () => ({}), onSome: (processes) => ({ processes }) })
  if (Option.isSome(input.megatronPath)) {
    yield* attempt(() => flags.refuseLayoutOfImport(input))
    const why = "it goes with an import; without --megatron-path one is planned"
    yield* attempt(() => refuseIdle(["--load-route", input.loadRoute !== "hook", why], ["--tp-rank-files", input.tpRankFiles, why], ["--freeze", input.freeze.length > 0, why], ["--megatron-vocab-size", Option.isSome(input.megatronVocabSize), why]))
    const vocabulary = yield* attempt(() => flags.vocabularyOptions(input.vocabSize))
    const { report } = yield* prepareExport(model, input.megatronPath.value, { ...families, ...flags.tensorsOf(input), ...vocabulary, ...shared, components: input.component })
    yield* writeReports(targets, { command: "plan", paths: [input.megatronPath.value, ...(typeof model === "string" ? [model] : [])], conversion: report, ...families })
    return yield* emit("plan", input, report, (r) => renderReport(r, undefined, false))
  }
  if (typeof model !== "string") return yield* new UsageError({ problem: "there is nothing to plan", hint: "--hf-model DIR for an import, --megatron-path DIR for an export" })
  yield* attempt(() => refuseIdle(["--vocab-size", Option.isSome(input.vocabSize), "it goes with an export; --megatron-path names the checkpoint whose export is planned"]))
  const arrangement = yield* attempt(() => flags.arrangementOf(input))
  const { plan, report } = yield* prepareImport(model, { ...families, ...flags.tensorsOf(input), ...(yield* attempt(() => flags.importOptions(input))), ...arrangement, ...shared })
  yield* writeReports(targets, { command: "plan", paths: [model], conversion: report, plan, ...families })
  yield* emit("plan", input, report, (r) => renderReport(r, undefined, false))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo plan --hf-model ./hf --component language=tp=4 --component images=tp=1", description: "An import" },
    { command: "convert_megatron_mimo plan --hf-model ./hf --component language=tp=2,pp=2 --component images=tp=1 --report plan.html", description: "And a page that shows which rank would hold what" },
    { command: "convert_megatron_mimo plan --hf-model ./hf --megatron-path ./megatron --json", description: "An export, for scripts" }
  ])
)
