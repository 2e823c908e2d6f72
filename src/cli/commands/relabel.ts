import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { prepareRelabel, type RelabelReport, relabelTargets, type RelabelTo } from "../../api/checkpoints.ts"
import { modelPath } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import * as flags from "../flags/index.ts"
import { asJob } from "../job.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { tell } from "../streams.ts"
import { bold, bytes, plural } from "../text.ts"
import { pathArgument } from "../paths.ts"

const renderRelabel = (report: RelabelReport, target: string, done: boolean): string => {
  const copied = report.kept.length - report.linked - report.cloned
  const files = [
    report.linked > 0 ? `${plural(report.linked, "data file")} linked` : undefined,
    report.cloned > 0 ? `${plural(report.cloned, "data file")} copied by reference (reflink)` : undefined,
    copied > 0 ? `${plural(copied, "data file")} ${done ? "copied" : "kept"}` : undefined,
    report.written.length > 0 ? `${plural(report.written.length, "data file")} written anew` : undefined
  ].filter(Boolean).join(", ")
  const lines = [
    `${bold(`${done ? "relabelled" : "relabel"} to ${report.to.join(", ")}`)}\n  from ${report.source}\n  to   ${target}`,
    `  ${plural(report.tensors, "tensor")}, ${plural(report.renamed, "key")} renamed${report.supplied > 0 ? `, ${plural(report.supplied, "module state")} supplied` : ""}\n` +
    `  ${files}; ${bytes(report.writtenBytes)} of ${bytes(report.dataBytes)} written`
  ]
  for (const note of report.notes) lines.push(`${bold("note")} ${note}`)
  return lines.join("\n\n")
}

export const relabelCommand = Command.make("relabel", {
  source: pathArgument("from", "directory").pipe(Argument.withDescription("Megatron checkpoint, or one iter_* folder")),
  target: pathArgument("to", "directory").pipe(Argument.withDescription("Where the relabelled checkpoint is written")),
  to: Flag.Literals("to", relabelTargets as [RelabelTo, ...Array<RelabelTo>]).pipe(
    Flag.withMetavar("NAMING"),
    Flag.withDescription(
      "The naming wanted; repeatable, applied in order. torch-dist: folders of ranks (mp_rank_*) as one checkpoint of that format. standard, mimo: keys without or with component prefixes. plain, ddp: without or with `module.`, as a trained MIMO checkpoint has it. " +
        "stacked, indexed: one key for all layers, or one for each. grouped, sequential: the same for experts and for the halves of gate and up. hybrid, gpt: HybridModel or GPTModel. " +
        "mtp-…: the name of the inner MTP layer. te-spec, local-spec: norms as Transformer Engine's layers or Megatron-Core's own name them. bridge, megatron-lm: the files and arguments by which that trainer knows its checkpoints. extra-states: add the module states that are missing."
    ),
    Flag.between(1, 10)
  ),
  hfModel: flags.hfModel.pipe(Flag.withDescription("Directory with the model's config.json, if run_config.yaml does not tell which model it is"), Flag.optional),
  component: flags.component.pipe(Flag.withDescription("Layout that the run configuration of a MIMO checkpoint gets; repeatable. Default: every component tp=1 on consecutive ranks")),
  link: Flag.Boolean("link").pipe(
    Flag.withDescription("Hard links to unchanged data files instead of copies: no time, no space, but what changes one in place changes both"),
    Flag.withDefault(false)
  ),
  overwrite: flags.overwrite,
  resume: flags.resume,
  dryRun: flags.dryRun,
  ...flags.engine,
  ...flags.shared,
  family: flags.family,
  ...flags.told
}, Effect.fn("relabel")(function*(input) {
  return yield* asJob("relabel", input, { reads: input.source, target: input.target, alone: input.dryRun || input.link }, Effect.fnUntraced(function*(input) {
    const engine = yield* attempt(() => flags.engineOptions(input))
    const families = yield* flags.namedFamilies(input)
    const prepared = yield* prepareRelabel(input.source, {
      ...families,
      to: input.to,
      components: input.component,
      ...(Option.isSome(input.hfModel) ? { hfModel: yield* modelPath(input.hfModel.value) } : {})
    })
    const forecast = yield* prepared.forecast(input.target, input.link)
    if (input.dryRun) {
      const report = { ...prepared.report, writtenBytes: forecast.bytes, notes: [...prepared.report.notes, ...forecast.notes], target: input.target }
      return yield* emit("relabel", input, report, (r) => renderRelabel(r, r.target, false))
    }
    if (!input.quiet && !input.json) for (const note of forecast.notes) yield* Effect.sync(() => { tell(`${note}\n`) })
    const done = yield* withProgress("relabelling", input, (progress) => {
      progress.total(forecast.bytes)
      return prepared.run(input.target, { ...engine, ...flags.runStart(input), link: input.link, progress: progress.add })
    }, ["doctor", input.target, ...flags.familyWords(input)])
    yield* emit("relabel", input, { ...done, target: input.target }, (r) => renderRelabel(r, r.target, true))
  }))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo relabel ./run/iter_0001000 ./mended --to plain --link", description: "A trained MIMO checkpoint, as the reference's converter wants it" },
    { command: "convert_megatron_mimo relabel ./standard ./mimo --to mimo --component language=tp=4 --component images=tp=1", description: "Standard to MIMO" },
    { command: "convert_megatron_mimo relabel ./old ./new --to torch-dist", description: "Folders of ranks (mp_rank_*) as torch_dist, which loads into any layout" },
    { command: "convert_megatron_mimo relabel ./gpt ./hybrid --to hybrid", description: "GPTModel to HybridModel" }
  ])
)
