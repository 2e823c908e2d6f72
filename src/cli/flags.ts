/** Flags that several commands share. Names follow the reference's CLI. */
import { assemblyFile, assembleModel, assemblyRecipes, isAssemblyFile } from "../api/assembly.ts"
import { Effect, Option } from "effect"
import { Flag } from "effect/cli"
import { modelPath } from "../api/conversions.ts"
import { attempt } from "../api/ground.ts"
import { ENGINE_BOUNDS, ENGINE_DEFAULTS, type EngineLimits } from "../api/engine.ts"
import { withFamilyFiles } from "../api/familyFiles.ts"
import type { JobRequest } from "../api/job.ts"
import { type Arrangement, type LoadRoute, loadRoutes, MAX_RANKS, type MtpMode, mtpModes, type PipelineSplit, TENSOR_DEFAULTS, type TensorChoices, type TorchDtype, torchDtypes } from "../api/requests.ts"
import { quote, quotePath, UsageError } from "../errors.ts"
import { onKept, onWait } from "./interruption.ts"
import { pathFlag } from "./paths.ts"
import { tell } from "./streams.ts"

export const hfModel = pathFlag("hf-model", "directory").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Hugging Face model directory (config.json, *.safetensors), or Org/Name of a model in the Hub's cache")
)

export const hfRevision = Flag.String("hf-revision").pipe(
  Flag.withMetavar("REV"),
  Flag.withDescription("Branch, tag or commit of a model in the Hub's cache. Default main"),
  Flag.optional
)

/** Between the values of a repeated flag: no path has one. */
const BETWEEN = "\0"

/** `--hf-model` of commands that also take a model in parts. */
export const hfModels = hfModel.pipe(
  Flag.withDescription("Hugging Face model directory (config.json, *.safetensors), or Org/Name of a model in the Hub's cache; of a model that is put together: a YAML file, or PART=DIR for each part, with --recipe"),
  Flag.between(1, 16),
  Flag.map((values) => values.join(BETWEEN))
)

/** The flags of a model that is put together from several checkpoints. */
export const assembly = {
  recipe: Flag.String("recipe").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription(`Put the model together from checkpoints of its parts: ${assemblyRecipes.join(", ")}. --hf-model language=DIR --hf-model images=DIR --hf-model projector=DIR|init:SEED`),
    Flag.optional
  )
}

/** Of an export: the parts, or one model. */
export const assembled = {
  ...assembly,
  whole: Flag.Boolean("whole").pipe(
    Flag.withDescription("With --recipe: write one model of transformers instead of the parts, if it has a class for it"),
    Flag.withDefault(false)
  ),
  token: Flag.String("token").pipe(
    Flag.withMetavar("MODALITY=ID"),
    Flag.withDescription("With --whole: the token that stands for a modality, e.g. images=32000. Repeatable"),
    Flag.between(0, 16)
  )
}

interface ModelFlags {
  readonly hfModel: string
  readonly hfRevision?: Option.Option<string>
  readonly recipe?: Option.Option<string>
  readonly whole?: boolean
  readonly token?: ReadonlyArray<string>
  readonly family?: ReadonlyArray<string>
}

const pairs = (flag: string, values: ReadonlyArray<string>): ReadonlyArray<readonly [string, string]> => {
  const found = values.map((value) => [value.slice(0, Math.max(0, value.indexOf("="))), value.slice(value.indexOf("=") + 1)] as const)
  const names = found.map(([name]) => name)
  const wrong = values.find((_, i) => names[i] === "" || found[i]![1] === "" || names.indexOf(names[i]!) !== i)
  if (wrong !== undefined) throw new UsageError({ code: "usage/assembly", problem: `--${flag} ${quote(wrong)}: NAME=VALUE is needed, once for each name` })
  return found
}

