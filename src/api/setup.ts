/** The folder of a fine-tuning run: chosen layout, script, launchers, documents. Nothing is started. */
import { Effect } from "effect"
import { basename, dirname, join, resolve } from "node:path"
import { recipeOf } from "../../routes/recipes/index.ts"
import { freezable } from "../cost/freezing.ts"
import { type ConversionError, OutputRefused, quote, UsageError } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { makeFolders, writeSmall } from "../io/small.ts"
import { type LoadRoute, requireRoute } from "../mimo/loadRoute.ts"
import type { Layout } from "../parallel/ModuleParallelism.ts"
import { ranksByNode } from "../parallel/TrainingRules.ts"
import { shown } from "../planner/LayoutReport.ts"
import { commandsOf, unproven } from "../setup/documents.ts"
import { setupFiles, type SetupFile } from "../setup/files.ts"
import { brokenSetupRules, type BrokenSetup } from "../setup/rules.ts"
import { checkSamples, type SampleCheck } from "../setup/samples.ts"
import type { DatasetChoice, Setting, Setup } from "../setup/Setup.ts"
import { present } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { imageRule, type PreparedTraining, prepareTraining, readModel, type TrainedModel, type TrainingRequest } from "./training/request.ts"
import { planned } from "./training/layouts.ts"

export type { BrokenSetup } from "../setup/rules.ts"
export type { SampleCheck } from "../setup/samples.ts"

export const setupModes = ["sft", "lora"] as const

/** The defaults. */
export const SETUP_DEFAULTS = { trainIters: 500, saves: 10, warmupShare: 0.03, seed: 1234, time: "04:00:00", loraDim: 32, loraAlpha: 32 } as const

/** A fine-tuning run. */
export interface SetupRequest extends TrainingRequest {
  /** `sft` trains all weights but the frozen ones (the default), `lora` adapters. */
  readonly mode?: "sft" | "lora"
  /** Name of jobs and folders. Default: the folder's. */
  readonly name?: string
  /** Where the imported checkpoint is or will be. Default: `checkpoint` in the folder. */
  readonly megatronPath?: string
  /**
   * How a MegatronMIMO run loads the imported weights: `hook` before the modules are wrapped (the default, as the trainer's example does),
   * `ddp` as `checkpoint.pretrained_checkpoint`, imported under names with `.module.`.
   */
  readonly loadRoute?: LoadRoute
  /** Where training saves. Default: `results` in the folder. */
  readonly savePath?: string
  /** Optimizer steps. Default 500. */
  readonly trainIters?: number
  /** Steps between saves. Default: ten saves. */
  readonly saveInterval?: number
  /** Default: the trainer's usual for this kind of model. */
  readonly lr?: number
  readonly minLr?: number
  /** Default: 3 % of the steps. */
  readonly warmupIters?: number
  readonly seed?: number
  /** A preset of the trainer. Default: cord_v2 for models with a vision tower, squad for text. */
  readonly dataset?: string
  /** A dataset of the Hub or a folder instead. */
  readonly datasetPath?: string
  readonly datasetSubset?: string
  readonly schemaAdapter?: string
  /** The dataset has videos. */
  readonly video?: boolean
  /** JSON lines of samples to check. */
  readonly samples?: string
  /** Fields of the configuration, `path=value`. */
  readonly set?: ReadonlyArray<string>
  readonly container?: string
  readonly mounts?: ReadonlyArray<string>
  readonly partition?: string
  readonly account?: string
  /** Of a Slurm job, HH:MM:SS. */
  readonly time?: string
  readonly loraDim?: number
  readonly loraAlpha?: number
  /** Replace the folder. Default: false. */
  readonly overwrite?: boolean
}

/** What was written. */
export interface SetupReport {
  readonly directory: string
  readonly architecture: string
  readonly form: "mimo" | "standard"
  readonly mode: "sft" | "lora"
  readonly layout: string
  readonly flags: ReadonlyArray<string>
  readonly ranksByNode: ReadonlyArray<number>
  readonly files: ReadonlyArray<{ readonly name: string; readonly bytes: number }>
  /** The next commands, in order. */
  readonly commands: ReadonlyArray<{ readonly what: string; readonly command: string }>
  /** What was asked for and is done otherwise, with the rule that says why. */
  readonly instead: ReadonlyArray<BrokenSetup>
  readonly samples?: SampleCheck
  readonly unproven: ReadonlyArray<string>
  readonly notes: ReadonlyArray<string>
}

