import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { join } from "node:path"
import { attempt } from "../../api/ground.ts"
import { checkpointPath } from "../../api/conversions.ts"
import { reportTargets, writeReports } from "../../api/reportFiles.ts"
import { verify, verifyDeep } from "../../api/verification.ts"
import { ExitCode, UsageError } from "../../errors.ts"
import * as flags from "../flags.ts"
import { idleEngine, refuseIdle } from "../idle.ts"
import { isMuted, asJob } from "../job.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { reportPaths } from "../reportFlags.ts"
import { renderDeep, renderVerify } from "../render.ts"
import { pathArgument } from "../paths.ts"

export const verifyCommand = Command.make("verify", {
  paths: pathArgument("path", "either").pipe(
    Argument.withDescription("Two checkpoints of any kind, instead of the flags; one with --deep"),
    Argument.variadic({ max: 2 })
  ),
  deep: Flag.Boolean("deep").pipe(
    Flag.withDescription("Read one checkpoint again and compare it with the checksums that were written with it, down to the flipped bit"),
    Flag.withDefault(false)
  ),
  hfModel: flags.hfModels.pipe(
    Flag.withDescription("Hugging Face model directory (config.json, *.safetensors), or Org/Name of a model in the Hub's cache; of a model that is put together: a YAML file, or PART=DIR for each part, with --recipe; beside two paths the base model of the adapters in them"),
    Flag.optional
  ),
  ...flags.assembly,
  megatronPath: flags.megatronPath.pipe(Flag.optional),
  report: flags.report,
  card: flags.card,
  ...flags.engine,
  ...flags.shared,
  family: flags.family,
  json: flags.json,
  quiet: flags.quiet,
  ...flags.progress
}, Effect.fn("verify")(function*(input) {
  const engine = yield* attempt(() => flags.engineOptions(input))
  const hfModel = yield* Effect.forEach(Option.toArray(input.hfModel), (name) => flags.modelOf({ hfModel: name, recipe: input.recipe, family: input.family }))
  const given = yield* Effect.forEach(input.paths, checkpointPath)
  // Beside two paths it is the base of adapters.
  const base = given.length === 2 ? hfModel : []
  const paths = [...given, ...(base.length > 0 ? [] : hfModel), ...Option.toArray(input.megatronPath)]
  const targets = yield* reportTargets(reportPaths(input))
  const started = performance.now()
  if (input.deep) {
    yield* attempt(() => refuseIdle(...idleEngine({ ...input, concurrency: Option.none() }, true, "--deep reads files as they lie, in small pieces"), ["--family", input.family.length > 0, "checksums need no model"]))
    const [path, ...others] = paths
    if (targets.pages.length + targets.cards.length > 0) return yield* new UsageError({ problem: "verify --deep writes no report", hint: "--json gives its result to machines." })
    if (path === undefined || others.length > 0) return yield* new UsageError({ problem: "verify --deep takes one checkpoint", hint: "verify --deep DIR" })
    return yield* asJob("verify --deep", input, { reads: path, target: path, alone: false, engine: false }, Effect.fnUntraced(function*(input) {
      const report = yield* withProgress("reading", input, (progress) =>
        verifyDeep(path, { ...(engine.concurrency === undefined ? {} : { concurrency: engine.concurrency }), progress: progress.add, onSize: progress.total }))
      if (isMuted(input)) return
      yield* emit("verify", input, report, renderDeep, report.damages.length > 0 ? ExitCode.different : ExitCode.ok)
    }))
  }
  if (paths.length !== 2) {
    return yield* new UsageError({ problem: "verify takes two checkpoints", hint: "verify --hf-model DIR --megatron-path DIR, or verify A B" })
  }
  const [left, right] = paths as [string, string]
  const families = yield* flags.namedFamilies(input)
  return yield* asJob("verify", input, { reads: right, target: right, alone: false }, Effect.fnUntraced(function*(input) {
    const report = yield* withProgress("verifying", input, (progress) => verify(left, right, { ...flags.engineOptions(input), ...families, ...(base[0] === undefined ? {} : { hfModel: base[0] }), progress: progress.add, onSize: progress.total }))
    if (isMuted(input)) return
    yield* writeReports(targets, { command: "verify", paths, seconds: (performance.now() - started) / 1000, verify: report, ...families })
    yield* emit("verify", input, report, renderVerify, report.equal === report.total ? ExitCode.ok : ExitCode.different)
  }))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo verify --hf-model ./hf --megatron-path ./megatron", description: "Hugging Face against Megatron" },
    { command: `convert_megatron_mimo verify ${join(".", "hf")} ./exported`, description: "Two of a kind" },
    { command: "convert_megatron_mimo verify ./adapter ./lora --hf-model ./hf", description: "An adapter of peft against adapters of Megatron" },
    { command: "convert_megatron_mimo verify --deep ./megatron", description: "Has the disk kept what was written?" }
  ])
)
