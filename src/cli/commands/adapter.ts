import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { prepareAdapterExport, prepareAdapterImport, prepareMerge, prepareMergedImport } from "../../api/adapters.ts"
import { attempt } from "../../api/ground.ts"
import { UsageError } from "../../errors.ts"
import { renderAdapter, renderMerge } from "../adapterText.ts"
import * as flags from "../flags/index.ts"
import { asJob } from "../job.ts"
import { refuseIdle } from "../idle.ts"
import { emit } from "../output.ts"
import { pathArgument, pathFlag } from "../paths.ts"
import { withProgress } from "../progress.ts"

/** The reference's scripts call the same by other names; both are understood. */
const hfModel = flags.hfModel.pipe(Flag.withAlias("hf-model-path"), Flag.withDescription("Base model: Hugging Face directory (its config.json is enough for names and shapes), or Org/Name of a model in the Hub's cache"))
const adapterCheckpoint = flags.megatronPath.pipe(Flag.withAlias("lora-checkpoint"), Flag.withDescription("Megatron checkpoint with adapters: the parent directory, or one iter_* folder"))
const peftPath = flags.hfPath.pipe(Flag.withAlias("output"), Flag.withDescription("Where adapter_config.json and adapter_model.safetensors are written"))

const alpha = Flag.Finite("alpha").pipe(
  Flag.withMetavar("N"),
  Flag.withDescription("Alpha of the adapters, where no run_config.yaml in the checkpoint or beside it says it"),
  Flag.optional
)

const exclude = Flag.String("exclude-adapter-base-prefix").pipe(
  Flag.withMetavar("PREFIX"),
  Flag.withDescription("Leave adapters behind whose weight's Megatron name begins so, e.g. mtp.layers. Repeatable"),
  Flag.between(0, 1000)
)

const peftVersion = Flag.Literals("peft-version", ["0.20", "0.18"]).pipe(
  Flag.withDescription("How peft reads the adapter of a packed parameter: as 0.20 and later do (the default), or as 0.18 and 0.19"),
  Flag.withDefault("0.20" as const)
)

const sharedOuter = Flag.Literals("shared-outer", ["repeat", "once"]).pipe(
  Flag.withDescription("A matrix that all experts of a layer share (experts_shared_outer_loras): repeat it for each expert, as peft and vLLM read it, or write it once under a name without an expert's number, as SGLang takes it. Default: as the adapter had it that was imported, else repeat"),
  Flag.optional
)

const expandSharedOuter = Flag.Boolean("expand-shared-outer").pipe(
  Flag.withDescription("The reference's name for --shared-outer repeat"),
  Flag.withDefault(false)
)

const axisOf = ({ peftVersion }: { readonly peftVersion: "0.18" | "0.20" }) => (peftVersion === "0.18" ? "first" : "last")

const exportSub = Command.make("export", {
  hfModel,
  hfRevision: flags.hfRevision,
  megatronPath: adapterCheckpoint,
  hfPath: peftPath,
  alpha,
  exclude,
  peftVersion,
  sharedOuter,
  expandSharedOuter,
  torchDtype: flags.torchDtype,
  allowUnmapped: flags.allowUnmapped,
  ...flags.published,
  trustRemoteCode: flags.trustRemoteCode,
  ...flags.engine,
  family: flags.family,
  ...flags.told
}, Effect.fn("adapter export")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const engine = yield* attempt(() => flags.engineOptions(input))
  const families = yield* flags.namedFamilies(input)
  const shared = input.expandSharedOuter ? Option.some("repeat" as const) : input.sharedOuter
  if (input.expandSharedOuter && Option.contains(input.sharedOuter, "once")) return yield* new UsageError({ problem: "--shared-outer once and --expand-shared-outer contradict each other" })
  const { report, run } = yield* prepareAdapterExport(hfModel, input.megatronPath, {
    ...families,
    torchDtype: input.torchDtype,
    allowUnmapped: input.allowUnmapped,
    exclude: input.exclude,
    inputAxis: axisOf(input),
    ...(Option.isSome(shared) ? { sharedOuter: shared.value } : {}),
    ...(Option.isSome(input.alpha) ? { alpha: input.alpha.value } : {})
  })
  if (input.dryRun) return yield* emit("adapter", input, { ...report, target: input.hfPath }, (r) => renderAdapter(r, r.target, false))
  const done = yield* withProgress("exporting", input, (progress) => {
    progress.total(report.files.reduce((sum, f) => sum + f.bytes, 0))
    return run(input.hfPath, { ...engine, ...flags.runOptions(input), progress: progress.add })
  })
  yield* emit("adapter", input, { ...done, target: input.hfPath }, (r) => renderAdapter(r, r.target, true))
})).pipe(
  Command.withDescription("Turn the adapters of a Megatron checkpoint (LoRA, canonical LoRA, DoRA) into a directory that peft, vLLM and SGLang load"),
  Command.withExamples([
    { command: "convert_megatron_mimo adapter export --hf-model ./hf --megatron-path ./lora --hf-path ./exported-adapter", description: "Rank, alpha and class come from the run's run_config.yaml" }
  ])
)

