/**
 * A merge as an Effect: a base model's directory with the changes of adapters added. Tensors that no adapter changes are copied; files in
 * which nothing changes are linked, or copied whole.
 */
import { Effect } from "effect"
import { basename } from "node:path"
import type { FamilyRegistry } from "../../bridge/FamilyRegistry.ts"
import { currentWorld } from "../../cluster/single.ts"
import { prepareExport } from "../../convert/prepareExport.ts"
import { prepareImport } from "../../convert/prepareImport.ts"
import { produce, type RunOptions } from "../../convert/produce.ts"
import { copySmall, smallSources } from "../../convert/smallFiles.ts"
import { shardIngredients, shardStates } from "../../convert/sourceStates.ts"
import { forecastOf, placeUnchanged, sizeOf, type UnchangedFiles } from "../../convert/unchanged.ts"
import { type TargetFile, threadsToCompute, wholeFile } from "../../engine/index.ts"
import { type BridgeError, InvalidFile, quote, Unsupported } from "../../errors.ts"
import { converting, uninterruptibly } from "../../io/attempt.ts"
import { Disk } from "../../io/Disk.ts"
import type { ImportOptions } from "../../plan/ImportPlan.ts"
import type { ConversionReport } from "../../plan/Report.ts"
import { commit } from "../../publish/commit.ts"
import type { Publication } from "../../publish/Publication.ts"
import { known } from "../../publish/journal/Fingerprint.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { besideModel } from "../../space/besideModel.ts"
import { sideFiles } from "../../space/HfSource.ts"
import type { HfTensors } from "../../safetensors/SafetensorsDirectory.ts"
import type { StoredWeights } from "../../space/StoredWeights.ts"
import { wholeTensor } from "../../space/TensorSpace.ts"
import { type BaseModel, openBase } from "../BaseModel.ts"
import type { InputAxis } from "../peftPair.ts"
import type { MergeOrder } from "./addTerms.ts"
import { changingChunks } from "./changedChunk.ts"
import { type Changing, changesOf, type ChangedTensor, changing } from "./changes.ts"
import { type AdapterChoice, loadAdapter, type LoadedAdapter } from "./loadAdapter.ts"
import type { MergeReport } from "./Report.ts"

export interface MergeRequest {
  readonly adapters: ReadonlyArray<AdapterChoice>
  readonly order: MergeOrder
  readonly inputAxis: InputAxis
}

/** A merge into a base that is a Megatron checkpoint. */
export interface CheckpointMergeRequest extends MergeRequest {
  /** The base's weights. */
  readonly pretrained: string
}

export interface MergeRun extends RunOptions {
  /** Hard links instead of copies of unchanged files, where the file system can. */
  readonly link: boolean
}

export interface PreparedMerge {
  readonly report: MergeReport
  readonly run: (target: string, options: MergeRun) => Effect.Effect<MergeReport, BridgeError, Disk>
}

/** Adding to codes would change their scales, and with them values that no adapter changes. */
const refuseQuantised = ({ weights }: BaseModel, changes: ReadonlyMap<string, ChangedTensor>): void => {
  const quantised = [...changes.keys()].find((tensor) => weights?.quantized.has(tensor))
  if (quantised === undefined) return
  throw new Unsupported({
    code: "unsupported/quantised",
    what: quantised,
    problem: "is quantised, and an adapter is added to values: what was read from codes would have to be rounded to codes again",
    hint: "Import the base and export it without --restore-quantized, which writes values; then merge into that. Or serve the adapter beside the quantised base."
  })
}

const arrayOf = ({ tensors }: StoredWeights) => (name: string) => {
  const { dtype, shape } = tensors.get(name)!
  return { id: name, dtype, shape, copies: () => wholeTensor(tensors.get(name)!) }
}

/** The files of the base in which something changes. */
const filesOf = ({ shards }: HfTensors, changes: ReadonlyMap<string, ChangedTensor>, array: ReturnType<typeof arrayOf>, { changed }: Changing) => {
  const [made, kept]: [Array<TargetFile>, Array<(typeof shards)[number]>] = [[], []]
  for (const shard of shards) {
    if (!shard.tensors.some(({ name }) => changes.has(name))) kept.push(shard)
    else {
      made.push({
        name: shard.file,
        size: shard.size,
        segments: [
          { kind: "bytes", bytes: shard.headerBytes },
          ...shard.tensors.map(({ name }) => ({ kind: "array" as const, array: changed(array(name)), crc: false }))
        ]
      })
    }
  }
  return { made, kept }
}

