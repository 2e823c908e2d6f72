/**
 * The library's front door: one Hugging Face model, and its conversions to and from MegatronMIMO checkpoints, as Effects with
 * typed errors. {@link AutoBridge} is the same for standard (one model, one layout) checkpoints.
 *
 * @example
 * ```ts
 * const program = Effect.gen(function*() {
 *   const bridge = yield* MegatronMimoBridge.fromHfPretrained("./hf", { components: ["language=tp=4", "images=tp=1"] })
 *   console.log((yield* bridge.conversionPlan()).components)
 *   yield* bridge.importCheckpoint("./megatron")
 * })
 * Effect.runPromise(program.pipe(Effect.provide(Disk.layer)))
 * ```
 */
import { Effect, Stream } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type ExportRequest, prepareExport, prepareImport, type RunOptions } from "../convert/convert.ts"
import { openHfConfig } from "../space/HfSource.ts"
import type { Form } from "../mimo/routing.ts"
import type { ConversionReport } from "../plan/Report.ts"
import { verifyHfMegatron, type VerifyOptions, type VerifyReport } from "../verify/verify.ts"
import type { BridgeError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import { attempt } from "../io/attempt.ts"
import { type HfWeight, type HfWeightOptions, hfWeights } from "./hfWeights.ts"
import { type Layout, resolveLayout, standardLayout } from "../parallel/Layout.ts"
import { parseComponent } from "../parallel/ModuleParallelism.ts"
import { type ProcessGroupCollection, processGroups } from "../parallel/ProcessGroups.ts"
import { familiesOf, type StandardSizes, tensorChoices, type TensorChoices, type WithFamilies } from "./requests.ts"

export interface BridgeOptions extends WithFamilies {}

export interface MimoBridgeOptions extends BridgeOptions {
  /** `name=tp=N[,pp=N,dp=N,cp=N,ep=N,etp=N,rank_offset=N]` per component, with the keys of an uneven pipeline; none: every component tp=1, on consecutive ranks. */
  readonly components?: ReadonlyArray<string>
}

export interface StandardBridgeOptions extends BridgeOptions, StandardSizes {}

export interface ImportRequest extends TensorChoices, Partial<RunOptions> {}
export interface ExportOptions extends Partial<ExportRequest>, Partial<RunOptions> {}
export interface WeightStreamOptions extends Partial<ExportRequest>, HfWeightOptions {}

const exportRequest = (options: ExportOptions): ExportRequest => ({ ...options, ...tensorChoices(options) })

class Bridge {
  /** The Hugging Face directory. */
  readonly hfModel: string
  readonly architecture: string
  readonly families: FamilyRegistry
  readonly #form: Form
  readonly #layout: (names: ReadonlyArray<string>) => Layout

  constructor(hfModel: string, architecture: string, families: FamilyRegistry, form: Form, layout: (names: ReadonlyArray<string>) => Layout) {
    this.hfModel = hfModel
    this.architecture = architecture
    this.families = families
    this.#form = form
    this.#layout = layout
  }

  #prepare(request: ImportRequest) {
    return prepareImport(this.families, this.hfModel, { form: this.#form, layout: this.#layout, step: 0, ...tensorChoices(request) })
  }

  /** What {@link importCheckpoint} would do. Reads headers only. */
  conversionPlan(request: ImportRequest = {}): Effect.Effect<ConversionReport, BridgeError, Disk> {
    return this.#prepare(request).pipe(Effect.map(({ plan }) => plan.report))
  }

  /** The resolved layout: which component runs on which ranks. */
  layout(request: ImportRequest = {}): Effect.Effect<Layout, BridgeError, Disk> {
    return this.#prepare(request).pipe(Effect.map(({ plan }) => plan.layout))
  }

  /** The process groups of every component (rank lists), by component name. */
  processGroups(): Effect.Effect<ReadonlyMap<string, ProcessGroupCollection>, BridgeError, Disk> {
    return this.layout().pipe(Effect.map(({ components }) => new Map(components.map((c) => [c.name, processGroups(c.parallelism)]))))
  }

  /** Write the model as a Megatron checkpoint. Atomic: the target is complete or as it was. */
  importCheckpoint(megatronPath: string, request: ImportRequest = {}): Effect.Effect<ConversionReport, BridgeError, Disk> {
    return this.#prepare(request).pipe(Effect.flatMap(({ run }) => run(megatronPath, { overwrite: false, ...request })))
  }

  /** Write a checkpoint of this model, converted or trained, as a Hugging Face directory. */
  exportCheckpoint(megatronPath: string, hfPath: string, options: ExportOptions = {}): Effect.Effect<ConversionReport, BridgeError, Disk> {
    return prepareExport(this.families, this.hfModel, megatronPath, exportRequest(options)).pipe(
      Effect.flatMap(({ run }) => run(hfPath, { overwrite: false, ...options }))
    )
  }

  /**
   * The checkpoint's weights under their Hugging Face names, in the order of the model: every tensor in pieces of bounded size, or
   * whole if asked for. The next piece is assembled when the consumer asks for it.
   */
  streamHfWeights(megatronPath: string, options: WeightStreamOptions = {}): Stream.Stream<HfWeight, BridgeError, Disk> {
    return Stream.unwrap(Effect.map(
      prepareExport(this.families, this.hfModel, megatronPath, exportRequest(options)),
      ({ plan }) => hfWeights(plan, options)
    ))
  }

  /** Compare the model with a checkpoint of it, tensor by tensor. */
  verify(megatronPath: string, options: VerifyOptions = {}): Effect.Effect<VerifyReport, BridgeError, Disk> {
    return verifyHfMegatron(this.families, this.hfModel, megatronPath, options)
  }
}

const open = (hfModel: string, families: FamilyRegistry) =>
  openHfConfig(hfModel).pipe(Effect.tap((config) => attempt(() => families.find(config.json))))

/** MegatronMIMO: every component under a layout of its own. */
export class MegatronMimoBridge extends Bridge {
  static fromHfPretrained(hfModel: string, options: MimoBridgeOptions = {}): Effect.Effect<MegatronMimoBridge, BridgeError, Disk> {
    const families = familiesOf(options)
    return Effect.gen(function*() {
      const specs = yield* attempt(() => (options.components ?? []).map(parseComponent))
      const config = yield* open(hfModel, families)
      return new MegatronMimoBridge(hfModel, config.architecture, families, "mimo", (names) => resolveLayout(specs, names))
    })
  }
}

/** Standard Megatron checkpoints: one model, one layout. */
export class AutoBridge extends Bridge {
  static fromHfPretrained(hfModel: string, options: StandardBridgeOptions = {}): Effect.Effect<AutoBridge, BridgeError, Disk> {
    const { families: _, ...sizes } = options
    const families = familiesOf(options)
    return Effect.gen(function*() {
      const config = yield* open(hfModel, families)
      return new AutoBridge(hfModel, config.architecture, families, "standard", () => standardLayout(sizes))
    })
  }
}