/** What `--hf-model` names: a directory, or a model that is put together. */
export const modelOf = Effect.fnUntraced(function*({ family = [], hfModel, hfRevision = Option.none(), recipe = Option.none(), token = [], whole = false }: ModelFlags) {
  const values = hfModel.split(BETWEEN)
  const [first, ...more] = values
  const file = isAssemblyFile(first!) && more.length === 0
  if (Option.isNone(recipe) && !file) {
    if (more.length > 0) return yield* new UsageError({ code: "usage/assembly", problem: "--hf-model is given several times", hint: `Of a model in parts, --recipe says which: ${assemblyRecipes.join(", ")}.` })
    if (whole || token.length > 0) return yield* new UsageError({ problem: `${whole ? "--whole" : "--token"} would do nothing: it goes with --recipe` })
    return yield* modelPath(first!, Option.getOrUndefined(hfRevision))
  }
  if (Option.isSome(hfRevision)) return yield* new UsageError({ problem: "--hf-revision would do nothing: a part is named with its revision, Org/Name@REVISION" })
  const asked = file ? yield* assemblyFile(first!) : yield* attempt(() => ({ recipe: Option.getOrThrow(recipe), parts: Object.fromEntries(pairs("hf-model", values)) }))
  const tokens = yield* attempt(() => Object.fromEntries(pairs("token", token).map(([name, id]) => {
    if (!/^\d{1,8}$/.test(id)) throw new UsageError({ code: "usage/assembly", problem: `--token ${quote(`${name}=${id}`)}: an id is a whole number` })
    return [name, Number(id)]
  })))
  const families = family.length > 0 ? { families: yield* withFamilyFiles(family) } : {}
  return yield* assembleModel({ ...asked, ...families, whole, tokens: { ..."tokens" in asked ? asked.tokens : {}, ...tokens } })
})

export const megatronPath = pathFlag("megatron-path", "directory").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Megatron checkpoint: the parent directory, or one iter_* folder to read from")
)

export const hfPath = pathFlag("hf-path", "directory").pipe(
  Flag.withMetavar("DIR"),
  Flag.withDescription("Where the Hugging Face checkpoint is written")
)

export const component = Flag.String("component").pipe(
  Flag.withAlias("c"),
  Flag.withMetavar("NAME=tp=N[,…]"),
  Flag.withDescription("Layout of one component, repeated: language=tp=4,pp=2,dp=1,cp=1,ep=1,etp=1,rank_offset=0; an uneven pipeline: first_stage_layers=N, last_stage_layers=N, embedding_as_stage=true, loss_as_stage=true, layout=\"Et|tt|tL\"; virtual stages: vpp=N; an import also takes auto. Default: every component tp=1 on consecutive ranks"),
  Flag.between(0, 64)
)

const size = (name: string, what: string) => Flag.Int(name).pipe(Flag.withMetavar("N"), Flag.withDescription(`${what} size of a standard checkpoint. Default 1`), Flag.optional)

const stageLayers = (which: "first" | "last") =>
  Flag.Int(`decoder-${which}-pipeline-num-layers`).pipe(
    Flag.withMetavar("N"),
    Flag.withDescription(`Layers of the ${which} pipeline stage of a standard checkpoint, where it has another number than the others`),
    Flag.optional
  )

const asStage = (what: "embedding" | "loss") =>
  Flag.Boolean(`account-for-${what}-in-pipeline-split`).pipe(
    Flag.withDescription(`Count the ${what} as one layer where the layers of a standard checkpoint are dealt out to pipeline stages`),
    Flag.withDefault(false)
  )

/** `--standard` and its single layout; an uneven pipeline is spelled as Megatron-LM does. */
export const standard = {
  standard: Flag.Boolean("standard").pipe(
    Flag.withDescription("One model, one layout, instead of MegatronMIMO; so it is with --tp, --pp, --ep, --etp, and for models of a single component"),
    Flag.withDefault(false)
  ),
  tp: size("tp", "Tensor-parallel"),
  pp: size("pp", "Pipeline-parallel"),
  ep: size("ep", "Expert-parallel"),
  etp: size("etp", "Expert-tensor-parallel"),
  vpp: Flag.Int("vpp").pipe(Flag.withMetavar("N"), Flag.withDescription("Virtual pipeline stages on every rank of a standard checkpoint. Default 1"), Flag.optional),
  firstStage: stageLayers("first"),
  lastStage: stageLayers("last"),
  embeddingStage: asStage("embedding"),
  lossStage: asStage("loss"),
  pipelineLayout: Flag.String("pipeline-model-parallel-layout").pipe(
    Flag.withMetavar("LAYOUT"),
    Flag.withDescription("Every pipeline stage of a standard checkpoint spelled out: E embedding, t layer, m multi-token prediction, L loss, e.g. 'Et*3|(tt|)*29,m|L'"),
    Flag.optional
  )
}

