/** An export of adapters as an Effect: a PEFT checkpoint of Megatron becomes a directory that `peft` loads. */
import { Effect } from "effect"
import { basename } from "node:path"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type Checkpoint, openCheckpoint } from "../space/Checkpoint.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { produce, type RunOptions } from "../convert/produce.ts"
import { dataFileStates } from "../convert/sourceStates.ts"
import type { TargetArray, TargetFile } from "../engine/index.ts"
import { type JobError, PlanRefused, quote, UsageError } from "../errors.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { isAdapterKey } from "../model/adapterKey.ts"
import { bytesOfTensors } from "../plan/accounting.ts"
import { compileAllowed } from "../plan/match.ts"
import { castTo, type TorchDtype } from "../plan/Options.ts"
import { commit } from "../publish/commit.ts"
import { known, sourceFile } from "../publish/journal/Fingerprint.ts"
import type { AdapterSettings } from "../runconfig/adapterSection.ts"
import { encodeHeader, inLibraryOrder } from "../safetensors/encodeHeader.ts"
import { CONFIG } from "../space/HfSource.ts"
import { recordedSettings, adapterSettingsOf } from "./recordedSettings.ts"
import { isFloat } from "../tensor/DType.ts"
import { type BaseModel, openBase } from "./BaseModel.ts"
import { adapterArray, type AdapterDraft, type AdapterTensor, draftAdapters } from "./exportDraft.ts"
import { type LocatedAdapter, locateAdapters } from "./locate.ts"
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, type PeftConfig, peftConfigBytes } from "./peftConfig.ts"
import { originalConfig, originalOf } from "./original.ts"
import { modulePaths, peftConfigOf } from "./peftSettings.ts"
import { inputAxisOf } from "./inputAxis.ts"
import type { InputAxis } from "./peftPair.ts"
import { sharedInputs } from "./sharedInputs.ts"
import type { SharedOuter } from "./sharedMatrix.ts"
import type { AdapterReport } from "./Report.ts"

export interface AdapterExportRequest {
  readonly torchDtype: TorchDtype
  /** Scale numerator, where no run configuration says it. */
  readonly alpha?: number
  /** Names of Megatron parameters whose adapters stay behind begin with one of these. */
  readonly exclude: ReadonlyArray<string>
  readonly allowUnmapped: ReadonlyArray<string>
  /** How `peft` takes the tensor of a parameter whose module does not say that it is transposed. */
  readonly inputAxis: InputAxis
  /** How matrices are written that all experts share. Default: as the adapter had them that was imported, else for each expert. */
  readonly sharedOuter?: SharedOuter
}

export interface PreparedAdapterExport {
  readonly report: AdapterReport
  readonly config: PeftConfig
  /** What is written, in its order. */
  readonly arrays: ReadonlyArray<TargetArray>
  readonly run: (target: string, options: RunOptions) => Effect.Effect<AdapterReport, JobError, Disk>
}

/** PlanRefused `plan/unmapped` for tensors of adapters that no weight of the model has. */
export const refuseUnclaimed = (unclaimed: ReadonlyArray<string>, checkpoint: Checkpoint, { allowUnmapped, exclude }: Pick<AdapterExportRequest, "allowUnmapped" | "exclude">): void => {
  const allowed = compileAllowed(allowUnmapped)
  const lost = unclaimed.filter((key) => !allowed(key) && !exclude.some((prefix) => key.startsWith(prefix)))
  if (lost.length === 0) return
  throw new PlanRefused({
    code: "plan/unmapped",
    problem: `${lost.length} tensor${lost.length === 1 ? "" : "s"} of adapters in ${quote(checkpoint.directory)} would be lost: the model that config.json describes has no such weights`,
    names: lost,
    hint: "--allow-unmapped PATTERN leaves them behind on purpose (`*` stands for anything)."
  })
}

