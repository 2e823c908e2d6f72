/**
 * Looking at checkpoints and translating them, as Effects: what `inspect`, `diff`, `relabel`, `doctor` and `report` do. Headers only,
 * unless an option says otherwise. {@link ./promises.ts} has the same as async functions.
 *
 * @example
 * ```ts
 * const program = Effect.gen(function*() {
 *   const { components, findings } = yield* checkpoints.inspect("./megatron")
 *   const { equal, total } = yield* checkpoints.diff("./hf", "./megatron")
 *   yield* checkpoints.relabel("./trained", "./mended", { to: ["plain"], link: true })
 * })
 * Effect.runPromise(program.pipe(Effect.provide(Disk.layer)))
 * ```
 */
import { Effect } from "effect"
import { surveyAdapters } from "../adapters/survey/survey.ts"
import { diff as compare, type DiffOptions, type DiffReport } from "../diff/diff.ts"
import { bySeverity } from "../doctor/Diagnosis.ts"
import { type DoctorReport, examinePath } from "../doctor/doctor.ts"
import { examineMachine as machine } from "../doctor/machine.ts"
import type { EngineLimits } from "../engine/index.ts"
import { type ConversionError, type JobError, type ReadError, UsageError } from "../errors.ts"
import { globs } from "../inspect/glob.ts"
import { type Inspection, inspection } from "../inspect/Inspection.ts"
import { measure } from "../inspect/measure.ts"
import { isTrainingRole } from "../model/storedKey.ts"
import { openSpace } from "../space/openSpace.ts"
import { checking } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { farAway } from "../remote/place.ts"
import { resolveLayout } from "../parallel/Layout.ts"
import { parseComponent } from "../parallel/ModuleParallelism.ts"
import { prepareRelabel as prepareRelabelWith, type PreparedRelabel, type RelabelReport, type RelabelRun } from "../relabel/relabel.ts"
import type { RelabelTo } from "../relabel/rules/index.ts"
import type { PageRequest } from "../report/gather.ts"
import { knownProviders } from "./models.ts"
import { measured, meter, type Watched } from "./progress.ts"
import { reportRoom } from "./reportRoom.ts"
import { frozenNames } from "./weights/model.ts"
import { familiesOf, type WithFamilies } from "./requests.ts"

export type { DiffKind, DiffReport, TensorDiff } from "../diff/diff.ts"
export type { Diagnosis } from "../doctor/Diagnosis.ts"
export type { DoctorReport } from "../doctor/doctor.ts"
export type { Inspection, TensorRow } from "../inspect/Inspection.ts"
export { adapterGroups, normsText, settingsText as adapterSettingsText } from "../adapters/survey/groups.ts"
export type { AdapterFacts, AdapterModule } from "../adapters/survey/AdapterFacts.ts"
export { rankOf } from "../checkpoint/names.ts"
export type { Statistics } from "../inspect/Statistics.ts"
export { ranges, type TreeNode, treeOf } from "../inspect/tree.ts"
export type { PreparedRelabel, RelabelReport } from "../relabel/relabel.ts"
export { relabelTargets, type RelabelTo } from "../relabel/rules/index.ts"

/** `statistics` reads the data: that is the phase `reading`. */
export interface InspectRequest extends WithFamilies, Watched, EngineLimits {
  /** Globs, one of which a name must match to be among `tensors`; sums are of everything. */
  readonly filter?: ReadonlyArray<string>
  /**
   * Read the listed tensors and give min, max, mean, standard deviation, zeros, NaN and infinities of each; of adapters also how large
   * the change of each module is.
   */
  readonly statistics?: boolean
  /** Give the box, file and byte range of every chunk. */
  readonly boxes?: boolean
}

/**
 * What is in a checkpoint: a safetensors file or directory, a Megatron checkpoint or one `iter_*` folder, a `.distcp` or `torch.save`
 * file. Sizes are in bytes, shapes global.
 *
 * @throws InvalidFile, Unsupported, IoError; UsageError for a filter that is none.
 */
export const inspect = (path: string, request: InspectRequest = {}): Effect.Effect<Inspection, ReadError | UsageError, Disk> =>
  Effect.gen(function*() {
    const { boxes = false, filter: patterns = [], statistics: wanted = false } = request
    const filter = yield* checking(() => globs(patterns))
    const space = yield* openSpace(path, familiesOf(request))
    const listed = () => [...space.tensors.values()].filter((t) => filter(t.name) && (!isTrainingRole(t.role) || patterns.length > 0))
    const statistics = wanted ? yield* measure(listed(), { ...farAway(path), ...request, ...measured("reading", request) }) : undefined
    const adapter = yield* surveyAdapters(space, { norms: wanted })
    return inspection(space, { filter, boxes, adapter, ...(statistics ? { statistics } : {}) })
  })