export const loadRoute = Flag.Literals("load-route", loadRoutes).pipe(
  Flag.withDescription("How a MegatronMIMO run gets the imported weights: before its components are wrapped (hook, the default), or afterwards, as checkpoint.pretrained_checkpoint, by names with .module. (ddp)"),
  Flag.withDefault("hook" as const)
)

/** What an import writes. */
export const written = {
  tpRankFiles: Flag.Boolean("tp-rank-files").pipe(
    Flag.withDescription("Instead of a torch_dist checkpoint write tp_rank_NN/model_weights.pt for each module, as the scripts of LLaVA trainers load them"),
    Flag.withDefault(false)
  ),
  megatronVocabSize: Flag.Int("megatron-vocab-size").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Rows of the vocabulary in the Megatron checkpoint, zeros behind the model's own. Default: what tensor parallelism asks for"),
    Flag.optional
  )
}

/** What {@link written} says, and {@link loadRoute}. */
export const importOptions = ({ loadRoute: route, megatronVocabSize, tpRankFiles }: { readonly tpRankFiles: boolean; readonly loadRoute: LoadRoute; readonly megatronVocabSize: Option.Option<number> }) => {
  const rows = within(megatronVocabSize, "megatron-vocab-size", 1, 2 ** 31 - 1)
  return { loadRoute: route, ...(tpRankFiles ? { checkpointFormat: "tp_rank" as const } : {}), ...(rows === undefined ? {} : { paddedVocabulary: rows }) }
}

export const torchDtype = Flag.Literals("torch-dtype", torchDtypes as [TorchDtype, ...Array<TorchDtype>]).pipe(
  Flag.withDescription("Cast floating tensors. Default source: every tensor keeps its own dtype"),
  Flag.withDefault(TENSOR_DEFAULTS.torchDtype as TorchDtype)
)

export const mtp = Flag.Literals("mtp", mtpModes as [MtpMode, ...Array<MtpMode>]).pipe(
  Flag.withDescription("Multi-token-prediction tensors: keep them (default), drop them, or require them to be there"),
  Flag.withDefault(TENSOR_DEFAULTS.mtp as MtpMode)
)

export const allowUnmapped = Flag.String("allow-unmapped").pipe(
  Flag.withMetavar("PATTERN"),
  Flag.withDescription("Leave tensors behind that nothing claims; `*` stands for anything. Repeatable; the report lists them"),
  Flag.between(0, 1000)
)

export const vocabSize = Flag.Int("vocab-size").pipe(
  Flag.withMetavar("N"),
  Flag.withDescription("Export N rows of the vocabulary and write N into config.json. Default: as many as config.json says, unless the checkpoint says that there are more"),
  Flag.optional
)

/** `vocabSize` of an export, if it is given. */
export const vocabularyOptions = (flag: Option.Option<number>): { readonly vocabSize?: number } => {
  const rows = within(flag, "vocab-size", 1, 2 ** 31 - 1)
  return rows === undefined ? {} : { vocabSize: rows }
}

export const family = pathFlag("family", "file").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Module (.js, .ts) with families of yours, for models that are not known here or are known otherwise. Its code is run. Repeatable"),
  Flag.between(0, 16)
)

/** The same for a command that follows. */
export const familyWords = ({ family: files }: { readonly family: ReadonlyArray<string> }): ReadonlyArray<string> => files.flatMap((file) => ["--family", file])