const requireWeights = ({ config, stored }: BaseModel) => {
  if (stored?.safetensors) return { stored, safetensors: stored.safetensors }
  if (stored) {
    throw new Unsupported({
      code: "unsupported/adapter",
      what: config.directory,
      problem: "holds its weights as pickles; a merge keeps the files of the base as they are, and writes safetensors",
      hint: "Import the base and export it, which writes safetensors; then merge into that."
    })
  }
  throw new InvalidFile({ path: config.directory, code: "safetensors/no-weights", problem: "holds no weights to merge an adapter into" })
}

/** Tensors that an adapter is for and the base does not hold. */
const refuseMissing = ({ config, stored }: BaseModel, changes: ReadonlyMap<string, ChangedTensor>): void => {
  const missing = [...changes.keys()].find((tensor) => !stored!.tensors.has(tensor))
  if (missing !== undefined) throw new InvalidFile({ path: config.directory, code: "adapter/module", problem: `has no tensor ${quote(missing)}, which an adapter is for` })
}

const loadAll = Effect.fnUntraced(function*(base: BaseModel, { adapters: choices, inputAxis }: MergeRequest) {
  const adapters: Array<LoadedAdapter> = []
  for (const choice of choices) adapters.push(yield* loadAdapter(base, choice, inputAxis))
  return adapters
})

/** Products keep a core busy beside the one that reads and writes. */
const computing = <O extends RunOptions>(options: O): O => ({ ...options, threads: options.threads ?? threadsToCompute() })

const optionsOf = ({ adapters, inputAxis, order }: MergeRequest) => known("the merge", JSON.stringify([adapters.map(({ alpha, weight }) => [alpha, weight]), order, inputAxis]))

const summaries = (adapters: ReadonlyArray<LoadedAdapter>): MergeReport["adapters"] =>
  adapters.map(({ alpha, dora, path, rank, tensors, weight }) => ({ path, rank, alpha, dora, weight, tensors: tensors.size }))

/** Plan a merge into the weights of the Megatron checkpoint `pretrained`: an export of it on whose way the changes are added. */
export const prepareCheckpointMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, { pretrained, ...request }: CheckpointMergeRequest) {
  const base = yield* openBase(families, hfModel)
  const adapters = yield* loadAll(base, request)
  const changes = yield* converting(() => changesOf(base.as("standard").conversion.parameters, adapters, request.order))
  let driver = ""
  const exported = yield* prepareExport(families, hfModel, pretrained, {
    torchDtype: "source",
    mtp: "keep",
    allowUnmapped: [],
    changes: {
      of: (array) => Effect.map(changing(changes, array), (how) => {
        driver = how.driver
        return how.changed
      }),
      ingredients: [optionsOf(request), ...adapters.flatMap((adapter) => adapter.ingredients)],
      states: adapters.flatMap((adapter) => adapter.states),
      sources: request.adapters.map(({ path }) => path)
    }
  })
  const reportOf = ({ files, notes, source, targetTensors }: ConversionReport): MergeReport => ({
    architecture: base.config.architecture,
    family: base.family.name,
    base: source,
    adapters: summaries(adapters),
    order: request.order,
    driver,
    changed: changes.size,
    copied: targetTensors - changes.size,
    files,
    unchanged: [],
    notes
  })
  const run = (target: string, options: MergeRun) => Effect.map(exported.run(target, computing(options)), reportOf)
  return { report: reportOf(exported.report), run } satisfies PreparedMerge
})

/** A merge whose result is a Megatron checkpoint. */
export interface MegatronMergeRequest extends MergeRequest, Pick<ImportOptions, "form" | "layout"> {}

