import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { contributeImport, planningAlone, prepareImport } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { decidedOnce } from "../../api/job.ts"
import { reportTargets, writeReports } from "../../api/reportFiles.ts"
import { sendingNotes } from "../../api/uploads.ts"
import * as flags from "../flags/index.ts"
import { asJob, isMuted, plannedShares } from "../job.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { renderReport } from "../render.ts"
import { refuseIdle } from "../idle.ts"
import { cluster, clusterOf, run, runOf, sampleFlags, samplesOf } from "../flags/training.ts"
import { refuseDryReport, reportPaths } from "../flags/report.ts"

/** What a planned layout depends on. */
const planned = { seqLength: sampleFlags.seqLength, images: sampleFlags.images, gpu: run.gpu, globalBatch: run.globalBatch, nodes: cluster.nodes, gpusPerNode: cluster.gpusPerNode }

const AUTO = "auto"

export const importCommand = Command.make("import", {
  hfModel: flags.hfModels,
  ...flags.assembly,
  hfRevision: flags.hfRevision,
  megatronPath: flags.megatronPath.pipe(Flag.withDescription("Where the Megatron checkpoint is written")),
  component: flags.component,
  ...planned,
  ...flags.standard,
  loadRoute: flags.loadRoute,
  ...flags.written,
  ...flags.tensors,
  ...flags.published,
  trustRemoteCode: flags.trustRemoteCode,
  report: flags.report,
  card: flags.card,
  ...flags.engine,
  ...flags.shared,
  family: flags.family,
  ...flags.told
}, Effect.fn("import")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const { arrangement, engine, options } = yield* attempt(() => ({ arrangement: flags.arrangementOf(input), engine: flags.engineOptions(input), options: flags.importOptions(input) }))
  yield* refuseDryReport(input)
  return yield* asJob("import", input, { reads: hfModel, target: input.megatronPath, alone: input.dryRun }, Effect.fnUntraced(function*(input) {
    const families = yield* flags.namedFamilies(input)
    const auto = input.component.length === 1 && input.component[0] === AUTO
    const given = (flag: Option.Option<unknown>): boolean => !auto && Option.isSome(flag)
    const why = `it belongs to --component ${AUTO}, the layout that \`layout\` would choose`
    yield* attempt(() => refuseIdle(
      ["--seq-length", given(input.seqLength), why], ["--images", !auto && input.images.length > 0, why], ["--gpu", given(input.gpu), why],
      ["--global-batch", given(input.globalBatch), why], ["--nodes", given(input.nodes), why], ["--gpus-per-node", given(input.gpusPerNode), why]
    ))
    const nothing = Option.none()
    const chosen = auto
      ? {
        components: yield* decidedOnce("the layout", Effect.flatMap(Effect.promise(() => import("../../api/training/layouts.ts")), ({ bestComponents }) => bestComponents(hfModel, {
          ...families,
          ...samplesOf({ ...input, freeze: input.freeze.filter((part) => !part.includes("*")) }),
          ...runOf({ ...input, gpuFile: nothing, microBatch: nothing, recompute: nothing, sequenceParallel: nothing }),
          ...clusterOf({ ...input, sharedNodes: false, launcher: "srun", efficiency: nothing, measuredStep: nothing })
        })))
      }
      : {}
    const request = { ...flags.tensorsOf(input), ...options, ...arrangement, ...chosen, ...families }
    // The first process plans, writes the report and prints.
    if (isMuted(input)) return input.dryRun ? undefined : yield* contributeImport(hfModel, request, input.megatronPath, { ...engine, ...flags.runOptions(input) })
    const targets = yield* reportTargets(reportPaths(input))
    const started = performance.now()
    const prepared = yield* planningAlone(prepareImport(hfModel, { ...request, ...(input.dryRun ? yield* plannedShares(input) : {}) }))
    const { report } = prepared
    if (input.dryRun) return yield* emit("import", input, { ...report, notes: [...report.notes, ...sendingNotes(input.megatronPath, report.files)], target: input.megatronPath }, (r) => renderReport(r, r.target, false))
    const done = yield* withProgress("importing", input, (progress) => {
      progress.total(report.files.reduce((sum, f) => sum + f.bytes, 0))
      return prepared.run(input.megatronPath, { ...engine, ...flags.runOptions(input), progress: progress.add })
    }, ["verify", "--hf-model", hfModel, "--megatron-path", input.megatronPath, ...flags.familyWords(input)])
    yield* writeReports(targets, { command: "import", paths: [hfModel, input.megatronPath], seconds: (performance.now() - started) / 1000, conversion: done, ...families })
    yield* emit("import", input, { ...done, target: input.megatronPath }, (r) => renderReport(r, r.target, true))
  }))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo import --hf-model ./hf --megatron-path ./megatron", description: "Every component tp=1, on consecutive ranks" },
    {
      command: "convert_megatron_mimo import --hf-model ./hf --megatron-path ./megatron --component language=tp=4,pp=2 --component images=tp=1",
      description: "Nine ranks: eight for the language model, one for images"
    },
    { command: "convert_megatron_mimo import --hf-model ./hf --megatron-path ./megatron --component auto --nodes 3 --images '1*768x768'", description: "The layout that the planner likes best" },
    { command: "convert_megatron_mimo import --hf-model ./hf --megatron-path ./megatron --standard --tp 2", description: "One model, one layout" }
  ])
)
