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
import { families as allFamilies } from "../../routes/index.ts"
import { verified } from "../../routes/verified.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { diff as compare, type DiffOptions, type DiffReport } from "../diff/diff.ts"
import { type DoctorReport, examinePath } from "../doctor/doctor.ts"
import type { EngineLimits } from "../engine/Settings.ts"
import type { BridgeError } from "../errors.ts"
import { familyComponents } from "../inspect/familyComponents.ts"
import { globs } from "../inspect/glob.ts"
import { type Inspection, inspection } from "../inspect/Inspection.ts"
import { measure, type MeasureOptions } from "../inspect/measure.ts"
import { openSpace } from "../inspect/openSpace.ts"
import { attempt } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { resolveLayout } from "../parallel/Layout.ts"
import { parseComponent } from "../parallel/ModuleParallelism.ts"
import { prepareRelabel, type RelabelReport, type RelabelRun } from "../relabel/relabel.ts"
import type { RelabelTo } from "../relabel/rules/index.ts"
import { cardOf, type PageRequest, pageOf } from "../report/gather.ts"
import { renderPage } from "../report/renderPage.ts"

interface WithFamilies {
  /** The families whose names and mappings are known; the built-in ones by default. */
  readonly families?: FamilyRegistry
}

export interface InspectRequest extends WithFamilies, MeasureOptions, EngineLimits {
  /** Globs, one of which a name must match to be among `tensors`; sums are of everything. */
  readonly filter?: ReadonlyArray<string>
  /** Read the listed tensors and give min, max, mean, standard deviation, zeros, NaN and infinities of each. */
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
export const inspect = (path: string, request: InspectRequest = {}): Effect.Effect<Inspection, BridgeError, Disk> =>
  Effect.gen(function*() {
    const { boxes = false, families = allFamilies, filter: patterns = [], statistics: wanted = false, ...reading } = request
    const filter = yield* attempt(() => globs(patterns))
    const space = yield* openSpace(path)
    const listed = () => [...space.tensors.values()].filter((t) => filter(t.name) && (t.role !== "training" || patterns.length > 0))
    const statistics = wanted ? yield* measure(space, listed(), reading) : undefined
    const component = familyComponents(families, space)
    return inspection(space, { filter, boxes, ...(statistics ? { statistics } : {}), ...(component ? { component } : {}) })
  })

export interface DiffRequest extends WithFamilies, Partial<Omit<DiffOptions, "filter">> {
  readonly filter?: ReadonlyArray<string>
}

/**
 * How two checkpoints of any kinds differ: missing, extra, shapes, dtypes, values and how far apart those are. A Hugging Face and a
 * Megatron one are compared under the Hugging Face names, through the family's mapping.
 */
export const diff = (left: string, right: string, request: DiffRequest = {}): Effect.Effect<DiffReport, BridgeError, Disk> =>
  Effect.gen(function*() {
    const { families = allFamilies, filter = [], ...options } = request
    return yield* compare(families, left, right, { headers: false, norms: true, ...options, filter: yield* attempt(() => globs(filter)) })
  })

export interface RelabelRequest extends WithFamilies, Partial<RelabelRun> {
  /** The namings wanted, one after the other. */
  readonly to: ReadonlyArray<RelabelTo>
  /** Directory with the model's config.json, if the run configuration does not say which model it is. */
  readonly hfModel?: string
  /** Layout that the run configuration of a MIMO checkpoint gets, as for an import. */
  readonly components?: ReadonlyArray<string>
}

const preparedRelabel = Effect.fnUntraced(function*(from: string, { components = [], families = allFamilies, hfModel, to }: RelabelRequest) {
  const specs = yield* attempt(() => components.map(parseComponent))
  return yield* prepareRelabel(families, from, { to, layout: (names) => resolveLayout(specs, names), ...(hfModel === undefined ? {} : { hfModel }) })
})

/** What {@link relabel} would do. */
export const relabelPlan = (from: string, request: RelabelRequest): Effect.Effect<RelabelReport, BridgeError, Disk> =>
  preparedRelabel(from, request).pipe(Effect.map(({ report }) => report))

/**
 * Write a Megatron checkpoint under other names. Data files are linked (`link`) or copied as they are wherever their items keep their
 * shape. Atomic: the target is complete or as it was.
 *
 * @throws Unsupported for what has no exact equivalent; PlanRefused `relabel/collision`; OutputRefused, NoSpace, IoError.
 */
export const relabel = (from: string, target: string, request: RelabelRequest): Effect.Effect<RelabelReport, BridgeError, Disk> =>
  preparedRelabel(from, request).pipe(Effect.flatMap(({ run }) => run(target, { link: false, overwrite: false, ...request })))

/** What a loader would stumble over, each with what mends it. Fails only where the path itself cannot be read. */
export const examine = (path: string, { families = allFamilies }: WithFamilies = {}): Effect.Effect<DoctorReport, BridgeError, Disk> =>
  examinePath(families, path, verified.flatMap((v) => v.providers))

export interface ReportRequest extends WithFamilies, Partial<Omit<PageRequest, "paths">> {}

export interface Report {
  /** One self-contained page. */
  readonly html: string
  /** The verification card, as YAML. */
  readonly card: string
}

/** A page about checkpoints, and the card. With a Hugging Face model and a Megatron checkpoint of it: where every tensor went. */
export const report = (paths: ReadonlyArray<string>, request: ReportRequest = {}): Effect.Effect<Report, BridgeError, Disk> =>
  Effect.gen(function*() {
    const { families = allFamilies, ...rest } = request
    const gathered = yield* pageOf(families, { command: "report", ...rest, paths })
    return { html: renderPage(gathered.page), card: yield* cardOf(gathered) }
  })