/** The families of a command that has {@link family}: the built-in ones, unless files are named. Their code is run here; it is said before. */
export const namedFamilies = Effect.fnUntraced(function*({ family: files, json: asJson, quiet: silent }: { readonly family: ReadonlyArray<string>; readonly json: boolean; readonly quiet: boolean }) {
  if (files.length === 0) return {}
  if (!asJson && !silent) for (const file of files) yield* Effect.sync(() => { tell(`note: code of yours is run: ${quotePath(file)}\n`) })
  return { families: yield* withFamilyFiles(files) }
})

export const trustRemoteCode = Flag.Boolean("trust-remote-code").pipe(
  Flag.withDescription("Accepted for compatibility: code that comes with a model is never run here, custom *.py files are only copied"),
  Flag.withDefault(false)
)

export const overwrite = Flag.Boolean("overwrite").pipe(
  Flag.withDescription("Replace an existing target, once the new one is complete"),
  Flag.withDefault(false)
)

export const resume = Flag.Boolean("resume").pipe(
  Flag.withDescription("Go on with what an interrupted run of the same command left, checked block by block"),
  Flag.withDefault(false)
)

export const checksum = Flag.Boolean("checksum").pipe(
  Flag.withDescription(
    "Write checksums (.checksums.json) for verify --deep. Default: with an import; an export has the files of the original and no others. --no-checksum: never"
  ),
  Flag.optional
)

export const dryRun = Flag.Boolean("dry-run").pipe(Flag.withDescription("Print the plan and stop"), Flag.withDefault(false))

export const json = Flag.Boolean("json").pipe(Flag.withDescription("Print the report, or the error, as JSON"), Flag.withDefault(false))

export const quiet = Flag.Boolean("quiet").pipe(Flag.withAlias("q"), Flag.withDescription("No progress, no report; errors only"), Flag.withDefault(false))

/** Of commands that take their time. */
export const progress = {
  progress: Flag.Boolean("progress").pipe(Flag.withDescription("Progress on stderr. --no-progress: none, but the report"), Flag.withDefault(true)),
  jsonEvents: Flag.Boolean("json-events").pipe(
    Flag.withDescription("Progress for programs: one JSON object a line on stderr (event, phase, done, total, bytesPerSecond, network)"),
    Flag.withDefault(false)
  )
}

export const report = pathFlag("report", "file").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Also write a self-contained HTML page (or, if FILE ends in .yaml, the card) about it"),
  Flag.optional
)

/** Of commands that have no card. */
export const page = pathFlag("report", "file").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Also write a self-contained HTML page about it"),
  Flag.optional
)

export const card = pathFlag("card", "file").pipe(
  Flag.withMetavar("FILE"),
  Flag.withDescription("Also write a verification card: YAML with model, versions, hashes, counts and timings"),
  Flag.optional
)

/** This process as one of several; launchers say the same by their variables. */
export const job = {
  rank: Flag.Int("rank").pipe(Flag.withMetavar("N"), Flag.withDescription("Which process of a job this is, from 0. Default: what torchrun, Slurm, MPI or Kubernetes says"), Flag.optional),
  worldSize: Flag.Int("world-size").pipe(Flag.withMetavar("N"), Flag.withDescription("How many processes the job has. Default: what the launcher says, else 1"), Flag.optional),
  rendezvous: Flag.String("rendezvous").pipe(
    Flag.withMetavar("WHERE"),
    Flag.withDescription("Where the processes meet: directory[:PATH] (the default, beside the checkpoint), HOST:PORT, either with tls+ before it, or file[:PATH] where none may listen"),
    Flag.optional
  )
}

/** {@link job}, and how many processes there are on this machine. */
export const shared = {
  processes: Flag.Int("processes").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Processes on this machine that share the work. Default: by size and cores; 1 for less than 2 GB"),
    Flag.optional
  ),
  ...job
}

/** Of a plan, which nobody shares. */
export const plannedProcesses = Flag.Int("processes").pipe(
  Flag.withMetavar("N"),
  Flag.withDescription("Say what each of so many processes would write, and how much memory they would take; with as many as the layout has ranks, each stands for one"),
  Flag.optional
)

