/**
 * The bridge that reinforcement learning frameworks know, on files: no model is built, so where theirs hands out modules and tensors this one
 * gives the table of parameters, and streams of bytes. Promises and loops; the same as Effects are {@link prepareWeightStream},
 * {@link streamRankWeights}, {@link weightTasks}.
 */
import { Effect, Stream } from "effect"
import { families as allFamilies } from "../../../routes/index.ts"
import type { Family } from "../../bridge/Family.ts"
import type { FamilyRegistry } from "../../bridge/FamilyRegistry.ts"
import type { AdapterReport } from "../../adapters/Report.ts"
import type { RunOptions } from "../../convert/produce.ts"
import { UsageError } from "../../errors.ts"
import { checking, toAsyncIterable, toPromise } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import type { ConversionReport } from "../../plan/Report.ts"
import type { Provider } from "../../runconfig/Provider.ts"
import { openHfConfig } from "../../space/HfSource.ts"
import { kindOfPath } from "../../space/openSpace.ts"
import type { WeightBucket } from "../../weights/bucketStream.ts"
import { type BridgeType, bridgeTypes, CONVENTIONS } from "../../weights/conventions.ts"
import { type HfWeight, type HfWeightOptions, hfWeights } from "../../weights/pieces.ts"
import type { WeightConversionTask } from "../../weights/tasks.ts"
import { type AdapterExportOptions, exportAdapter, prepareAdapterExport } from "../adapters.ts"
import { modelPath, prepareExport, prepareImport } from "../conversions.ts"
import type { Watched } from "../progress.ts"
import { type Abortable } from "../promises.ts"
import { reshard, type ReshardReport } from "../reshard.ts"
import { familiesOf } from "../requests.ts"
import { describeWeights, type TableHook, weightTasks, type WeightLayout } from "./model.ts"
import { type MegatronWeight, type RankWeightChoice, streamRankWeights } from "./rank.ts"
import { SPELLINGS, spell, type Spelled, STATIC_SPELLINGS } from "./spellings.ts"
import { type BucketChoice, type PreparedWeightStream, prepareWeightStream, type WeightStreamChoice } from "./stream.ts"

/** Formats that weights are loaded from and saved in. */
export const weightFormats = ["hf", "dist_ckpt"] as const
/** A Hugging Face directory, or a Megatron checkpoint. */
export type WeightFormat = (typeof weightFormats)[number]

/** Where weights come from. */
export interface WeightPlace {
  readonly format: WeightFormat
  /** Default, of `hf`: the model's own directory. */
  readonly path?: string
}

/** Whose conventions a bridge has, what it reads and what it writes. */
export interface WeightBridgeOptions extends WeightLayout, Pick<WeightStreamChoice, "torchDtype" | "mtp" | "allowUnmapped"> {
  /** Order and packing of streams. Default `megatron-bridge`. */
  readonly bridgeType?: BridgeType
  /** What is loaded and streamed. Default: the model's own directory. */
  readonly load?: WeightPlace
  /** What `save` writes. Default: what `load` is not. */
  readonly save?: { readonly format: WeightFormat }
  /** Branch, tag or commit of a model that is named by its Hub id. */
  readonly revision?: string
}

type Streaming = Omit<WeightStreamChoice, keyof WeightBridgeOptions> & Abortable

const run = <A, E>(effect: Effect.Effect<A, E, Disk>, { signal }: Abortable = {}): Promise<A> => toPromise(Effect.provide(effect, Disk.layer), signal)
const loop = <A, E>(stream: Stream.Stream<A, E, Disk>, { signal }: Abortable): AsyncIterable<A> => {
  const provided = Stream.provide(stream, Disk.layer)
  return toAsyncIterable(provided, signal)
}

const oneOf = <T extends string>(what: string, given: T, known: ReadonlyArray<T>): T => {
  if (known.includes(given)) return given
  throw new UsageError({ problem: `${String(given)} is no ${what} that is known here`, hint: `${what} is ${known.join(" or ")}.` })
}

/** What options say, held against one another. */
const settled = (hfModel: string, { bridgeType = "megatron-bridge", load = { format: "hf" }, save }: WeightBridgeOptions) => {
  oneOf("bridgeType", bridgeType, bridgeTypes)
  oneOf("load.format", load.format, weightFormats)
  if (load.format === "dist_ckpt" && load.path === undefined) throw new UsageError({ problem: "load.format dist_ckpt, and no load.path that names the checkpoint" })
  const written = save === undefined ? (load.format === "hf" ? "dist_ckpt" : "hf") : oneOf("save.format", save.format, weightFormats)
  if (load.format === "hf" && written === "hf") {
    throw new UsageError({ problem: "load.format and save.format are both hf: what would be saved is there already", hint: "load.format dist_ckpt names a checkpoint; adapters are merged by `adapter merge`." })
  }
  return { bridgeType, load: { format: load.format, path: load.path ?? hfModel }, save: written }
}

