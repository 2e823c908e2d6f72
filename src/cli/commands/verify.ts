import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { join } from "node:path"
import { attempt } from "../../api/ground.ts"
import { checkpointPath } from "../../api/conversions.ts"
import { reportTargets, writeReports } from "../../api/reportFiles.ts"
import { verify, verifyDeep } from "../../api/verification.ts"
import { ExitCode, UsageError } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { idleEngine, refuseIdle } from "../idle.ts"
import { isMuted, asJob } from "../job.ts"
import { emit, type OutputFlags } from "../output.ts"
import { withProgress } from "../progress.ts"
import { reportPaths } from "../flags/report.ts"
import { renderDeep, renderVerify } from "../render.ts"
import { pathArgument, pathFlag } from "../paths.ts"
import { cleaned } from "../../quote.ts"
import { type EngineSumsReport, verifyEngines } from "../../api/rollout.ts"
import { engineSecret, secretOf } from "../flags/access.ts"
import type { Values } from "../flags/Values.ts"
import { bad, bold, dim, good, plural } from "../text.ts"

const renderSums = ({ baseline, different, engines, equal, sameVersion }: EngineSumsReport): string => {
  const lines = engines.map(({ engine, kind, tensors, version }) => `  ${engine} (${kind}): ${plural(tensors, "tensor")}${version === undefined ? "" : `, says version ${version}`}`)
  for (const { engines: whose, name } of different.slice(0, MOST_DIFFERENCES)) lines.push(`  ${name} is another on ${whose.join(", ")}`)
  if (different.length > MOST_DIFFERENCES) lines.push(dim(`  … ${different.length} in all (--json lists every one)`))
  if (baseline?.written) lines.push(`${bold("note")} ${baseline.path} has the checksums now: the next run is held against them`)
  lines.push(equal ? good(baseline && !baseline.written ? "all engines hold what the baseline says" : "all engines hold the same weights") : bad(sameVersion ? `${plural(different.length, "tensor")} differ` : "the engines say other versions"))
  return lines.join("\n")
}

const MOST_DIFFERENCES = 20

const verifyEngineSums = Effect.fnUntraced(function*(input: Values<typeof engineSecret> & OutputFlags & {
  readonly [K in "baseline" | "hfModel" | "megatronPath"]: Option.Option<string>
} & { readonly engine: ReadonlyArray<string>; readonly paths: ReadonlyArray<string>; readonly deep: boolean }) {
  yield* attempt(() => refuseIdle(
    ["PATH", input.paths.length > 0, "an engine's own tensors are held against other engines"],
    ["--hf-model", Option.isSome(input.hfModel), "an engine's own tensors are held against other engines"],
    ["--megatron-path", Option.isSome(input.megatronPath), "an engine's own tensors are held against other engines"],
    ["--deep", input.deep, "it reads files"]
  ))
  const report = yield* verifyEngines({ engines: input.engine, ...secretOf(input), ...(Option.isSome(input.baseline) ? { baseline: input.baseline.value } : {}) })
  yield* emit("verify", input, report, (r) => renderSums(cleaned(r)), report.equal ? ExitCode.ok : ExitCode.different)
})

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
  engine: Flag.String("engine").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("Instead of checkpoints: a running engine, repeated for each replica. Do their own checksums say that all hold the same weights?"),
    Flag.between(0, 1024)
  ),
  ...engineSecret,
  baseline: pathFlag("baseline", "either").pipe(Flag.withMetavar("FILE"), Flag.withDescription("With --engine: checksums of an earlier time, which are held against; written if FILE is not there"), Flag.optional),
  ...flags.assembly,
  megatronPath: flags.megatronPath.pipe(Flag.optional),
  report: flags.report,
  card: flags.card,
  ...flags.engine,
  ...flags.shared,
  family: flags.family,
  ...flags.told
}, Effect.fn("verify")(function*(input) {
  if (input.engine.length > 0) return yield* verifyEngineSums(input)
  yield* attempt(() => refuseIdle(...(["--baseline", "--auth-file", "--auth-env"] as const).map((flag, i) => [flag, Option.isSome([input.baseline, input.authFile, input.authEnv][i]!), "there is no --engine"] as const)))
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
    { command: "convert_megatron_mimo verify --engine http://gpu1:8000 --engine http://gpu2:8000", description: "Do all replicas hold the same weights?" },
    { command: "convert_megatron_mimo verify --deep ./megatron", description: "Has the disk kept what was written?" }
  ])
)