const noAdapters = ({ directory, tensors }: Checkpoint, excluded: number): PlanRefused =>
  new PlanRefused({
    code: "adapter/none",
    problem: excluded > 0 ? `all ${excluded} adapters in ${quote(directory)} are excluded` : `${quote(directory)} holds no adapters: none of its ${tensors.size} tensors belongs to one`,
    ...(excluded > 0 ? {} : { hint: "`export` writes the weights of a checkpoint without adapters." })
  })

/** What there is to know of the values: rows that have no place, weights beside them. */
const notesOf = (adapters: ReadonlyArray<LocatedAdapter>, checkpoint: Checkpoint): ReadonlyArray<string> => {
  const weights = [...checkpoint.tensors.keys()].filter((key) => !isAdapterKey(key)).length
  const repeated = adapters.filter(({ pair: { factors, slot } }) => slot === undefined && factors.some(({ rows }) => rows.some((strip) => strip.echo)))
  return [
    ...(weights === 0 ? [] : [`${weights} tensors of the checkpoint are no adapters: they are not part of this export`]),
    ...(repeated.length === 0 ? [] : [`${repeated.length} adapters change values that the Hugging Face model takes from keys (${quote(repeated[0]!.output.parameter.name)} …): those rows are left out`])
  ]
}

/** How matrices are written that all experts share. UsageError where there are none and they are asked for. */
const sharedNotes = ({ shared }: AdapterDraft, how: SharedOuter, asked: boolean): ReadonlyArray<string> => {
  if (shared === 0) {
    if (asked && how === "once") throw new UsageError({ problem: "--shared-outer once would do nothing: no matrix is that of all experts of a layer, or experts are packed in one parameter, as `peft` has them" })
    return []
  }
  return [how === "once"
    ? `matrices that all experts of a layer share are written once, under names without an expert's number, as SGLang takes them; peft and vLLM do not read them`
    : `${shared} adapters of experts share a matrix with those of their layer, which is repeated for each; --shared-outer once writes it once, as SGLang takes it`]
}

const weightsFile = (tensors: ReadonlyArray<AdapterTensor>, arrayOf: (tensor: AdapterTensor) => ReturnType<typeof adapterArray>): TargetFile => {
  const { headerBytes } = encodeHeader(tensors, new Map([["format", "pt"]]))
  return {
    name: ADAPTER_WEIGHTS,
    size: headerBytes.byteLength + bytesOfTensors(tensors),
    segments: [{ kind: "bytes", bytes: headerBytes }, ...tensors.map((tensor) => ({ kind: "array" as const, array: arrayOf(tensor), crc: false }))]
  }
}

const summaryOf = (config: PeftConfig, { targets, tensors }: AdapterDraft, form: AdapterSettings["form"]): AdapterReport["adapter"] => ({
  form,
  rank: config.rank,
  alpha: config.alpha,
  dropout: config.dropout,
  matrices: targets.length,
  parameters: Iterator.from(tensors.values()).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
  targetModules: typeof config.targetModules === "string" ? [config.targetModules] : config.targetModules,
  targetParameters: config.targetParameters,
  ranks: Array.from(config.rankPattern, ([module, rank]) => ({ module, rank }))
})

const foundIn = (base: BaseModel, checkpoint: Checkpoint, request: AdapterExportRequest) => {
  const { conversion: { parameters }, form } = base.as(checkpoint.form)
  const found = locateAdapters(parameters, checkpoint)
  const adapters = found.adapters.filter(({ pair }) => !request.exclude.some((prefix) => (pair.base.module.keyPrefix + pair.base.parameter.name).startsWith(prefix)))
  refuseUnclaimed(found.unclaimed, checkpoint, request)
  if (adapters.length === 0) throw noAdapters(checkpoint, found.adapters.length)
  return { adapters, form, parameters }
}