/** The families that {@link WeightBridge.registerFamily} has added to. */
let registered: FamilyRegistry = allFamilies

/** One model, with the conventions of one bridge. */
class Base {
  readonly hfModel: string
  readonly bridgeType: BridgeType
  readonly load: Required<WeightPlace>
  readonly saveFormat: WeightFormat
  /** The model's directory, and its config.json. */
  readonly source: { readonly path: string; readonly config: unknown }
  /** Fields of the trainer's model configuration. */
  readonly transformerConfig: Provider["fields"]
  readonly #options: WeightBridgeOptions
  readonly #before: Array<TableHook> = []
  readonly #after: Array<TableHook> = []

  private constructor(hfModel: string, config: unknown, transformerConfig: Provider["fields"], options: WeightBridgeOptions) {
    const { bridgeType, load, save } = settled(hfModel, options)
    this.hfModel = hfModel
    this.source = { path: hfModel, config }
    this.transformerConfig = transformerConfig
    this.#options = options
    this.bridgeType = bridgeType
    this.load = load
    this.saveFormat = save
  }

  /**
   * Open a model: a directory with config.json, with or without weights, or the Hub id of one in the Hub's cache.
   *
   * @throws UsageError for formats that do not go together; Unsupported for a model of no known family
   */
  static open(hfModel: string, options: WeightBridgeOptions & Abortable = {}): Promise<WeightBridge> {
    const asked = { ...options, families: options.families ?? registered }
    return run(Effect.gen(function*() {
      const directory = yield* modelPath(hfModel, options.revision)
      const { load } = yield* checking(() => settled(directory, options))
      if (options.load !== undefined) {
        const found = (yield* kindOfPath(load.path)) === "megatron" ? "dist_ckpt" : "hf"
        if (found !== load.format) return yield* new UsageError({ problem: `load.format is ${load.format}, and ${load.path} is ${found === "hf" ? "a Hugging Face directory" : "a Megatron checkpoint"}` })
      }
      const { config, description } = yield* describeWeights(directory, asked)
      return new Base(directory, config.json, description.provider.fields, asked) as WeightBridge
    }), options)
  }

  /** Add a family for bridges that are opened from now on. */
  static registerFamily(family: Family): void {
    registered = registered.with(family)
  }

  /** Architectures of the families that are known. */
  static listSupportedModels(): ReadonlyArray<string> {
    return registered.architectures
  }

  /** Is the architecture of this parsed config.json known? */
  static supports(config: unknown): boolean {
    try {
      return registered.find(config) !== undefined
    } catch {
      return false
    }
  }

  /** The same of a directory. */
  static canHandle(hfModel: string): Promise<boolean> {
    return run(Effect.gen(function*() {
      return Base.supports((yield* openHfConfig(yield* modelPath(hfModel))).json)
    }).pipe(Effect.catch(() => Effect.succeed(false))))
  }

  /** The parsed config.json. */
  get hfConfig(): unknown {
    return this.source.config
  }

  /** What config.json says that weights are: `bfloat16` and so on. */
  get dtype(): string | undefined {
    const { dtype, torch_dtype: older } = this.source.config as { readonly dtype?: unknown; readonly torch_dtype?: unknown }
    return [dtype, older].find((name) => typeof name === "string")
  }

