import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { SETUP_DEFAULTS, setupModes, setupSft, type SetupReport, type SetupRequest } from "../../api/setup.ts"
import { quote } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { pathArgument, pathFlag } from "../paths.ts"
import { bold, bytes, dim, plural, table } from "../text.ts"
import { cluster, run, sampleFlags, trainingOf } from "../flags/training.ts"

const optionalText = (name: string, metavar: string, what: string) => Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(what), Flag.optional)
const optionalCount = (name: string, what: string) => Flag.Int(name).pipe(Flag.withMetavar("N"), Flag.withDescription(what), Flag.optional)
const optionalRate = (name: string, what: string) => Flag.Finite(name).pipe(Flag.withMetavar("RATE"), Flag.withDescription(what), Flag.optional)

const render = (r: SetupReport): string => [
  `${bold(r.directory)} ${dim(`(${r.architecture}, ${r.form}, ${r.mode})`)}: ${r.layout}; ${r.ranksByNode.join(" + ")} ranks by node`,
  ...r.instead.map((b) => `${bold("instead")} ${quote(b.problem)}: ${quote(b.trainer)} (rule ${b.rule}). Written is the standard form`),
  table([["file", "size"], ...r.files.map((f) => [f.name, bytes(f.bytes)])]),
  `${bold("next")}\n${r.commands.map((c) => `  ${c.what.padEnd(8)} ${quote(c.command)}`).join("\n")}`,
  ...(r.samples ? [`${bold("samples")} ${plural(r.samples.samples, "sample")}\n${r.samples.findings.map((f) => `  ${f.severity}: line ${f.lines.join(", ")} ${quote(f.text)}`).join("\n") || "  nothing found"}`] : []),
  `${bold("unproven without GPUs")}\n${r.unproven.map((u) => `  ${u}`).join("\n")}`,
  ...r.notes.map((note) => `${bold("note")} ${note}`)
].join("\n\n")

const FIELDS = ["name", "trainIters", "saveInterval", "lr", "minLr", "warmupIters", "seed", "dataset", "datasetPath", "datasetSubset", "schemaAdapter", "container", "partition", "account", "time", "loraDim", "loraAlpha", "savePath"] as const

const sftCommand = Command.make("sft", {
  directory: pathArgument("dir", "directory").pipe(Argument.withDescription("The folder that is written")),
  hfModel: flags.hfModel,
  hfRevision: flags.hfRevision,
  mode: Flag.Literals("mode", setupModes as unknown as ["sft", "lora"]).pipe(Flag.withDescription("All weights but the frozen ones (sft, the default), or adapters (lora)"), Flag.withDefault("sft" as const)),
  name: optionalText("name", "NAME", "Name of the run. Default: the folder's"),
  megatronPath: flags.megatronPath.pipe(Flag.withDescription("The imported checkpoint, there already or not. Default: checkpoint in the folder"), Flag.optional),
  loadRoute: flags.loadRoute,
  savePath: pathFlag("save-path", "directory").pipe(Flag.withMetavar("DIR"), Flag.withDescription("Where training saves. Default: results in the folder"), Flag.optional),
  component: flags.component,
  ...flags.standard,
  ...sampleFlags,
  ...run,
  ...cluster,
  trainIters: optionalCount("train-iters", `Optimizer steps. Default ${SETUP_DEFAULTS.trainIters}`),
  saveInterval: optionalCount("save-interval", "Steps between saves. Default: ten saves"),
  lr: optionalRate("lr", "Learning rate. Default: the trainer's usual for such models"),
  minLr: optionalRate("min-lr", "Learning rate at the end"),
  warmupIters: optionalCount("warmup-iters", "Steps of warm-up. Default: 3 % of all"),
  seed: optionalCount("seed", `Default ${SETUP_DEFAULTS.seed}`),
  dataset: optionalText("dataset", "PRESET", "A dataset that the trainer knows. Default: cord_v2, or squad for models of text"),
  datasetPath: optionalText("dataset-path", "PATH", "A dataset of the Hub or a folder instead"),
  datasetSubset: optionalText("dataset-subset", "NAME", "Subset of it"),
  schemaAdapter: optionalText("schema-adapter", "NAME", "What makes chats of its rows"),
  video: Flag.Boolean("video").pipe(Flag.withDescription("The dataset has videos"), Flag.withDefault(false)),
  sampleFile: pathFlag("samples", "file").pipe(Flag.withMetavar("FILE"), Flag.withDescription("JSON lines of samples to check: placeholders, longest sample, numbers of images"), Flag.optional),
  set: Flag.String("set").pipe(Flag.withMetavar("PATH=VALUE"), Flag.withDescription("A field of the trainer's configuration. Repeatable"), Flag.between(0, 200)),
  loraDim: optionalCount("lora-dim", `Rank of adapters. Default ${SETUP_DEFAULTS.loraDim}`),
  loraAlpha: optionalCount("lora-alpha", `Default ${SETUP_DEFAULTS.loraAlpha}`),
  container: optionalText("container", "IMAGE", "Container image of Slurm and Kubernetes jobs"),
  mount: Flag.String("mount").pipe(Flag.withMetavar("FROM:TO"), Flag.withDescription("A mount of the container. Repeatable"), Flag.between(0, 64)),
  partition: optionalText("partition", "NAME", "Of Slurm"),
  account: optionalText("account", "NAME", "Of Slurm"),
  time: optionalText("time", "HH:MM:SS", `Of a Slurm job. Default ${SETUP_DEFAULTS.time}`),
  family: flags.family,
  overwrite: flags.overwrite,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("setup")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const families = yield* flags.namedFamilies(input)
  const own = Object.fromEntries(FIELDS.flatMap((field) => { const value: Option.Option<string | number> = input[field]; return Option.isSome(value) ? [[field, value.value]] : [] })) as SetupRequest
  const request: SetupRequest = {
    ...families, ...trainingOf(input), ...own, mode: input.mode, loadRoute: input.loadRoute, video: input.video, set: input.set, mounts: input.mount, overwrite: input.overwrite,
    ...(Option.isSome(input.megatronPath) ? { megatronPath: input.megatronPath.value } : {}),
    ...(Option.isSome(input.sampleFile) ? { samples: input.sampleFile.value } : {})
  }
  const report = yield* setupSft(hfModel, input.directory, request)
  yield* emit("setup", input, report, render)
})).pipe(
  Command.withDescription("Write the folder of a fine-tuning run: layout, plan, script, launchers for torchrun, Slurm, NeMo-Run and Kubernetes, README with the next commands"),
  Command.withExamples([
    { command: "convert_megatron_mimo setup sft ./sft --hf-model ./hf --nodes 3 --images '1*768x768'", description: "The best layout of components on three nodes" },
    { command: "convert_megatron_mimo setup sft ./lora --hf-model ./hf --mode lora --gpus-per-node 2", description: "Adapters, on two GPUs" }
  ])
)

export const setupCommand = Command.make("setup").pipe(
  Command.withSubcommands([sftCommand])
)
