/**
 * The library's front door: one Hugging Face model, and its conversions to and from MegatronMIMO checkpoints, as Effects with
 * typed errors. {@link AutoBridge} is the same for standard (one model, one layout) checkpoints.
 *
 * @example
 * ```ts
 * const program = Effect.gen(function*() {
 *   const bridge = yield* MegatronMimoBridge.fromHfPretrained("./hf", { components: ["language=tp=4", "images=tp=1"] })
 *   console.log((yield* bridge.conversionPlan()).components)
 *   yield* bridge.importCheckpoint("./megatron", { onProgress: ({ done, total }) => console.log(`${done} of ${total} bytes`) })
 * })
 * Effect.runPromise(program.pipe(Effect.provide(Disk.layer)))
 * ```
 */
import { Effect, Stream } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { configLayout } from "../plan/configLayout.ts"
import type { RunOptions } from "../convert/produce.ts"
import { type ExportRequest, prepareExport } from "../convert/prepareExport.ts"
import { prepareImport } from "../convert/prepareImport.ts"
import { type HfConfig, openHfConfig } from "../space/HfSource.ts"
import type { Form } from "../mimo/routing.ts"
import type { ImportOptions } from "../plan/ImportOptions.ts"
import type { ConversionReport } from "../plan/Report.ts"
import { verifyHfMegatron } from "../verify/verify.ts"
import type { VerifyReport } from "../verify/pairing.ts"
import type { EngineLimits } from "../engine/index.ts"
import type { JobError, PlanError, ReadError, UsageError } from "../errors.ts"
import { checking, planning, reading } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { type Layout, resolveLayout, standardLayout } from "../parallel/Layout.ts"
import { parseComponent } from "../parallel/ModuleParallelism.ts"
import { type ProcessGroupCollection, processGroups } from "../parallel/ProcessGroups.ts"
import { modelPath } from "./conversions.ts"
import { type HfWeight, type HfWeightOptions, hfWeights } from "../weights/pieces.ts"
import { exportArray, type ExportPlan } from "../plan/ExportDraft.ts"
import { measured, meter, type Watched } from "./progress.ts"
import { familiesOf, type ImportChoices, importChoices, type StandardSizes, tensorChoices, type TensorChoices, type WithFamilies } from "./requests.ts"
import { type Shared, withShares } from "./shares.ts"

/** What opening a model takes, in whichever form. */
export interface BridgeOptions extends WithFamilies {
  /** Branch, tag or commit of a model that is named by its Hub id. Default `main`. */
  readonly revision?: string
}

/** How the components of a MegatronMIMO checkpoint are laid out. */
export interface MimoBridgeOptions extends BridgeOptions {
  /** `name=tp=N[,pp=N,dp=N,cp=N,ep=N,etp=N,rank_offset=N]` per component, with the keys of an uneven pipeline; none: every component tp=1, on consecutive ranks. */
  readonly components?: ReadonlyArray<string>
}

/** The one layout of a standard checkpoint; a size that is not given is 1. */
export interface StandardBridgeOptions extends BridgeOptions, StandardSizes {}

/** How a conversion runs. */
export interface Running extends Watched, Partial<Omit<RunOptions, "progress">> {}

/** What becomes of the tensors of an import, and how it runs. */
export interface ImportRequest extends ImportChoices, Running {}
/** `restoreQuantized` reads all quantised tensors before it writes: that is the phase `comparing`. */
export interface ExportOptions extends TensorChoices, Running, Pick<Partial<ExportRequest>, "mtpFrom" | "vocabSize"> {
  /** Write quantised tensors that the checkpoint holds unchanged as the model has them, not as values. Default: false. */
  readonly restoreQuantized?: boolean
}
/** How a comparison runs, and who is told of it. */
export interface VerifyOptions extends Watched, EngineLimits {}
/** What is streamed, in which pieces, with which means. */
export interface WeightStreamOptions extends Omit<ExportOptions, "overwrite" | "resume" | "checksum" | "onKept" | "onWait">, HfWeightOptions {}

const arraysOf = (plan: ExportPlan) => Iterator.from(plan.tensors.values()).map((tensor) => exportArray(plan, tensor))

const exportRequest = (options: ExportOptions): ExportRequest => {
  const { concurrency, io, maxMemory, mtpFrom, restoreQuantized, threads, vocabSize } = options
  const engine = Object.fromEntries(Object.entries({ concurrency, io, maxMemory, threads }).filter(([, value]) => value !== undefined))
  return {
    ...tensorChoices(options),
    ...(mtpFrom === undefined ? {} : { mtpFrom }),
    ...(vocabSize === undefined ? {} : { vocabSize }),
    ...(restoreQuantized ? { restoreQuantized: { ...engine, ...measured("comparing", options) } } : {})
  }
}

/** Run what is planned, and tell of it. */
const watched = (phase: "importing" | "exporting", { files }: ConversionReport, options: Running): RunOptions => {
  const { add, total } = meter(phase, options)
  total(files.reduce((sum, { bytes }) => sum + bytes, 0))
  return { overwrite: false, ...options, progress: add }
}

class Bridge {
  /** The Hugging Face directory. */
  readonly hfModel: string
  readonly architecture: string
  readonly families: FamilyRegistry
  readonly #config: HfConfig
  readonly #arrangement: Pick<ImportOptions, "form" | "layout">