  /** The same model with other options; hooks come along. */
  async withOverrides(changes: WeightBridgeOptions): Promise<WeightBridge> {
    const other = await Base.open(this.hfModel, { ...this.#options, ...changes })
    for (const hook of this.#before) other.registerPreWrapHook(hook)
    for (const hook of this.#after) other.registerPostWrapHook(hook)
    return other
  }

  /** Change the table of parameters, before the hooks that see a model behind its wrappers. */
  registerPreWrapHook(hook: TableHook): void {
    this.#before.push(hook)
  }

  /** Change the table of parameters, after the others. */
  registerPostWrapHook(hook: TableHook): void {
    this.#after.push(hook)
  }

  /** Every Megatron parameter: what it is made of, which rank has it, whether it trains. */
  parameterTable(options: Abortable = {}): Promise<ReadonlyArray<WeightConversionTask>> {
    return run(weightTasks(this.hfModel, this.#request()), options)
  }

  /** Plan a stream: what will come, in order. */
  weightPlan(request: Streaming = {}): Promise<PreparedWeightStream> {
    return run(this.#prepared(request), request)
  }

  /** Weights under their Hugging Face names, in the order of the bridge; tensors come whole unless pieces are asked for. */
  streamWeights(request: Streaming & HfWeightOptions & Watched = {}): AsyncIterable<HfWeight> {
    const { pieces = "whole", ...rest } = request
    return loop(Stream.unwrap(Effect.map(this.#prepared(rest), (prepared) => prepared.tensors({ ...rest, pieces }))), request)
  }

  /** The same packed into buckets, of the size and by the rule of the bridge unless others are asked for. */
  streamBuckets(request: Streaming & BucketChoice & Watched = {}): AsyncIterable<WeightBucket> {
    return loop(Stream.unwrap(Effect.map(this.#prepared(request), (prepared) => prepared.buckets(request))), request)
  }

  /** What a global rank holds, under its Megatron names: its own boxes alone are read, in pieces. */
  loadRankWeights(rank: number, request: Pick<RankWeightChoice, "loadRoute" | "onProgress"> & Abortable = {}): AsyncIterable<MegatronWeight> {
    return loop(streamRankWeights(this.hfModel, this.load.path, rank, { ...this.#request(), ...request }), request)
  }

  /** Write what is loaded in the other format; a checkpoint under another layout, where both formats are `dist_ckpt`. Atomic. */
  save(path: string, options: Partial<RunOptions> & Abortable = {}): Promise<ConversionReport | ReshardReport> {
    const request = this.#request()
    const { ep, etp, pipeline, pp, tp } = request
    const sizes = Object.fromEntries(Object.entries({ tp, pp, ep, etp, pipeline, components: request.components }).filter(([, value]) => value !== undefined))
    if (this.load.format === "hf") return run(Effect.flatMap(prepareImport(this.load.path, request), (prepared) => prepared.run(path, options)), options)
    if (this.saveFormat === "dist_ckpt") return run(reshard(this.load.path, path, sizes), options)
    const { components: _, ...tensors } = request
    return run(Effect.flatMap(prepareExport(this.hfModel, this.load.path, tensors), (prepared) => prepared.run(path, options)), options)
  }

  /** Tensors of the checkpoint's adapters under the names of `peft`. */
  exportAdapterWeights(request: AdapterExportOptions & HfWeightOptions & Abortable = {}): AsyncIterable<HfWeight> {
    return loop(Stream.unwrap(Effect.map(this.#adapters(request), ({ arrays }) => hfWeights(arrays, { pieces: "whole", ...request }))), request)
  }

  /** Write the checkpoint's adapters as a directory that `peft` loads. Atomic. */
  saveHfAdapter(path: string, options: AdapterExportOptions & Partial<RunOptions> & Abortable = {}): Promise<AdapterReport> {
    return run(Effect.andThen(this.#adapters(options), exportAdapter(this.hfModel, this.load.path, path, { families: familiesOf(this.#options), ...options })), options)
  }

  /** The configuration of the checkpoint's adapters, as `peft` has it. */
  peft(options: AdapterExportOptions & Abortable = {}): Promise<Awaited<ReturnType<typeof configOf>>> {
    return run(Effect.map(this.#adapters(options), configOf), options)
  }

  #request(): Omit<WeightBridgeOptions, "load" | "save"> {
    const { load: _, save: __, ...request } = this.#options
    return { ...request, bridgeType: this.bridgeType, hooks: [...request.hooks ?? [], ...this.#before, ...this.#after] }
  }

  #prepared(request: Streaming) {
    return prepareWeightStream(this.hfModel, this.load.path, { ...this.#request(), ...request })
  }

  #adapters(options: AdapterExportOptions) {
    if (!CONVENTIONS[this.bridgeType].adapters) return Effect.fail(new UsageError({ problem: `${this.bridgeType} has no adapters`, hint: "bridgeType megatron-bridge has." }))
    if (this.load.format !== "dist_ckpt") return Effect.fail(new UsageError({ problem: "adapters are those of a Megatron checkpoint, and load.format is hf", hint: "load: { format: \"dist_ckpt\", path } names it." }))
    return prepareAdapterExport(this.hfModel, this.load.path, { families: familiesOf(this.#options), ...options })
  }
}

const configOf = ({ config }: Effect.Success<ReturnType<typeof prepareAdapterExport>>) => config

spell(Base.prototype, SPELLINGS)
spell(Base, STATIC_SPELLINGS)

/** A bridge under all its names: {@link SPELLINGS} are the others. */
export type WeightBridge = Base & Spelled<typeof SPELLINGS, Base>
export const WeightBridge = Base as unknown as Omit<typeof Base, "prototype"> & Spelled<typeof STATIC_SPELLINGS, typeof Base>
