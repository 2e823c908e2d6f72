import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { join } from "node:path"
import { families } from "../../../routes/index.ts"
import { verifyDeep } from "../../convert/deep/deep.ts"
import { verifyHf, verifyHfMegatron, verifyMegatron } from "../../convert/verify.ts"
import { ExitCode, UsageError } from "../../errors.ts"
import { attempt } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import { existing } from "../../io/existing.ts"
import * as flags from "../flags.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { reportTargets, writeReports } from "../reportFiles.ts"
import { recoverToRead } from "../../publish/staging/swap.ts"
import { renderDeep, renderVerify } from "../render.ts"
import { pathArgument } from "../paths.ts"

/** A path with a config.json or safetensors is a Hugging Face model, anything else is taken for a Megatron checkpoint. */
const isHf = Effect.fnUntraced(function*(path: string) {
  const disk = yield* Disk
  if (path.endsWith(".safetensors") || path.endsWith(".safetensors.index.json")) return true
  const names = yield* attempt(async (): Promise<ReadonlyArray<string>> => {
    await recoverToRead(disk, path)
    return (await existing(disk, path)).kind === "directory" ? disk.list(path) : []
  })
  return names.includes("config.json") || names.some((n) => n.endsWith(".safetensors"))
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
  hfModel: flags.hfModel.pipe(Flag.optional),
  megatronPath: flags.megatronPath.pipe(Flag.optional),
  report: flags.report,
  card: flags.card,
  ...flags.engine,
  json: flags.json,
  quiet: flags.quiet,
  ...flags.progress
}, Effect.fn("verify")(function*(input) {
  const engine = yield* attempt(() => flags.engineOptions(input))
  const named = [...Option.toArray(input.hfModel), ...Option.toArray(input.megatronPath)]
  const paths = [...input.paths, ...named]
  const targets = yield* reportTargets(input)
  const started = performance.now()
  if (input.deep) {
    const [path, ...others] = paths
    if (targets.pages.length + targets.cards.length > 0) return yield* new UsageError({ problem: "verify --deep writes no report", hint: "--json gives its result to machines." })
    if (path === undefined || others.length > 0) return yield* new UsageError({ problem: "verify --deep takes one checkpoint", hint: "verify --deep DIR" })
    const report = yield* withProgress("reading", input, (progress) =>
      verifyDeep(path, { ...(engine.concurrency === undefined ? {} : { concurrency: engine.concurrency }), progress: progress.add, onSize: progress.total }))
    yield* emit(input, report, renderDeep)
    if (report.damages.length > 0) process.exitCode = ExitCode.different
    return
  }
  if (paths.length !== 2) {
    return yield* new UsageError({ problem: "verify takes two checkpoints", hint: "verify --hf-model DIR --megatron-path DIR, or verify A B" })
  }
  const [left, right] = paths as [string, string]
  const kinds = [yield* isHf(left), yield* isHf(right)]
  const report = yield* withProgress("verifying", input, (progress) => {
    const options = { ...engine, progress: progress.add, onSize: progress.total }
    if (kinds[0] && kinds[1]) return verifyHf(left, right, options)
    if (!kinds[0] && !kinds[1]) return verifyMegatron(left, right, options)
    return kinds[0] ? verifyHfMegatron(families, left, right, options) : verifyHfMegatron(families, right, left, options)
  })
  yield* writeReports(targets, { command: "verify", paths, seconds: (performance.now() - started) / 1000, verify: report })
  yield* emit(input, report, renderVerify)
  if (report.equal !== report.total) process.exitCode = ExitCode.different
})).pipe(
  Command.withDescription("Prove that two checkpoints hold the same tensors, bit for bit, or (--deep) that one is as it was written; exit code 1 if not"),
  Command.withExamples([
    { command: "convert_megatron_mimo verify --hf-model ./hf --megatron-path ./megatron", description: "Hugging Face against Megatron" },
    { command: `convert_megatron_mimo verify ${join(".", "hf")} ./exported`, description: "Two of a kind" },
    { command: "convert_megatron_mimo verify --deep ./megatron", description: "Has the disk kept what was written?" }
  ])
)