export interface JobFlags {
  readonly rank: Option.Option<number>
  readonly worldSize: Option.Option<number>
  readonly rendezvous: Option.Option<string>
}

/** What {@link job} says. */
export const jobRequest = (input: JobFlags): JobRequest =>
  ({ rank: Option.getOrUndefined(input.rank), worldSize: Option.getOrUndefined(input.worldSize), rendezvous: Option.getOrUndefined(input.rendezvous) })

/** How the engine runs. */
export const engine = {
  concurrency: Flag.Int("concurrency").pipe(Flag.withMetavar("N"), Flag.withDescription(`Blocks in flight. Default ${ENGINE_DEFAULTS.concurrency}`), Flag.optional),
  maxMemory: Flag.String("max-memory").pipe(Flag.withMetavar("SIZE"), Flag.withDescription(`Memory for buffers, e.g. 256MB. Default ${ENGINE_DEFAULTS.maxMemory >> 20}MiB`), Flag.optional),
  threads: Flag.Int("threads").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Threads that compute beside the one that reads and writes. Default: one per core beyond the second, at most 4"),
    Flag.optional
  ),
  io: Flag.Literals("io", ["auto", "direct", "buffered"]).pipe(
    Flag.withDescription("Past the page cache (direct), through it (buffered), or whichever is found to be faster here (auto, the default)"),
    Flag.withDefault(ENGINE_DEFAULTS.io as IoMode)
  )
}

const UNITS: Readonly<Record<string, number>> = { "": 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 1024, MIB: 1024 ** 2, GIB: 1024 ** 3 }

/** `256MB`, `1GiB`, `1000000`. */
export const parseSize = (text: string, flag: string): number => {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s*([a-z]*)$/i.exec(text.trim())
  const unit = match ? UNITS[match[2]!.toUpperCase()] : undefined
  if (!match || unit === undefined) throw new UsageError({ problem: `--${flag}: ${text} is no size`, hint: "A number with B, KB, MB, GB, KiB, MiB or GiB." })
  const bytes = Math.floor(Number(match[1]) * unit)
  if (!Number.isSafeInteger(bytes)) throw new UsageError({ problem: `--${flag}: ${text} is more than any machine has` })
  return bytes
}

/** How a run begins. */
export const runStart = (flags: { readonly overwrite: boolean; readonly resume: boolean }) => ({
  overwrite: flags.overwrite,
  resume: flags.resume,
  onKept,
  onWait
})

/** How a run begins and what it leaves. */
export const runOptions = (flags: { readonly overwrite: boolean; readonly resume: boolean; readonly checksum: Option.Option<boolean> }) => ({
  ...runStart(flags),
  ...(Option.isSome(flags.checksum) ? { checksum: flags.checksum.value } : {})
})

type IoMode = NonNullable<EngineLimits["io"]>

export interface EngineFlags {
  readonly concurrency: Option.Option<number>
  readonly maxMemory: Option.Option<string>
  readonly threads: Option.Option<number>
  readonly io: IoMode
}


const within = (flag: Option.Option<number>, name: string, least: number, most: number): number | undefined => {
  const n = Option.getOrUndefined(flag)
  if (n !== undefined && !(Number.isInteger(n) && n >= least && n <= most)) throw new UsageError({ problem: `--${name} ${n}: between ${least} and ${most}` })
  return n
}

export const engineOptions = (flags: EngineFlags) => {
  const concurrency = within(flags.concurrency, "concurrency", ...ENGINE_BOUNDS.concurrency)
  const threads = within(flags.threads, "threads", ...ENGINE_BOUNDS.threads)
  const maxMemory = Option.isSome(flags.maxMemory) ? parseSize(flags.maxMemory.value, "max-memory") : undefined
  const [least, most] = ENGINE_BOUNDS.maxMemory
  if (maxMemory !== undefined && maxMemory < least) throw new UsageError({ problem: `--max-memory: at least ${least / 1e6}MB are needed` })
  if (maxMemory !== undefined && maxMemory > most) throw new UsageError({ problem: `--max-memory: more than ${most / 2 ** 30}GiB would do nothing`, hint: "Memory does not grow with the model; more buffers make no disk faster." })
  return {
    io: flags.io,
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(maxMemory === undefined ? {} : { maxMemory }),
    ...(threads === undefined ? {} : { threads })
  }
}