/** What is compared, and how closely. */
export interface DiffRequest extends WithFamilies, Watched, Partial<Omit<DiffOptions, "filter" | "progress" | "onSize">> {
  /** Globs, one of which a name must match; none: every tensor is compared. */
  readonly filter?: ReadonlyArray<string>
  /** Only what these frozen parts keep as it is (`router`, `language`, `encoders`, … as of {@link WeightLayout.freeze}): no difference is to be found. */
  readonly frozen?: ReadonlyArray<string>
}

/**
 * How two checkpoints of any kinds differ: missing, extra, shapes, dtypes, values and how far apart those are. A Hugging Face and a
 * Megatron one are compared under the Hugging Face names, through the family's mapping.
 */
export const diff = (left: string, right: string, request: DiffRequest = {}): Effect.Effect<DiffReport, ConversionError, Disk> =>
  Effect.gen(function*() {
    const { frozen = [] } = request
    const matching = yield* checking(() => globs(request.filter ?? []))
    const names = frozen.length === 0 ? undefined : yield* frozenNames(familiesOf(request), frozen, [...(request.hfModel === undefined ? [] : [request.hfModel]), left, right])
    const filter = (name: string): boolean => matching(name) && (names === undefined || names.has(name))
    return yield* compare(familiesOf(request), left, right, { headers: false, norms: true, ...farAway(left, right), ...request, filter, ...measured("comparing", request) })
  })

/** Into which naming, and how it is written. */
export interface RelabelRequest extends WithFamilies, Watched, Partial<Omit<RelabelRun, "progress">> {
  /** The namings wanted, one after the other. */
  readonly to: ReadonlyArray<RelabelTo>
  /** Directory with the model's config.json, if the run configuration does not say which model it is. */
  readonly hfModel?: string
  /** Layout that the run configuration of a MIMO checkpoint gets, as for an import. */
  readonly components?: ReadonlyArray<string>
}

/** Plan a relabelling. UsageError for components without a MegatronMIMO naming among the ones wanted; what reading the checkpoint fails with. */
export const prepareRelabel = (from: string, request: RelabelRequest): Effect.Effect<PreparedRelabel, ConversionError, Disk> =>
  Effect.gen(function*() {
    const { components = [], hfModel, to } = request
    const specs = yield* checking(() => components.map(parseComponent))
    if (specs.length > 0 && !to.includes("mimo")) return yield* new UsageError({ problem: "--component goes with --to mimo" })
    return yield* prepareRelabelWith(familiesOf(request), from, { to, layout: (names) => resolveLayout(specs, names), ...(hfModel === undefined ? {} : { hfModel }) })
  })

/** What {@link relabel} would do. */
export const relabelPlan = (from: string, request: RelabelRequest): Effect.Effect<RelabelReport, ConversionError, Disk> =>
  prepareRelabel(from, request).pipe(Effect.map(({ report }) => report))

/**
 * Write a Megatron checkpoint under other names. Data files are linked (`link`) or copied as they are wherever their items keep their
 * shape. Atomic: the target is complete or as it was.
 *
 * @throws Unsupported for what has no exact equivalent; PlanRefused `relabel/collision`; OutputRefused, NoSpace, IoError.
 */
export const relabel = (from: string, target: string, request: RelabelRequest): Effect.Effect<RelabelReport, JobError, Disk> =>
  Effect.gen(function*() {
    const { link = false } = request
    const { forecast, run } = yield* prepareRelabel(from, request)
    const { add, total } = meter("relabelling", request)
    if (request.onProgress) total((yield* forecast(target, link)).bytes)
    return yield* run(target, { overwrite: false, ...request, link, progress: add })
  })

/** What is examined besides the path. */
export interface ExamineRequest extends WithFamilies {
  /** Of adapters: the directory of their base model, which tells whether its modules are there. */
  readonly hfModel?: string
}

/** What a loader would stumble over, each with what mends it. Fails only where the path itself cannot be read. */
export const examine = (path: string, request: ExamineRequest = {}): Effect.Effect<DoctorReport, ReadError, Disk> =>
  examinePath(familiesOf(request), path, knownProviders, request.hfModel)

/** What this machine can do, and what the file system of `directory` allows. */
export const examineMachine = (directory: string): Effect.Effect<DoctorReport, ReadError, Disk> =>
  Effect.map(machine(directory), (found) => ({ path: directory, found: bySeverity(found), sound: !found.some((d) => d.severity === "error") }))

/** What the page is about besides the checkpoints. */
export interface ReportRequest extends WithFamilies, Partial<Omit<PageRequest, "paths">> {}

/** The page and the card about the same checkpoints. */
export interface Report {
  /** One self-contained page. */
  readonly html: string
  /** The verification card, as YAML. */
  readonly card: string
}

/** A page about checkpoints, and the card. With a Hugging Face model and a Megatron checkpoint of it: where every tensor went. */
export const report = (paths: ReadonlyArray<string>, request: ReportRequest = {}): Effect.Effect<Report, ReadError, Disk> =>
  Effect.gen(function*() {
    const { cardOf, pageOf, renderPage } = yield* reportRoom
    const gathered = yield* pageOf(familiesOf(request), { command: "report", ...request, paths })
    return { html: renderPage(gathered.page), card: yield* cardOf(gathered) }
  })