  constructor(config: HfConfig, families: FamilyRegistry, form: Form, layout: (names: ReadonlyArray<string>) => Layout) {
    this.hfModel = config.directory
    this.architecture = config.architecture
    this.families = families
    this.#config = config
    this.#arrangement = { form, layout }
  }

  #prepare(request: ImportRequest) {
    return prepareImport(this.families, this.hfModel, { ...this.#arrangement, step: 0, ...importChoices(request) })
  }

  /** What {@link importCheckpoint} would do; with `processes`, who would write what. Reads headers only. */
  conversionPlan(request: ImportChoices & Shared = {}): Effect.Effect<ConversionReport, JobError, Disk> {
    return this.#prepare(request).pipe(Effect.flatMap(({ plan }) => checking(() => withShares(plan.report, request, plan.checkpoint.files, plan.layout))))
  }

  /** The resolved layout: which component runs on which ranks. From config.json alone: no weights need be there. */
  layout(): Effect.Effect<Layout, PlanError> {
    return planning(() => configLayout(this.families.find(this.#config.json), this.#config, this.#arrangement))
  }

  /** The process groups of every component (lists of global ranks), by component name. From config.json alone. */
  processGroups(): Effect.Effect<ReadonlyMap<string, ProcessGroupCollection>, PlanError> {
    return this.layout().pipe(Effect.map(({ components }) => new Map(components.map((c) => [c.name, processGroups(c.parallelism)]))))
  }

  /** Write the model as a Megatron checkpoint. Atomic: the target is complete or as it was. */
  importCheckpoint(megatronPath: string, request: ImportRequest = {}): Effect.Effect<ConversionReport, JobError, Disk> {
    return this.#prepare(request).pipe(Effect.flatMap(({ plan, run }) => run(megatronPath, watched("importing", plan.report, request))))
  }

  /** Write a checkpoint of this model, converted or trained, as a Hugging Face directory. */
  exportCheckpoint(megatronPath: string, hfPath: string, options: ExportOptions = {}): Effect.Effect<ConversionReport, JobError, Disk> {
    return prepareExport(this.families, this.hfModel, megatronPath, exportRequest(options)).pipe(
      Effect.flatMap(({ report, run }) => run(hfPath, watched("exporting", report, options)))
    )
  }

  /**
   * The checkpoint's weights under their Hugging Face names, in the order of the model: every tensor in pieces of bounded size, or
   * whole if asked for. The next piece is assembled when the consumer asks for it. Progress counts the bytes that were given out.
   */
  streamHfWeights(megatronPath: string, options: WeightStreamOptions = {}): Stream.Stream<HfWeight, JobError, Disk> {
    return Stream.unwrap(Effect.map(
      prepareExport(this.families, this.hfModel, megatronPath, exportRequest(options)),
      ({ plan, report }) => {
        const { add, total } = meter("reading", options)
        total(report.targetBytes)
        return hfWeights(arraysOf(plan), options).pipe(Stream.tap(({ bytes }) => Effect.sync(() => add(bytes.byteLength))))
      }
    ))
  }

  /** Compare the model with a checkpoint of it, tensor by tensor. */
  verify(megatronPath: string, options: VerifyOptions = {}): Effect.Effect<VerifyReport, JobError, Disk> {
    return verifyHfMegatron(this.families, this.hfModel, megatronPath, { ...options, ...measured("comparing", options) })
  }
}

/** A directory or a Hub id, its config read, of a family that is known. */
const open = (hfModel: string, families: FamilyRegistry, { revision }: BridgeOptions) =>
  modelPath(hfModel, revision).pipe(
    Effect.flatMap((directory) => openHfConfig(directory, families)),
    Effect.tap((config) => reading(() => families.find(config.json, config.path)))
  )

/** MegatronMIMO: every component under a layout of its own. */
export class MegatronMimoBridge extends Bridge {
  /**
   * `hfModel`: a directory with config.json, or the Hub id of a model in the Hub's cache (nothing is downloaded). Weights may be
   * absent for what needs none.
   */
  static fromHfPretrained(hfModel: string, options: MimoBridgeOptions = {}): Effect.Effect<MegatronMimoBridge, OpenError, Disk> {
    const families = familiesOf(options)
    return Effect.gen(function*() {
      const specs = yield* checking(() => (options.components ?? []).map(parseComponent))
      const config = yield* open(hfModel, families, options)
      return new MegatronMimoBridge(config, families, "mimo", (names) => resolveLayout(specs, names))
    })
  }
}

/** Standard Megatron checkpoints: one model, one layout. */
export class AutoBridge extends Bridge {
  /** As {@link MegatronMimoBridge.fromHfPretrained}. */
  static fromHfPretrained(hfModel: string, options: StandardBridgeOptions = {}): Effect.Effect<AutoBridge, OpenError, Disk> {
    const { families: _, revision: __, ...sizes } = options
    const families = familiesOf(options)
    return Effect.gen(function*() {
      const config = yield* open(hfModel, families, options)
      return new AutoBridge(config, families, "standard", () => standardLayout(sizes))
    })
  }
}

/** What opening a model can fail with. */
export type OpenError = ReadError | UsageError
