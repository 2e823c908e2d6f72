import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { attempt } from "../../api/ground.ts"
import { type AverageReport, prepareAverage } from "../../api/trainingFolder.ts"
import { UsageError } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { asJob } from "../job.ts"
import { emit } from "../output.ts"
import { pathArgument } from "../paths.ts"
import { withProgress } from "../progress.ts"
import { bold, bytes, plural } from "../text.ts"

const renderAverage = (report: AverageReport, target: string, done: boolean): string => {
  const lines = [
    `${bold(done ? "merged" : "merge")} ${plural(report.iterations.length, "iteration")}\n  from ${report.source}\n  to   ${target} (${report.folder})`,
    report.iterations.map(({ step, weight }) => `  ${step}  × ${weight}`).join("\n"),
    `  ${plural(report.averaged, "tensor")} averaged${report.taken.length > 0 ? `, ${report.taken.length} taken from the newest (no floating-point numbers)` : ""}; ${bytes(report.writtenBytes)}`
  ]
  for (const note of report.notes) lines.push(`${bold("note")} ${note}`)
  return lines.join("\n\n")
}

/** Numbers between commas. */
const numbers = (flag: string, text: string, pattern: RegExp): ReadonlyArray<number> =>
  text.split(",").map((part) => {
    if (!pattern.test(part.trim())) throw new UsageError({ problem: `--${flag}: "${part.trim()}" is no number`, hint: `--${flag} takes numbers between commas.` })
    return Number(part)
  })

export const mergeIterationsCommand = Command.make("merge-iterations", {
  source: pathArgument("from", "directory").pipe(Argument.withDescription("Training folder with the iter_* folders")),
  target: pathArgument("to", "directory").pipe(Argument.withDescription("Where the average is written, as a checkpoint of its own")),
  iterations: Flag.String("iterations").pipe(Flag.withMetavar("N,N,…"), Flag.withDescription("Steps of the iterations to average, at least two")),
  weights: Flag.String("weights").pipe(Flag.withMetavar("W,W,…"), Flag.withDescription("Weight of each, summing to 1. Default: all equal"), Flag.optional),
  ...flags.published,
  ...flags.engine,
  ...flags.shared,
  ...flags.told
}, Effect.fn("merge-iterations")(function*(input) {
  return yield* asJob("merge-iterations", input, { reads: input.source, target: input.target, alone: input.dryRun }, Effect.fnUntraced(function*(input) {
    const { engine, options } = yield* attempt(() => ({
      engine: flags.engineOptions(input),
      options: {
        iterations: numbers("iterations", input.iterations, /^\d{1,15}$/),
        ...(Option.isSome(input.weights) ? { weights: numbers("weights", input.weights.value, /^-?\d*\.?\d+(?:e-?\d+)?$/i) } : {})
      }
    }))
    const { report, run } = yield* prepareAverage(input.source, options)
    if (input.dryRun) return yield* emit("merge-iterations", input, { ...report, target: input.target }, (r) => renderAverage(r, r.target, false))
    const done = yield* withProgress("merging", input, (progress) => {
      progress.total(report.writtenBytes)
      return run(input.target, { ...engine, ...flags.runOptions(input), progress: progress.add })
    }, ["doctor", input.target])
    yield* emit("merge-iterations", input, { ...done, target: input.target }, (r) => renderAverage(r, r.target, true))
  }))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo merge-iterations ./pretraining ./averaged --iterations 1000,1100,1200", description: "The mean of three iterations" },
    { command: "convert_megatron_mimo merge-iterations ./pretraining ./averaged --iterations 1000,1100 --weights 0.25,0.75", description: "The newer one counts more" }
  ])
)
