import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { modelPath } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { deltaEncodings, type DeltaEncoding, prepareVersion, type PublishRequest, type VersionReport, watchVersions } from "../../api/rollout.ts"
import { exportModel, exportModelOf } from "../flags/exported.ts"
import * as flags from "../flags/index.ts"
import { onKept, onWait } from "../interruption.ts"
import { refuseIdle } from "../idle.ts"
import { emit } from "../output.ts"
import { pathArgument, pathFlag } from "../paths.ts"
import { withProgress } from "../progress.ts"
import { bold, bytes } from "../text.ts"
import { mtpFrom } from "./export.ts"

const percent = (part: number, whole: number): string => (whole === 0 ? "" : ` (${((part / whole) * 100).toFixed(2)} % of the model)`)

const renderVersion = ({ base, bytes: own, changedTensors, directory, encoding, kind, linkedBytes, modelBytes, notes, removed, tensors, version }: VersionReport, done: boolean): string => {
  const what = kind === "full" ? "the whole model" : `what has changed since version ${base}, as ${encoding}`
  const lines = [`${bold(`version ${version}`)} ${done ? "is" : "would be"} ${what}: ${directory}`]
  if (own === undefined) lines.push(`  ${tensors} tensors, ${bytes(modelBytes)}`)
  else if (kind === "delta") lines.push(`  ${changedTensors} of ${tensors} tensors have changed, ${bytes(own)}${percent(own, modelBytes)}`)
  else lines.push(`  ${tensors} tensors, ${bytes(own)}${linkedBytes === undefined || linkedBytes === 0 ? "" : `, of which ${bytes(linkedBytes)} are links`}`)
  if (removed.length > 0) lines.push(`  removed: ${removed.join(", ")}`)
  for (const note of notes) lines.push(`${bold("note")} ${note}`)
  return lines.join("\n")
}

const positive = (flag: Option.Option<number>, key: string) => (Option.isSome(flag) ? { [key]: flag.value } : {})

export const publishCommand = Command.make("publish", {
  source: pathArgument("source", "directory").pipe(Argument.withDescription("Megatron checkpoint (the parent directory, or one iter_* folder) or Hugging Face directory")),
  root: pathArgument("root", "directory").pipe(Argument.withDescription("Folder of versions, weight_v000001 and so on; it is made if it is missing")),
  ...exportModel,
  full: Flag.Boolean("full").pipe(Flag.withDescription("The whole model, whatever came before"), Flag.withDefault(false)),
  fullEvery: Flag.Int("full-every").pipe(Flag.withMetavar("K"), Flag.withDescription("Every K versions the whole model, the others as deltas. Default 10; 1: never a delta"), Flag.optional),
  encoding: Flag.Literals("encoding", deltaEncodings as unknown as [DeltaEncoding, ...Array<DeltaEncoding>]).pipe(Flag.withDescription("How deltas are written. Default xor; overwrite is larger, and can be applied twice"), Flag.optional),
  base: pathFlag("base", "directory").pipe(Flag.withMetavar("DIR"), Flag.withDescription("What the version before was made from, if it is no longer where it was; for a first version that is a delta: what the engines were started with"), Flag.optional),
  keep: Flag.Int("keep").pipe(Flag.withMetavar("N"), Flag.withDescription("Remove all but the newest N versions and what they are built on. Default: all stay"), Flag.optional),
  freeze: flags.freeze(", which a delta takes as it was, without reading it"),
  watch: Flag.Boolean("watch").pipe(Flag.withDescription("SOURCE is a training folder: publish each iteration when its tracker names it, until interrupted"), Flag.withDefault(false)),
  interval: Flag.Int("interval").pipe(Flag.withMetavar("SECONDS"), Flag.withDescription("With --watch: between two looks. Default 2"), Flag.optional),
  torchDtype: flags.torchDtype,
  mtp: flags.mtp,
  mtpFrom,
  vocabSize: flags.vocabSize,
  allowUnmapped: flags.allowUnmapped,
  resume: flags.resume,
  dryRun: flags.dryRun,
  ...flags.engine,
  family: flags.family,
  ...flags.told
}, Effect.fn("publish")(function*(input) {
  yield* attempt(() => refuseIdle(
    ["--interval", Option.isSome(input.interval) && !input.watch, "there is no --watch"],
    ["--dry-run", input.dryRun && input.watch, "--watch publishes"],
    ["--resume", input.resume && input.watch, "--watch begins anew"],
    ["--freeze", input.freeze.length > 0 && input.full, "--full reads everything"],
    ["--encoding", Option.isSome(input.encoding) && input.full, "--full writes no delta"],
    ["--mtp-from", Option.isSome(input.mtpFrom) && input.mtp === "drop", "--mtp drop leaves those tensors out"]
  ))
  const model = yield* exportModelOf(input)
  const engine = yield* attempt(() => flags.engineOptions(input))
  const vocabulary = yield* attempt(() => flags.vocabularyOptions(input.vocabSize))
  const families = yield* flags.namedFamilies(input)
  const request: PublishRequest = {
    ...families, ...flags.tensorsOf(input), ...vocabulary, ...engine, model, full: input.full, freeze: input.freeze,
    ...positive(input.fullEvery, "fullEvery"), ...positive(input.keep, "keep"),
    ...(Option.isSome(input.encoding) ? { encoding: input.encoding.value } : {}),
    ...(Option.isSome(input.base) ? { base: input.base.value } : {}),
    ...(Option.isSome(input.mtpFrom) ? { mtpFrom: yield* modelPath(input.mtpFrom.value) } : {})
  }
  if (input.watch) {
    const interval = Option.getOrElse(input.interval, () => 2) * 1000
    const tell = (version: VersionReport) => emit("publish", input, version, (v) => renderVersion(v, true))
    yield* watchVersions(input.source, input.root, { ...request, interval, onVersion: tell })
    return
  }
  const prepared = yield* prepareVersion(input.source, input.root, request)
  if (input.dryRun) return yield* emit("publish", input, prepared.report, (v) => renderVersion(v, false))
  const done = yield* withProgress("publishing", input, (progress) => {
    progress.total(prepared.report.modelBytes)
    return prepared.run({ ...engine, onKept, onWait, resume: input.resume, progress: progress.add })
  })
  yield* emit("publish", input, done, (v) => renderVersion(v, true))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo publish ./run/iter_0001000 ./versions --hf-model ./hf", description: "The next version, from a checkpoint as it was trained" },
    { command: "convert_megatron_mimo publish ./run ./versions --hf-model ./hf --watch --full-every 20 --keep 10", description: "Every iteration, as soon as its tracker names it" }
  ])
)