const adapterPath = pathFlag("adapter", "directory").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Directory of peft: adapter_config.json and adapter_model.safetensors")
)

const adapterForm = Flag.Literals("adapter-form", ["auto", "lora", "canonical"]).pipe(
  Flag.withDescription("The trainer's class: one adapter for each weight (lora), or one for each of q, k, v, gate and up (canonical). auto (default): lora where those share their A"),
  Flag.withDefault("auto" as const)
)

const pretrained = pathFlag("pretrained-checkpoint", "directory").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Where the trainer finds the base weights; written into run_config.yaml"),
  Flag.optional
)

const importSub = Command.make("import", {
  hfModel,
  hfRevision: flags.hfRevision,
  adapter: adapterPath,
  megatronPath: flags.megatronPath.pipe(Flag.withDescription("Where the Megatron checkpoint with the adapters is written")),
  component: flags.component,
  ...flags.standard,
  adapterForm,
  peftVersion,
  pretrained,
  torchDtype: flags.torchDtype,
  ...flags.published,
  trustRemoteCode: flags.trustRemoteCode,
  ...flags.engine,
  family: flags.family,
  ...flags.told
}, Effect.fn("adapter import")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const engine = yield* attempt(() => flags.engineOptions(input))
  const families = yield* flags.namedFamilies(input)
  const arrangement = yield* attempt(() => flags.arrangementOf(input))
  const { report, run } = yield* prepareAdapterImport(hfModel, input.adapter, {
    ...families,
    ...arrangement,
    torchDtype: input.torchDtype,
    adapterForm: input.adapterForm,
    inputAxis: axisOf(input),
    ...(Option.isSome(input.pretrained) ? { pretrained: input.pretrained.value } : {})
  })
  if (input.dryRun) return yield* emit("adapter", input, { ...report, target: input.megatronPath }, (r) => renderAdapter(r, r.target, false))
  const done = yield* withProgress("importing", input, (progress) => {
    progress.total(report.files.reduce((sum, f) => sum + f.bytes, 0))
    return run(input.megatronPath, { ...engine, ...flags.runOptions(input), progress: progress.add })
  })
  yield* emit("adapter", input, { ...done, target: input.megatronPath }, (r) => renderAdapter(r, r.target, true))
})).pipe(
  Command.withDescription("Turn a directory of peft into adapters of a Megatron checkpoint, so that training goes on from them"),
  Command.withExamples([
    { command: "convert_megatron_mimo adapter import --hf-model ./hf --adapter ./adapter --megatron-path ./resume --tp 2", description: "Rank, alpha, targets and dropout go into run_config.yaml" }
  ])
)

const merged = pathFlag("adapter", "directory").pipe(
  Flag.withAlias("lora-checkpoint"),
  Flag.withMetavar("DIR"),
  Flag.withDescription("Adapter to merge: a directory of peft, or a Megatron checkpoint with adapters. Repeatable; merged in this order"),
  Flag.between(1, 64)
)

const weights = Flag.Finite("weight").pipe(
  Flag.withMetavar("W"),
  Flag.withDescription("What the change of an adapter is multiplied by; as many as there are adapters. Default 1"),
  Flag.between(0, 64)
)

const mergeOrder = Flag.Literals("merge-order", ["bridge", "peft"]).pipe(
  Flag.withDescription("Whose bits: W + s·BA in F32, rounded once (bridge, the default), or s·BA rounded first, as peft merges on a CPU"),
  Flag.withDefault("bridge" as const)
)

const precise = Flag.Boolean("precise").pipe(
  Flag.withDescription("Add the changes of all adapters in F32 and round their sum once"),
  Flag.withDefault(false)
)

const link = Flag.Boolean("link").pipe(Flag.withDescription("Hard links instead of copies of files in which nothing changes"), Flag.withDefault(false))

const requantize = Flag.Boolean("requantize").pipe(
  Flag.withDescription("Round the values of quantised tensors (FP8) to codes again, with scales of their own; without it a quantised base is refused"),
  Flag.withDefault(false)
)

