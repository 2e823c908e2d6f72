import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { attempt } from "../../api/ground.ts"
import { prepareReshard, type ReshardReport, rngModes, type RngMode } from "../../api/reshard.ts"
import * as flags from "../flags/index.ts"
import { asJob } from "../job.ts"
import { emit } from "../output.ts"
import { pathArgument } from "../paths.ts"
import { withProgress } from "../progress.ts"
import { refuseIdle } from "../idle.ts"
import { tell } from "../streams.ts"
import { bold, bytes, plural } from "../text.ts"

const sizes = (rows: ReshardReport["layout"]): string =>
  rows.map(({ component, cp, dp, ep, etp, pipeline, pp, ranks, tp }) =>
    `${component} tp=${tp} pp=${pp}${pipeline?.virtualStages === undefined ? "" : ` vpp=${pipeline.virtualStages}`} dp=${dp} cp=${cp} ep=${ep} etp=${etp} on ranks ${ranks}`).join("\n       ")

const renderReshard = (report: ReshardReport, target: string, done: boolean): string => {
  const copied = report.kept.length - report.linked - report.cloned
  const files = [
    report.linked > 0 ? `${plural(report.linked, "data file")} linked` : undefined,
    report.cloned > 0 ? `${plural(report.cloned, "data file")} copied by reference (reflink)` : undefined,
    copied > 0 ? `${plural(copied, "data file")} ${done ? "copied" : "as they are"}` : undefined,
    report.files.length > report.kept.length ? `${plural(report.files.length - report.kept.length, "data file")} written anew` : undefined
  ].filter(Boolean).join(", ")
  const optimizer = report.optimizer && (report.optimizer.from === report.optimizer.to ? `, optimizer state as ${report.optimizer.to}` : `, optimizer state from ${report.optimizer.from} to ${report.optimizer.to}`)
  const lines = [
    `${bold(done ? "resharded" : "reshard")} ${report.folder}\n  from ${report.source}\n  to   ${target}`,
    `  ${report.before.length > 0 ? `was  ${sizes(report.before)}\n  ` : ""}is   ${sizes(report.layout)}`,
    `  ${plural(report.tensors, "tensor")}${optimizer ?? ", no optimizer state"}; random states: ${report.rng}` +
    `${report.dropped > 0 ? `; left behind or replaced: ${report.dropped}` : ""}\n` +
    `  ${files}; ${bytes(report.writtenBytes)} written`
  ]
  for (const note of report.notes) lines.push(`${bold("note")} ${note}`)
  return lines.join("\n\n")
}

const size = (name: string, what: string) => Flag.Int(name).pipe(Flag.withMetavar("N"), Flag.withDescription(what), Flag.optional)

export const reshardCommand = Command.make("reshard", {
  source: pathArgument("from", "directory").pipe(Argument.withDescription("Training checkpoint, or one iter_* folder")),
  target: pathArgument("to", "directory").pipe(Argument.withDescription("Where the resharded checkpoint is written")),
  component: flags.component.pipe(Flag.withDescription("New layout of one component of a MegatronMIMO checkpoint, as for an import; repeated, one for each")),
  ...flags.standard,
  dp: size("dp", "Data-parallel size of a standard checkpoint. Default: as few copies as ep·etp ask for"),
  cp: size("cp", "Context-parallel size of a standard checkpoint. Default 1"),
  drop: Flag.Literals("drop", ["optimizer"]).pipe(Flag.withDescription("Leave the optimizer's state behind, with its groups and schedules"), Flag.optional),
  only: Flag.Literals("only", ["model"]).pipe(Flag.withDescription("Leave everything behind but the weights and what the run says of itself"), Flag.optional),
  rng: Flag.Literals("rng", [...rngModes] as [RngMode, ...Array<RngMode>]).pipe(
    Flag.withDescription(
      "Random states. auto (default): kept where tp and pp stay, else dropped, as a trainer does; keep: or fail; drop: every rank goes on with what it seeds at its start; " +
      "reseed: those that every rank of this layout has at its start are written"
    ),
    Flag.withDefault("auto" as RngMode)
  ),
  seed: size("seed", "With --rng reseed: the seed. Default: the one that the run was started with"),
  link: Flag.Boolean("link").pipe(
    Flag.withDescription("Hard links to data files that stay the same instead of copies: no time, no space, but what changes one in place changes both"),
    Flag.withDefault(false)
  ),
  ...flags.published,
  ...flags.engine,
  ...flags.shared,
  ...flags.told
}, Effect.fn("reshard")(function*(input) {
  return yield* asJob("reshard", input, { reads: input.source, target: input.target, alone: input.dryRun || input.link }, Effect.fnUntraced(function*(input) {
    const { arrangement, engine, seed } = yield* attempt(() => {
      refuseIdle(["--standard", input.standard, "a checkpoint has the form that it has"])
      return { arrangement: flags.arrangementOf(input), engine: flags.engineOptions(input), seed: Option.getOrUndefined(input.seed) }
    })
    const given = (name: "dp" | "cp") => (Option.isSome(input[name]) ? { [name]: input[name].value } : {})
    const prepared = yield* prepareReshard(input.source, {
      ...arrangement,
      ...given("dp"),
      ...given("cp"),
      dropOptimizer: Option.isSome(input.drop),
      onlyModel: Option.isSome(input.only),
      rng: input.rng,
      ...(seed === undefined ? {} : { seed })
    })
    const forecast = yield* prepared.forecast(input.target, input.link)
    if (input.dryRun) {
      const report = { ...prepared.report, writtenBytes: forecast.bytes, notes: [...prepared.report.notes, ...forecast.notes], target: input.target }
      return yield* emit("reshard", input, report, (r) => renderReshard(r, r.target, false))
    }
    if (!input.quiet && !input.json) for (const note of forecast.notes) yield* Effect.sync(() => { tell(`${note}\n`) })
    const done = yield* withProgress("resharding", input, (progress) => {
      progress.total(forecast.bytes)
      return prepared.run(input.target, { ...engine, ...flags.runOptions(input), link: input.link, progress: progress.add })
    }, ["doctor", input.target])
    yield* emit("reshard", input, { ...done, target: input.target }, (r) => renderReshard(r, r.target, true))
  }))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo reshard ./pretraining ./resharded --tp 4 --pp 2", description: "The tracked iteration, for eight ranks" },
    { command: "convert_megatron_mimo reshard ./run/iter_0001000 ./resharded --component language=tp=4 --component images=tp=1", description: "One iteration of a MegatronMIMO run" },
    { command: "convert_megatron_mimo reshard ./pretraining ./weights --only model", description: "The weights alone, as they are cut" }
  ])
)
