import { Effect, Option } from "effect"
import { Command } from "effect/cli"
import { pageTargets } from "../../api/reportFiles.ts"
import { planLayout, writeLayoutPages } from "../../api/training/layouts.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { cluster, run, sampleFlags, trainingOf } from "../flags/training.ts"
import { renderLayout } from "../trainingText.ts"

export const layoutCommand = Command.make("layout", {
  hfModel: flags.hfModel,
  hfRevision: flags.hfRevision,
  component: flags.component,
  ...flags.standard,
  ...sampleFlags,
  ...run,
  ...cluster,
  report: flags.page,
  family: flags.family,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("layout")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const targets = yield* pageTargets("layout", Option.getOrUndefined(input.report))
  const families = yield* flags.namedFamilies(input)
  const report = yield* planLayout(hfModel, { ...families, ...trainingOf(input) })
  yield* writeLayoutPages(targets.pages, report)
  const stands = report.given ? report.given.broken.length === 0 : report.best.length > 0
  yield* emit("layout", input, report, renderLayout, stands ? 0 : 1)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo layout --hf-model ./hf --nodes 2 --images '1*768x768' --report layout.html", description: "The best five, and a page with ranks, stages and the timeline" },
    { command: "convert_megatron_mimo layout --hf-model ./hf -c language=tp=2,dp=2 -c images=tp=1 --measured-step 5.2", description: "A layout of your own, and a step that was measured with it" }
  ])
)
