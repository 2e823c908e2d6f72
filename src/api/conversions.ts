/**
 * Import and export, planned before they are run: what the command line and the bridges stand on. A plan reads headers only; its `run`
 * writes, atomically: the target is complete or as it was.
 */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import type { RunOptions } from "../convert/produce.ts"
import { contributeToExport, type ExportRequest, prepareExport as planExport } from "../convert/prepareExport.ts"
import type { DescribedByCheckpoint } from "../convert/exportModel.ts"
import { contributeToImport, prepareImport as planImport } from "../convert/prepareImport.ts"
import type { ExportPlan } from "../plan/ExportDraft.ts"
import { idlePatternNotes } from "../plan/match.ts"
import type { ImportPlan } from "../plan/ImportPlan.ts"
import type { ConversionReport } from "../plan/Report.ts"
import { statedLayoutNotes } from "../convert/statedLayout.ts"
import type { JobError, ReadError, UsageError } from "../errors.ts"
import { checking, named } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { checkpointPlace, modelDirectory } from "../remote/names.ts"
import type { Layout } from "../parallel/Layout.ts"
import { parseComponent } from "../parallel/ModuleParallelism.ts"
import { type Shared, withShares } from "./shares.ts"
import { type Arrangement, arrange, familiesOf, type ImportChoices, importChoices, tensorChoices, type TensorChoices, type WithFamilies } from "./requests.ts"

export type { RunOptions } from "../convert/produce.ts"
export type { ConversionReport, ProcessPlan } from "../plan/Report.ts"
export type { DescribedByCheckpoint } from "../convert/exportModel.ts"

/** A conversion that is planned. */
export interface PreparedConversion {
  /** What it will do. */
  readonly report: ConversionReport
  readonly run: (target: string, options?: Partial<RunOptions>) => Effect.Effect<ConversionReport, JobError, Disk>
}

export interface PreparedImport extends PreparedConversion {
  readonly plan: ImportPlan
  readonly layout: Layout
}

export interface PreparedExport extends PreparedConversion {
  readonly plan: ExportPlan
}

export interface ImportPlanRequest extends WithFamilies, ImportChoices, Arrangement, Shared {}

export interface ExportPlanRequest extends WithFamilies, TensorChoices, Shared, Pick<ExportRequest, "mtpFrom" | "vocabSize" | "restoreQuantized"> {
  /** Layouts that the checkpoint is said to have: held against what it records, differences are notes of the report. */
  readonly components?: ReadonlyArray<string>
}

const FRESH = { overwrite: false } as const satisfies Partial<RunOptions>

/** The directory that a model's name stands for: itself, or a model in the Hub's cache. InvalidFile `hub/…`, UsageError, IoError. */
export const modelPath = (name: string, revision?: string): Effect.Effect<string, ReadError | UsageError, Disk> =>
  Effect.flatMap(storeInUse, (store) => named(() => modelDirectory(store, name, revision)))

/** What a path to a checkpoint of any kind stands for: itself, or, where nothing is at the path, a model in the Hub's cache. InvalidFile `hub/…`, IoError. */
export const checkpointPath = (name: string): Effect.Effect<string, ReadError | UsageError, Disk> =>
  Effect.flatMap(storeInUse, (store) => named(() => checkpointPlace(store, name)))

const withNotes = (notes: ReadonlyArray<string>) => (report: ConversionReport): ConversionReport =>
  notes.length === 0 ? report : { ...report, notes: [...report.notes, ...notes] }

/** Plan an import of the Hugging Face directory `hfModel`. */
export const prepareImport = (hfModel: string, request: ImportPlanRequest = {}): Effect.Effect<PreparedImport, JobError, Disk> =>
  Effect.gen(function*() {
    const arranged = yield* checking(() => arrange(request))
    const { plan, run } = yield* planImport(familiesOf(request), hfModel, { ...arranged, ...importChoices(request), step: 0 })
    const noted = withNotes(idlePatternNotes(request.allowUnmapped ?? [], plan.report.leftBehind.map(({ tensor }) => tensor)))
    const report = yield* checking(() => withShares(noted(plan.report), request, plan.checkpoint.files, plan.layout))
    return { plan, report, layout: plan.layout, run: (target, options) => Effect.map(run(target, { ...FRESH, ...options }), noted) }
  })

/** To plan, at the first process of a job, while the others wait to contribute. */
export { asOneProcess as planningAlone } from "../cluster/single.ts"

/**
 * Take part in an import that the first process of the job plans ({@link planningAlone}) and reports: this process needs no plan of its
 * own, as a rule, and opens only what it reads.
 */
export const contributeImport = (hfModel: string, request: ImportPlanRequest, target: string, options: Partial<RunOptions> = {}): Effect.Effect<void, JobError, Disk> =>
  Effect.gen(function*() {
    const arranged = yield* checking(() => arrange(request))
    yield* contributeToImport(familiesOf(request), hfModel, { ...arranged, ...importChoices(request), step: 0 }, target, { ...FRESH, ...options })
  })

const exportRequest = ({ mtpFrom, restoreQuantized, vocabSize, ...rest }: ExportPlanRequest): ExportRequest => ({
  ...tensorChoices(rest),
  ...(mtpFrom === undefined ? {} : { mtpFrom }),
  ...(vocabSize === undefined ? {} : { vocabSize }),
  ...(restoreQuantized === undefined ? {} : { restoreQuantized })
})

/** The same for an export. */
export const contributeExport = (model: string | DescribedByCheckpoint, megatronPath: string, request: ExportPlanRequest, target: string, options: Partial<RunOptions> = {}): Effect.Effect<void, JobError, Disk> =>
  contributeToExport(familiesOf(request), model, megatronPath, exportRequest(request), target, { ...FRESH, ...options })

/** Plan an export of the checkpoint at `megatronPath` with the config and the shards of a model's directory, or with what the checkpoint says of its model. */
export const prepareExport = (model: string | DescribedByCheckpoint, megatronPath: string, request: ExportPlanRequest = {}): Effect.Effect<PreparedExport, JobError, Disk> =>
  Effect.gen(function*() {
    const { components = [] } = request
    const specs = yield* checking(() => components.map(parseComponent))
    const { files, plan, report, run } = yield* planExport(familiesOf(request), model, megatronPath, exportRequest(request))
    const stated = yield* statedLayoutNotes(report, specs)
    const idle = idlePatternNotes(request.allowUnmapped ?? [], [...report.leftBehind.map(({ tensor }) => tensor), ...plan.repeats.map(({ id }) => id)])
    const noted = withNotes([...stated, ...idle])
    const told = yield* checking(() => withShares(noted(report), request, files))
    return { plan, report: told, run: (target, options) => Effect.map(run(target, { ...FRESH, ...options }), noted) }
  })