/** Plan a merge of the directory `hfModel` that is written as a Megatron checkpoint: an import on whose way the changes are added. */
export const prepareMegatronMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, { form, layout, ...request }: MegatronMergeRequest) {
  const base = yield* openBase(families, hfModel)
  const { stored } = yield* converting(() => requireWeights(base))
  const adapters = yield* loadAll(base, request)
  const changes = yield* converting(() => {
    const found = changesOf(base.as("standard").conversion.parameters, adapters, request.order)
    refuseQuantised(base, found)
    refuseMissing(base, found)
    return found
  })
  const how = yield* changing(changes, arrayOf(stored))
  const { plan, run: runImport } = yield* prepareImport(families, hfModel, {
    form,
    layout,
    torchDtype: "source",
    mtp: "keep",
    allowUnmapped: [],
    step: 0,
    changes: { chunk: changingChunks(changes, how, (tensor) => stored.tensors.get(tensor)!.dtype), kept: how.changed },
    changing: {
      ingredients: [optionsOf(request), ...adapters.flatMap((adapter) => adapter.ingredients)],
      states: adapters.flatMap((adapter) => adapter.states),
      sources: request.adapters.map(({ path }) => path)
    }
  })
  const reportOf = ({ files, notes, source, sourceTensors }: ConversionReport): MergeReport => ({
    architecture: base.config.architecture,
    family: base.family.name,
    base: source,
    adapters: summaries(adapters),
    order: request.order,
    driver: how.driver,
    changed: changes.size,
    copied: sourceTensors - changes.size,
    files,
    unchanged: [],
    notes
  })
  const run = (target: string, options: MergeRun) => Effect.map(runImport(target, options), reportOf)
  return { report: reportOf(plan.report), run } satisfies PreparedMerge
})

/** Plan a merge into the weights of the directory `hfModel`. The adapters are read, and of the base headers only (with DoRA, what it changes). */
export const prepareMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, request: MergeRequest) {
  const disk = yield* Disk
  const store = yield* storeInUse
  const base = yield* openBase(families, hfModel)
  const { safetensors, stored } = yield* converting(() => requireWeights(base))
  const { copied: side } = yield* besideModel(safetensors)
  const adapters = yield* loadAll(base, request)
  const changes = yield* converting(() => {
    const found = changesOf(base.as("standard").conversion.parameters, adapters, request.order)
    refuseQuantised(base, found)
    refuseMissing(base, found)
    return found
  })
  const array = arrayOf(stored)
  const how = yield* changing(changes, array)
  const { kept, made } = yield* converting(() => filesOf(safetensors, changes, array, how))
  const beside = [...kept, ...side].map(({ file, identity, path, size, stamp }) => ({ name: file, path, size, identity, stamp }))
  const report: MergeReport = {
    architecture: base.config.architecture,
    family: base.family.name,
    base: stored.directory,
    adapters: summaries(adapters),
    order: request.order,
    driver: how.driver,
    changed: changes.size,
    copied: stored.tensors.size - changes.size,
    files: made.map(({ name, size }) => ({ name, bytes: size })),
    unchanged: kept.map(({ file }) => file),
    notes: stored.warnings
  }
  const unchanged: UnchangedFiles = { directory: stored.directory, files: beside, others: sizeOf(made) }
  const states = [...shardStates(stored), ...side, ...adapters.flatMap((adapter) => adapter.states)]

  const run = Effect.fnUntraced(function*(target: string, { link, ...options }: MergeRun) {
    const small = yield* sideFiles(hfModel)
    const sources = yield* converting(() => smallSources(store, small))
    const expected = yield* forecastOf(disk, unchanged, target, link)
    const { size: processes } = yield* currentWorld
    return yield* produce(target, computing(options), {
      files: [...beside.map(wholeFile), ...made],
      states,
      // Several processes have agreed on the files that they write.
      ...(processes > 1 ? {} : {
        place: Effect.fnUntraced(function*(publication: Publication) {
          const { left } = yield* placeUnchanged(disk, publication, unchanged, { expected, link })
          return { files: [...left.map(wholeFile), ...made], states }
        })
      }),
      folder: "",
      ingredients: [
        optionsOf(request),
        known("--link", String(link)),
        ...shardIngredients(stored, "the base model"),
        ...adapters.flatMap((adapter) => adapter.ingredients),
        ...sources
      ],
      sources: [hfModel, ...request.adapters.map(({ path }) => path)],
      size: expected.bytes,
      report: () => ({ ...report, notes: [...report.notes, ...expected.notes] }),
      checksum: options.checksum ?? false
    }, Effect.fnUntraced(function*(publication) {
      yield* uninterruptibly(async () => {
        await copySmall(store, small, publication.recorder)
        // The same tensors are in the same files.
        if (safetensors.indexFile !== undefined && safetensors.indexBytes) await publication.recorder.write(basename(safetensors.indexFile), safetensors.indexBytes)
      })
      yield* commit(publication, { small: sources })
    }))
  })
  return { report, run } satisfies PreparedMerge
})