const mergeSub = Command.make("merge", {
  hfModel: hfModel.pipe(Flag.withDescription("Base model: Hugging Face directory with its weights, or Org/Name of a model in the Hub's cache")),
  hfRevision: flags.hfRevision,
  adapter: merged,
  pretrained: pathFlag("pretrained", "directory").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription("Megatron checkpoint with the base's weights. Default: those of --hf-model"),
    Flag.optional
  ),
  weight: weights,
  hfPath: flags.hfPath.pipe(Flag.withAlias("output"), Flag.withDescription("Where the merged model is written"), Flag.optional),
  megatronPath: flags.megatronPath.pipe(Flag.withDescription("Where the merged model is written as a Megatron checkpoint, instead of --hf-path: what import would make of it, or, with --pretrained, that checkpoint with the adapters in it"), Flag.optional),
  component: flags.component,
  ...flags.standard,
  mergeOrder,
  precise,
  requantize,
  alpha,
  peftVersion,
  link,
  ...flags.published,
  trustRemoteCode: flags.trustRemoteCode,
  ...flags.engine,
  ...flags.shared,
  family: flags.family,
  ...flags.told
}, Effect.fn("adapter merge")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const engine = yield* attempt(() => flags.engineOptions(input))
  if (input.weight.length > 0 && input.weight.length !== input.adapter.length) {
    return yield* new UsageError({ problem: `${input.weight.length} times --weight for ${input.adapter.length} adapters`, hint: "One for each --adapter, in their order." })
  }
  if (input.precise && input.mergeOrder === "peft") return yield* new UsageError({ problem: "--precise rounds once, --merge-order peft after each step" })
  const [target, ...others] = [...Option.toArray(input.hfPath), ...Option.toArray(input.megatronPath)]
  if (target === undefined || others.length > 0) return yield* new UsageError({ problem: "a merge is written to --hf-path or to --megatron-path, one of them" })
  const toMegatron = Option.isSome(input.megatronPath)
  const arrangement = yield* attempt(() => flags.arrangementOf(input))
  yield* attempt(() => refuseIdle(
    ["--link", toMegatron !== Option.isSome(input.pretrained) && input.link, "no file of the base is a file of the result"],
    ["--requantize", input.requantize && (toMegatron || Option.isSome(input.pretrained)), "a Megatron checkpoint has values, not codes"],
    ["--component or a layout", !toMegatron && Object.keys(arrangement).length > 0, "a Hugging Face directory has no layout"]
  ))
  return yield* asJob("adapter merge", input, { reads: hfModel, target, alone: input.dryRun || input.requantize }, Effect.fnUntraced(function*(input) {
    const families = yield* flags.namedFamilies(input)
    const choices = {
      ...families,
      adapters: input.adapter.map((path, i) => ({ path, weight: input.weight[i] ?? 1, ...(Option.isSome(input.alpha) ? { alpha: input.alpha.value } : {}) })),
      ...(Option.isSome(input.pretrained) ? { pretrained: input.pretrained.value } : {}),
      requantize: input.requantize,
      order: input.precise ? "precise" as const : input.mergeOrder,
      inputAxis: axisOf(input)
    } as const
    const { report, run } = yield* toMegatron
      ? prepareMergedImport(hfModel, { ...choices, ...arrangement })
      : prepareMerge(hfModel, choices)
    if (input.dryRun) return yield* emit("adapter", input, { ...report, target }, (r) => renderMerge(r, r.target, false))
    const done = yield* withProgress("merging", input, (progress) => {
      progress.total(report.files.reduce((sum, f) => sum + f.bytes, 0))
      return run(target, { ...engine, ...flags.runOptions(input), link: input.link, progress: progress.add })
    })
    yield* emit("adapter", input, { ...done, target }, (r) => renderMerge(r, r.target, true))
  }))
})).pipe(
  Command.withDescription("Add adapters to a base model's weights, with the bits of Megatron-Bridge or of peft; what no adapter changes is copied"),
  Command.withExamples([
    { command: "convert_megatron_mimo adapter merge --hf-model ./hf --adapter ./adapter --hf-path ./merged", description: "Bit-equal to the reference's merged export" },
    { command: "convert_megatron_mimo adapter merge --hf-model ./hf --adapter ./adapter --megatron-path ./merged-megatron --tp 2", description: "As a Megatron checkpoint, without the directory between" },
    { command: "convert_megatron_mimo adapter merge --hf-model ./hf --pretrained ./megatron --adapter ./adapter --megatron-path ./merged-checkpoint", description: "Into the weights of a Megatron checkpoint, under its own layout" },
    { command: "convert_megatron_mimo adapter merge --hf-model ./hf --adapter ./a --weight 0.7 --adapter ./b --weight 0.3 --precise --hf-path ./merged-two", description: "Two adapters, rounded once" }
  ])
)

const unmergeSub = Command.make("unmerge", {
  path: pathArgument("path", "either").pipe(Argument.between(0, 100), Argument.withDescription("Ignored")),
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("adapter unmerge")(function*() {
  return yield* new UsageError({
    code: "usage/unmerge",
    problem: "a merge cannot be undone from its result: each weight was rounded after the change was added, and subtracting the change gives another weight than the base's",
    hint: "Keep the base: it is what an adapter is served beside, and what other adapters are merged into."
  })
})).pipe(Command.withDescription("Refused: a merged weight is rounded, and its base cannot be had from it by subtraction"))

export const adapterCommand = Command.make("adapter").pipe(
  Command.withSubcommands([exportSub, importSub, mergeSub, unmergeSub])
)