const settingOf = (text: string): Setting => {
  if (text === "true" || text === "True") return true
  if (text === "false" || text === "False") return false
  if (text === "null" || text === "None") return null
  const number = Number(text)
  return text.trim() !== "" && Number.isFinite(number) ? number : text
}

const overridesOf = (all: ReadonlyArray<string>): ReadonlyMap<string, Setting> => {
  const found = new Map<string, Setting>()
  for (const text of all) {
    const match = /^([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)=(.*)$/s.exec(text)
    if (match === null) throw new UsageError({ problem: `--set ${quote(text)} is not path=value`, hint: "e.g. --set optimizer.clip_grad=0.5" })
    found.set(match[1]!, settingOf(match[2]!))
  }
  return found
}

const counted = (value: number | undefined, name: string, otherwise: number, least = 1): number => {
  const n = value ?? otherwise
  if (Number.isInteger(n) && n >= least && n <= 1e9) return n
  throw new UsageError({ problem: `${name} must be a whole number from ${least}, not ${n}` })
}

const rate = (value: number | undefined, name: string, otherwise: number): number => {
  const n = value ?? otherwise
  if (n >= 0 && n < 100) return n
  throw new UsageError({ problem: `${name} must be a number from 0, not ${n}` })
}

/** The trainer spells some presets with dashes, its example with underscores. */
const plain = (preset: string): string => preset.replaceAll("_", "-")

const datasetOf = ({ dataset, datasetPath, datasetSubset, schemaAdapter }: SetupRequest, presets: ReadonlyArray<string>): DatasetChoice => {
  if (datasetPath === undefined) {
    if (datasetSubset !== undefined || schemaAdapter !== undefined) throw new UsageError({ problem: "a subset and an adapter belong to a dataset of your own", hint: "--dataset-path names it; a preset has both." })
    const name = dataset === undefined ? presets[0]! : presets.find((preset) => plain(preset) === plain(dataset))
    if (name === undefined) throw new UsageError({ problem: `the trainer has no preset ${quote(dataset!)} for such models`, hint: `it has ${presets.join(", ")}; --dataset-path names a dataset of your own` })
    return { kind: "preset", name }
  }
  if (dataset !== undefined) throw new UsageError({ problem: "a preset and a path of a dataset exclude each other" })
  return { kind: "path", path: datasetPath, ...(datasetSubset === undefined ? {} : { subset: datasetSubset }), ...(schemaAdapter === undefined ? {} : { adapter: schemaAdapter }) }
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

const runName = (directory: string, name: string | undefined): string => {
  const own = name ?? (basename(resolve(directory)).replaceAll(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "sft")
  if (!NAME.test(own)) throw new UsageError({ problem: `a run cannot be named ${quote(own)}`, hint: "Letters, digits, dots, dashes and underscores, up to 100." })
  return own
}

/** The form of a run, and what was asked for and cannot be had in it. */
const formOf = (model: TrainedModel, request: SetupRequest, wish: Omit<Parameters<typeof brokenSetupRules>[0], "form">): { readonly standard: boolean; readonly instead: ReadonlyArray<BrokenSetup> } => {
  const asked = (request.components?.length ?? 0) > 0
  const single = model.description.components.length === 0 || request.standard === true || [request.tp, request.pp, request.ep, request.etp].some((n) => n !== undefined)
  const broken = brokenSetupRules({ ...wish, form: single ? "standard" : "mimo" })
  // A standard run does what the other form cannot, unless components were asked for by name.
  const mended = asked ? [] : broken.filter(({ rule }) => STANDARD_INSTEAD.has(rule))
  const [refused] = broken.filter((b) => !mended.includes(b))
  if (refused !== undefined) throw refusal(refused)
  const [still] = mended.length === 0 ? [] : brokenSetupRules({ ...wish, form: "standard" })
  if (still !== undefined) throw refusal(still)
  return { standard: single || mended.length > 0, instead: mended }
}

/** LoRA, video, a model whose components no trainer builds. */
const STANDARD_INSTEAD: ReadonlySet<number> = new Set([40, 41, 58, 59])

const refusal = ({ instead, problem, rule, trainer }: BrokenSetup): UsageError =>
  new UsageError({ code: "usage/training", problem: `rule ${rule}: ${problem}`, hint: `the trainer: ${trainer}; instead: ${instead}` })

const LARGEST_SAMPLES = 1 << 30

const samplesAt = (disk: DiskCalls, path: string, model: TrainedModel, layout: Layout, seqLength: number): Promise<SampleCheck> =>
  readSmall(disk, path, path, LARGEST_SAMPLES).then((bytes) => {
    const [encoder] = layout.components.filter(({ name }) => name !== "language" && name !== "model")
    const language = layout.components.find(({ name }) => name === "language")
    return checkSamples(Buffer.from(bytes).toString("utf8").split("\n"), {
      seqLength, rule: imageRule(model), encoderDp: encoder?.parallelism.dp ?? 1, languageDp: language?.parallelism.dp ?? 1
    })
  })

const resolved = (directory: string, hfModel: string, request: SetupRequest, prepared: PreparedTraining, overrides: ReadonlyMap<string, Setting>): { readonly setup: Setup; readonly report: ReturnType<typeof planned>["report"] } => {
  const { model, plan } = prepared
  const { chosen, report } = planned(prepared, request)
  if (chosen === undefined) {
    const [broken] = report.given?.broken ?? []
    throw new UsageError({
      code: "usage/layout",
      problem: broken ? `rule ${broken.rule}: ${broken.problem}` : `no layout fits ${report.nodes} nodes of ${report.gpusPerNode} ${report.gpu}`,
      hint: broken ? `the trainer: ${broken.trainer}` : report.refused.map((r) => `rule ${r.rule}, ${r.layouts} layouts: ${r.problem}`).join("; ")
    })
  }
  const mode = request.mode ?? "sft"
  const recipe = recipeOf(model.architecture, imageRule(model) !== undefined)
  const usual = recipe.standard[mode]
  const trainIters = counted(request.trainIters, "the number of iterations", SETUP_DEFAULTS.trainIters)
  const { gpusPerNode } = plan.cluster
  const folder = resolve(directory)
  const common = {
    name: runName(directory, request.name),
    architecture: model.architecture,
    hfModel: resolve(hfModel),
    megatronPath: resolve(request.megatronPath ?? join(folder, "checkpoint")),
    savePath: resolve(request.savePath ?? join(folder, "results")),
    layout: chosen.layout,
    score: shown(chosen, gpusPerNode),
    seqLength: plan.mix.length,
    globalBatch: plan.globalBatch,
    trainIters,
    saveInterval: saveIntervalOf(request, trainIters),
    lr: rate(request.lr, "the learning rate", usual.lr),
    minLr: rate(request.minLr, "the least learning rate", Math.min(usual.minLr, request.lr ?? Infinity)),
    warmupIters: warmupOf(request, trainIters),
    seed: counted(request.seed, "the seed", SETUP_DEFAULTS.seed, 0),
    frozen: request.freeze ?? [],
    dataset: datasetOf(request, prepared.form === "mimo" ? recipe.mimo!.datasets : recipe.standard.datasets),
    overrides,
    launch: {
      gpusPerNode,
      ranksByNode: ranksByNode(chosen.layout, gpusPerNode),
      mounts: request.mounts ?? [],
      time: request.time ?? SETUP_DEFAULTS.time,
      ...Object.fromEntries((["container", "partition", "account"] as const).flatMap((key) => (request[key] === undefined ? [] : [[key, request[key]]])))
    },
    notes: [...report.notes, ...(mode === "lora" ? adapterNotes(model) : [])]
  }
  requireRoute(prepared.form, request.loadRoute ?? "hook")
  const setup: Setup = prepared.form === "mimo"
    ? { ...common, form: "mimo", script: recipe.mimo!, loadRoute: request.loadRoute ?? "hook" }
    : {
      ...common,
      form: "standard",
      mode,
      recipe: { step: recipe.standard.step, base: recipe.standard.base[mode] },
      hasTower: imageRule(model) !== undefined,
      ...(mode === "lora" ? { lora: { dim: counted(request.loraDim, "the rank of adapters", SETUP_DEFAULTS.loraDim), alpha: counted(request.loraAlpha, "alpha", SETUP_DEFAULTS.loraAlpha) } } : {})
    }
  return { setup, report }
}

/** Layers that the trainer's usual targets of adapters pass over. */
const adapterNotes = ({ description }: TrainedModel): ReadonlyArray<string> =>
  description.modules.some((m) => m.blocks.some(({ block }) => block.kind === "gated-delta-net"))
    ? ["the trainer's adapters go on linear_qkv, linear_proj, linear_fc1 and linear_fc2: linear-attention layers get none; --set 'peft.target_modules=[linear_qkv,linear_proj,linear_fc1,linear_fc2,in_proj,out_proj]' names theirs too"]
    : []

const saveIntervalOf = ({ saveInterval }: SetupRequest, iters: number): number => counted(saveInterval, "the save interval", Math.max(1, Math.floor(iters / SETUP_DEFAULTS.saves)))
const warmupOf = ({ warmupIters }: SetupRequest, iters: number): number => counted(warmupIters, "the warm-up", Math.floor(iters * SETUP_DEFAULTS.warmupShare), 0)

const writeFolder = async (disk: DiskCalls, directory: string, files: ReadonlyArray<SetupFile>, overwrite: boolean): Promise<void> => {
  const target = resolve(directory)
  const there = await present(disk, target)
  if (there !== undefined && !overwrite && !(there.kind === "directory" && (await disk.list(target)).length === 0)) {
    throw new OutputRefused({ path: directory, code: "output/exists", problem: "exists already", hint: "--overwrite replaces the files of a set-up; checkpoints and results in it stay" })
  }
  await makeFolders(disk, target)
  for (const { name, text } of files) {
    // Each file is whole or as it was.
    const [path, beside] = [join(target, name), join(target, `.${name}.tmp`)]
    if (await present(disk, beside) !== undefined) await disk.remove(beside)
    await writeSmall(disk, beside, Buffer.from(text))
    await disk.rename(beside, path)
  }
  await disk.syncDirectory(target)
  await disk.syncDirectory(dirname(target))
}

/**
 * Write the folder of a run into `directory`.
 *
 * @throws UsageError `usage/training` for a setting that the trainer accepts and does not do, `usage/layout` for a layout that it refuses; OutputRefused
 */
export const setupSft = (hfModel: string, directory: string, request: SetupRequest = {}): Effect.Effect<SetupReport, ConversionError, Disk> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const model = yield* readModel(hfModel, request)
    const mode = request.mode ?? "sft"
    const { instead, overrides, standard } = yield* converting(() => {
      const set = overridesOf(request.set ?? [])
      const trainIters = counted(request.trainIters, "the number of iterations", SETUP_DEFAULTS.trainIters)
      const decay = set.get("scheduler.lr_decay_iters")
      const recipe = recipeOf(model.architecture, imageRule(model) !== undefined)
      return {
        overrides: set,
        ...formOf(model, request, {
          mode, trainIters, saveInterval: saveIntervalOf(request, trainIters), warmupIters: warmupOf(request, trainIters), overrides: set, video: request.video === true,
          trainable: recipe.mimo !== undefined && model.trainable, ...(typeof decay === "number" ? { decayIters: decay } : {})
        })
      }
    })
    const asked: SetupRequest = {
      ...request,
      ...(standard ? { standard: true } : {}),
      // Adapters train, the model does not: what counts is its weights.
      ...(mode === "lora" ? { freeze: freezable(model.description).filter((part) => part !== "router") } : {})
    }
    const prepared = yield* prepareTraining(hfModel, asked)
    const { report, setup } = yield* converting(() => resolved(directory, hfModel, { ...asked, freeze: request.freeze ?? [] }, prepared, overrides))
    const samples = request.samples === undefined ? undefined : yield* converting(() => samplesAt(disk, request.samples!, model, setup.layout, setup.seqLength))
    const files = yield* converting(() => setupFiles(setup, report, samples))
    yield* converting(() => writeFolder(disk, directory, files, request.overwrite === true))
    return {
      directory,
      architecture: model.architecture,
      form: setup.form,
      mode,
      layout: setup.score.spelled,
      flags: setup.score.flags,
      ranksByNode: setup.launch.ranksByNode,
      files: files.map(({ name, text }) => ({ name, bytes: Buffer.byteLength(text) })),
      commands: commandsOf(setup).map(([what, command]) => ({ what, command })),
      instead,
      ...(samples ? { samples } : {}),
      unproven: unproven(setup),
      notes: setup.notes
    }
  })
