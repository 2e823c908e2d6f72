/** What every merge begins with: the base model opened, its adapters loaded, the tensors that they change. */
import { Effect } from "effect"
import type { FamilyRegistry } from "../../bridge/FamilyRegistry.ts"
import type { RunOptions } from "../../convert/produce.ts"
import type { ChangeSources } from "../../convert/ValueChanges.ts"
import { type TargetArray, threadsToCompute } from "../../engine/index.ts"
import { type JobError, InvalidFile, quote } from "../../errors.ts"
import { converting } from "../../io/attempt.ts"
import type { Disk } from "../../io/Disk.ts"
import { known } from "../../publish/journal/Fingerprint.ts"
import { type FilePlace, type TensorSpace, wholeTensor } from "../../space/TensorSpace.ts"
import { type BaseModel, openBase } from "../BaseModel.ts"
import type { InputAxis } from "../peftPair.ts"
import type { MergeOrder } from "./addTerms.ts"
import { changesOf, type ChangedTensor } from "./changes.ts"
import { type AdapterChoice, loadAdapter, type LoadedAdapter } from "./loadAdapter.ts"
import type { MergeReport } from "./Report.ts"

/** Which adapters are merged, and how. */
export interface MergeRequest {
  readonly adapters: ReadonlyArray<AdapterChoice>
  readonly order: MergeOrder
  readonly inputAxis: InputAxis
}

export interface MergeRun extends RunOptions {
  /** Hard links instead of copies of unchanged files, where the file system can. */
  readonly link: boolean
}

export interface PreparedMerge {
  readonly report: MergeReport
  readonly run: (target: string, options: MergeRun) => Effect.Effect<MergeReport, JobError, Disk>
}

/** Facts of a merge that depend on what it is written as. */
type Outcome = Pick<MergeReport, "base" | "driver" | "files" | "notes"> & Partial<Pick<MergeReport, "unchanged" | "requantised">> & {
  /** Tensors of the base, or of the result. */
  readonly tensors: number
  /** Of them, those that change; default: those that the adapters are for. */
  readonly changed?: number
}

/** A base and what becomes of it. */
export interface Merging {
  readonly base: BaseModel
  readonly adapters: ReadonlyArray<LoadedAdapter>
  readonly changes: ReadonlyMap<string, ChangedTensor>
  readonly decided: ChangeSources
  readonly report: (outcome: Outcome) => MergeReport
}

const choicesOf = ({ adapters, inputAxis, order }: MergeRequest) => known("the merge", JSON.stringify([adapters.map(({ alpha, weight }) => [alpha, weight]), order, inputAxis]))

/** Errors: those of an export's --hf-model, and of an adapter for it. */
export const openMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, request: MergeRequest) {
  const base = yield* openBase(families, hfModel)
  const adapters: Array<LoadedAdapter> = []
  for (const choice of request.adapters) adapters.push(yield* loadAdapter(base, choice, request.inputAxis))
  const changes = yield* converting(() => changesOf(base.as("standard").conversion.parameters, adapters, request.order))
  return {
    base,
    adapters,
    changes,
    decided: {
      ingredients: [choicesOf(request), ...adapters.flatMap(({ ingredients }) => ingredients)],
      states: adapters.flatMap(({ states }) => states),
      sources: request.adapters.map(({ path }) => path)
    },
    report: ({ changed = changes.size, tensors, unchanged = [], requantised = [], ...outcome }) => ({
      architecture: base.config.architecture,
      family: base.family.name,
      adapters: adapters.map(({ alpha, dora, path, rank, tensors: own, weight }) => ({ path, rank, alpha, dora, weight, tensors: own.size })),
      order: request.order,
      changed,
      copied: tensors - changed,
      unchanged,
      requantised,
      ...outcome
    })
  } satisfies Merging
})

/** The base's weights as if none were quantised, which have every tensor that an adapter is for. InvalidFile `safetensors/no-weights`, `adapter/module`. */
export const requireWeights = ({ base: { config: { directory }, weights }, changes }: Merging) => {
  if (!weights) throw new InvalidFile({ path: directory, code: "safetensors/no-weights", problem: "holds no weights to merge an adapter into" })
  requireChangedTensors(changes, (name) => weights.tensors.has(name), directory)
  return weights
}

/** InvalidFile `adapter/module` for a tensor that an adapter is for and the base at `path` does not hold. */
export const requireChangedTensors = (changes: ReadonlyMap<string, ChangedTensor>, has: (tensor: string) => boolean, path: string): void => {
  const missing = Iterator.from(changes.keys()).find((tensor) => !has(tensor))
  if (missing !== undefined) throw new InvalidFile({ path, code: "adapter/module", problem: `has no tensor ${quote(missing)}, which an adapter is for` })
}

/** Tensors of a space by their names, as arrays. */
export const arraysOf = ({ tensors }: TensorSpace<FilePlace>) => (name: string): TargetArray => {
  const tensor = tensors.get(name)!
  return { id: name, dtype: tensor.dtype, shape: tensor.shape, copies: () => wholeTensor(tensor) }
}

/** Products keep a core busy beside the one that reads and writes. */
export const computing = <O extends RunOptions>(options: O): O => ({ ...options, threads: options.threads ?? threadsToCompute() })