/** The adapters of a checkpoint under the names of `peft`: what each tensor is made of, and the configuration. Reads headers, and what may be shared. */
export const adaptersOf = Effect.fnUntraced(function*(base: BaseModel, checkpoint: Checkpoint, request: AdapterExportRequest) {
  const store = yield* storeInUse
  const recorded = yield* converting(() => recordedSettings(store, checkpoint.directory))
  const { adapters, form, parameters } = yield* converting(() => foundIn(base, checkpoint, request))
  const { notes, original } = yield* originalOf(checkpoint, adapters)
  const sameInputs = yield* sharedInputs(checkpoint, adapters)
  const { config, configBytes, draft, outer, settings } = yield* converting(() => {
    const settings = adapterSettingsOf(recorded, adapters, checkpoint.directory, request.alpha)
    const sharedOuter = request.sharedOuter ?? original?.sharedOuter ?? "repeat"
    const draft = draftAdapters(adapters, checkpoint, {
      sharedOuter,
      inputAxis: inputAxisOf(parameters, request.inputAxis),
      isShared: (tensor) => sameInputs.has(tensor),
      ranksOf: (tensor) => original?.ranks.get(tensor)
    })
    const config = peftConfigOf(settings, draft.targets, modulePaths(parameters, base.stored?.tensors.keys() ?? []), base.config.directory)
    const kept = original && originalConfig(original, draft.targets, settings.alpha)
    return { settings, draft, outer: sharedNotes(draft, sharedOuter, request.sharedOuter !== undefined), ...(kept ? { config: original.config, configBytes: kept } : { config, configBytes: peftConfigBytes(config) }) }
  })
  const stored = yield* converting(() => readChunks(store, draft.chunks))
  return { adapters, form, config, configBytes, draft, settings, stored, notes: [...checkpoint.notes, ...notesOf(adapters, checkpoint), ...notes, ...outer] }
})

/** Plan an export of the adapters at `megatronPath`, for the base model `hfModel` (its config.json is enough). Reads headers only. */
export const prepareAdapterExport = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, megatronPath: string, request: AdapterExportRequest) {
  const store = yield* storeInUse
  const base = yield* openBase(families, hfModel)
  const checkpoint = yield* openCheckpoint(megatronPath)
  const states = yield* converting(() => dataFileStates(store, checkpoint))
  const { adapters, config, configBytes, draft, form, notes, settings, stored } = yield* adaptersOf(base, checkpoint, request)
  const cast = castTo(request.torchDtype)
  const tensors = inLibraryOrder([...draft.tensors.values()].map((tensor) => (cast && isFloat(tensor.dtype) ? { ...tensor, dtype: cast } : tensor)))
  const file = weightsFile(tensors, (tensor) => adapterArray(stored, tensor))
  const report: AdapterReport = {
    direction: "export",
    architecture: base.config.architecture,
    family: base.family.name,
    form,
    source: checkpoint.directory,
    adapter: summaryOf(config, draft, settings.form),
    sourceTensors: new Set(adapters.flatMap(({ input, magnitude, output }) => [input, output, ...(magnitude ? [magnitude] : [])].flatMap(({ parts }) => parts.map(({ part }) => part.key)))).size,
    targetTensors: tensors.length,
    files: [{ name: file.name, bytes: file.size }],
    notes
  }
  const run = (target: string, options: RunOptions) => produce(target, options, {
    files: [file],
    states,
    sums: new StorageSums(stored.storages()),
    folder: "",
    ingredients: [
      known("config.json", base.config.bytes),
      known("the options", JSON.stringify([request, settings])),
      ...states.map((s) => sourceFile(`${basename(s.path)} of the checkpoint`, s))
    ],
    sources: [hfModel, megatronPath],
    report: () => report,
    checksum: options.checksum ?? false
  }, Effect.fnUntraced(function*(publication) {
    yield* uninterruptibly(async () => publication.recorder.write(ADAPTER_CONFIG, configBytes))
    yield* commit(publication, { small: [{ ...known(CONFIG, base.config.bytes), path: base.config.path }] })
  }))
  return { report, config, arrays: tensors.map((tensor) => adapterArray(stored, tensor)), run } satisfies PreparedAdapterExport
})