export interface LayoutFlags {
  readonly component: ReadonlyArray<string>
  readonly standard: boolean
  readonly tp: Option.Option<number>
  readonly pp: Option.Option<number>
  readonly ep: Option.Option<number>
  readonly etp: Option.Option<number>
  readonly vpp: Option.Option<number>
  readonly firstStage: Option.Option<number>
  readonly lastStage: Option.Option<number>
  readonly embeddingStage: boolean
  readonly lossStage: boolean
  readonly pipelineLayout: Option.Option<string>
}

const PIPELINE_FLAGS: Readonly<Record<keyof PipelineSplit, string>> = {
  firstStageLayers: "--decoder-first-pipeline-num-layers",
  lastStageLayers: "--decoder-last-pipeline-num-layers",
  embeddingAsStage: "--account-for-embedding-in-pipeline-split",
  lossAsStage: "--account-for-loss-in-pipeline-split",
  layout: "--pipeline-model-parallel-layout",
  virtualStages: "--vpp"
}

/** The uneven pipeline of a standard checkpoint, if there is one. */
const pipelineOf = (flags: LayoutFlags): { readonly pipeline?: PipelineSplit } => {
  const [first, last] = [within(flags.firstStage, "decoder-first-pipeline-num-layers", 1, MAX_RANKS), within(flags.lastStage, "decoder-last-pipeline-num-layers", 1, MAX_RANKS)]
  const virtual = within(flags.vpp, "vpp", 1, MAX_RANKS)
  const pipeline: PipelineSplit = {
    ...(first === undefined ? {} : { firstStageLayers: first }),
    ...(last === undefined ? {} : { lastStageLayers: last }),
    ...(flags.embeddingStage ? { embeddingAsStage: true } : {}),
    ...(flags.lossStage ? { lossAsStage: true } : {}),
    ...(Option.isSome(flags.pipelineLayout) ? { layout: flags.pipelineLayout.value } : {}),
    ...(virtual === undefined ? {} : { virtualStages: virtual })
  }
  const [given] = Object.keys(pipeline) as ReadonlyArray<keyof PipelineSplit>
  if (given === undefined) return {}
  if (given !== "layout" && Option.getOrElse(flags.pp, () => 1) === 1) throw new UsageError({ problem: `${PIPELINE_FLAGS[given]} would do nothing: --pp is 1, so one stage has all layers` })
  return { pipeline }
}

/** An export reads any layout: flags that decide one would do nothing. @throws UsageError */
export const refuseLayoutOfImport = (flags: LayoutFlags): void => {
  const { components: _, ...others } = arrangementOf(flags)
  const [first] = Object.keys(others)
  if (first === undefined) return
  throw new UsageError({
    problem: `${first === "pipeline" ? "flags that describe a pipeline go" : `--${first} goes`} with an import`,
    hint: "An export reads any layout; without --megatron-path an import is planned."
  })
}

/** What the flags say of form and layout, and nothing where they say nothing. */
export const arrangementOf = (flags: LayoutFlags): Arrangement => ({
  ...(flags.standard ? { standard: true } : {}),
  ...(flags.component.length > 0 ? { components: flags.component } : {}),
  ...Object.fromEntries((["tp", "pp", "ep", "etp"] as const).flatMap((k) => (Option.isSome(flags[k]) ? [[k, flags[k].value]] : []))),
  ...pipelineOf(flags)
})

export interface TensorFlags {
  readonly torchDtype: TorchDtype
  readonly mtp: MtpMode
  readonly allowUnmapped: ReadonlyArray<string>
}

export const tensorsOf = ({ allowUnmapped, mtp, torchDtype }: TensorFlags): TensorChoices => ({ torchDtype, mtp, allowUnmapped })
