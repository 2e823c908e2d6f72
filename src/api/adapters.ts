/**
 * Adapters, planned before they are run: a checkpoint's become a directory of `peft`, and the other way round. A plan reads headers
 * only; its `run` writes, atomically.
 */
import { Effect } from "effect"
import { prepareCheckpointMerge, prepareMegatronMerge } from "../adapters/merge/intoMegatron.ts"
import type { MergeRequest, MergeRun, PreparedMerge } from "../adapters/merge/merging.ts"
import { prepareMerge as planMerge } from "../adapters/merge/prepareMerge.ts"
import type { MergeReport } from "../adapters/merge/Report.ts"
import { type AdapterExportRequest, type PreparedAdapterExport, prepareAdapterExport as planExport } from "../adapters/prepareExport.ts"
import { type AdapterImportRequest, prepareAdapterImport as planImport, type PreparedAdapterImport } from "../adapters/prepareImport.ts"
import type { AdapterReport } from "../adapters/Report.ts"
import type { RunOptions } from "../convert/produce.ts"
import { type ConversionError, type JobError, UsageError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import { checking } from "../io/attempt.ts"
import { prepareStoredMerge } from "../reshard/prepareStoredMerge.ts"
import { type Arrangement, arrange, familiesOf, TENSOR_DEFAULTS, type WithFamilies } from "./requests.ts"
import { layoutOf } from "./reshard.ts"

export type { AdapterReport, AdapterSummary } from "../adapters/Report.ts"
export type { MergeOrder } from "../adapters/merge/addTerms.ts"
export type { AdapterChoice } from "../adapters/merge/loadAdapter.ts"
export type { PreparedMerge } from "../adapters/merge/merging.ts"
export type { MergeReport } from "../adapters/merge/Report.ts"
export type { PreparedAdapterExport } from "../adapters/prepareExport.ts"
export type { PreparedAdapterImport } from "../adapters/prepareImport.ts"

/** What becomes of a checkpoint's adapters. */
export interface AdapterExportOptions extends WithFamilies, Partial<AdapterExportRequest> {}

/** How a run begins where nothing else is said. */
export const FRESH = { overwrite: false } as const satisfies Partial<RunOptions>

/** Plan an export of the adapters at `megatronPath` for the base model `hfModel`, of which config.json is enough. */
export const prepareAdapterExport = (
  hfModel: string,
  megatronPath: string,
  { alpha, allowUnmapped = [], exclude = [], inputAxis = "last", sharedOuter, torchDtype = TENSOR_DEFAULTS.torchDtype, ...request }: AdapterExportOptions = {}
): Effect.Effect<PreparedAdapterExport, ConversionError, Disk> =>
  planExport(familiesOf(request), hfModel, megatronPath, { allowUnmapped, exclude, inputAxis, torchDtype, ...(alpha === undefined ? {} : { alpha }), ...(sharedOuter === undefined ? {} : { sharedOuter }) })

/** Write the adapters at `megatronPath` as a directory that `peft` loads. Atomic. */
export const exportAdapter = (hfModel: string, megatronPath: string, target: string, options: AdapterExportOptions & Partial<RunOptions> = {}): Effect.Effect<AdapterReport, JobError, Disk> =>
  Effect.flatMap(prepareAdapterExport(hfModel, megatronPath, options), ({ run }) => run(target, { ...FRESH, ...options }))

/** How a directory of `peft` becomes a checkpoint's adapters. */
export interface AdapterImportOptions extends WithFamilies, Arrangement, Partial<Omit<AdapterImportRequest, "form" | "layout">> {}

/** Plan an import of the adapter at `adapterPath` for the base model `hfModel`, of which config.json is enough. */
export const prepareAdapterImport = (
  hfModel: string,
  adapterPath: string,
  { adapterForm = "auto", inputAxis = "last", pretrained, torchDtype = TENSOR_DEFAULTS.torchDtype, ...request }: AdapterImportOptions = {}
): Effect.Effect<PreparedAdapterImport, ConversionError, Disk> =>
  Effect.flatMap(checking(() => arrange(request)), (arranged) =>
    planImport(familiesOf(request), hfModel, adapterPath, { ...arranged, adapterForm, inputAxis, torchDtype, ...(pretrained === undefined ? {} : { pretrained }) }))

/** Write the adapter at `adapterPath` as a Megatron checkpoint from which training goes on. Atomic. */
export const importAdapter = (hfModel: string, adapterPath: string, target: string, options: AdapterImportOptions & Partial<RunOptions> = {}): Effect.Effect<AdapterReport, JobError, Disk> =>
  Effect.flatMap(prepareAdapterImport(hfModel, adapterPath, options), ({ run }) => run(target, { ...FRESH, ...options }))

/** Which adapters are added to a model, and in which order of operations. */
export interface MergeOptions extends WithFamilies, Partial<MergeRequest> {
  /** A Megatron checkpoint with the base's weights. Default: those of the Hugging Face directory. */
  readonly pretrained?: string
  /** Quantised tensors of a directory become codes and scales again, which rounds; without it they are refused. */
  readonly requantize?: boolean
}

const choicesOf = ({ adapters = [], inputAxis = "last", order = "bridge" }: MergeOptions): MergeRequest => ({ adapters, inputAxis, order })

/** Plan a merge of adapters into the weights of the directory `hfModel`, or of a checkpoint of that model. */
export const prepareMerge = (hfModel: string, options: MergeOptions): Effect.Effect<PreparedMerge, JobError, Disk> =>
  options.pretrained === undefined
    ? planMerge(familiesOf(options), hfModel, { ...choicesOf(options), requantize: options.requantize ?? false })
    : prepareCheckpointMerge(familiesOf(options), hfModel, options.pretrained, choicesOf(options))

/** Which adapters are added to a model, and how the checkpoint is laid out that becomes of it. */
export interface MegatronMergeOptions extends MergeOptions, Arrangement {}

/**
 * Plan a merge of adapters that is written as a Megatron checkpoint: of the directory `hfModel`, what `import` makes of the merged model; of
 * the weights of `pretrained`, that checkpoint with the adapters in it, under its own layout unless another is asked for.
 */
export const prepareMergedImport = (hfModel: string, options: MegatronMergeOptions): Effect.Effect<PreparedMerge, JobError, Disk> =>
  Effect.gen(function*() {
    const { pretrained } = options
    if (pretrained === undefined) return yield* prepareMegatronMerge(familiesOf(options), hfModel, { ...yield* checking(() => arrange(options)), ...choicesOf(options) })
    if (options.standard) return yield* new UsageError({ code: "usage/layout", problem: "--standard: a checkpoint has the form that it has" })
    return yield* prepareStoredMerge(familiesOf(options), hfModel, { pretrained, layout: yield* checking(() => layoutOf(options)), ...choicesOf(options) })
  })

/** Write the model with the adapters merged as a Megatron checkpoint. Atomic. */
export const importMerged = (hfModel: string, target: string, options: MegatronMergeOptions & Partial<MergeRun>): Effect.Effect<MergeReport, JobError, Disk> =>
  Effect.flatMap(prepareMergedImport(hfModel, options), ({ run }) => run(target, { ...FRESH, link: false, ...options }))

/** Write the model with the adapters merged. Atomic. */
export const mergeAdapters = (hfModel: string, target: string, options: MergeOptions & Partial<MergeRun>): Effect.Effect<MergeReport, JobError, Disk> =>
  Effect.flatMap(prepareMerge(hfModel, options), ({ run }) => run(target, { ...FRESH, link: false, ...options }))
