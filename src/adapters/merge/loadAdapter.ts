/** An adapter to be merged, of either world, in memory: a directory of `peft`, or a PEFT checkpoint of Megatron. The base model never is. */
import { Effect, Stream } from "effect"
import { basename } from "node:path"
import type { BaseModel } from "../BaseModel.ts"
import { openCheckpoint } from "../../space/Checkpoint.ts"
import { readChunks } from "../../checkpoint/StoredArrays.ts"
import { dataFileStates, shardIngredients, shardStates } from "../../convert/sourceStates.ts"
import { stream, type TargetArray } from "../../engine/index.ts"
import { UsageError } from "../../errors.ts"
import { converting } from "../../io/attempt.ts"
import { type Ingredient, known, sourceFile } from "../../publish/journal/Fingerprint.ts"
import type { SourceState } from "../../publish/sources.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { wholeTensor } from "../../space/TensorSpace.ts"
import { bytesOf } from "../../tensor/DType.ts"
import { volume } from "../../tensor/Copy.ts"
import { bindPeft, matricesOf } from "../bindPeft.ts"
import { adapterArray, draftAdapters } from "../exportDraft.ts"
import type { HfMatrix } from "../factors.ts"
import { inputAxisOf } from "../inputAxis.ts"
import { locateAdapters } from "../locate.ts"
import { openPeft } from "../PeftDirectory.ts"
import { ADAPTER_CONFIG } from "../peftConfig.ts"
import { parameterPrefixes, peftPair, type PeftPair, PREFIX } from "../peftPair.ts"
import { recordedSettings, adapterSettingsOf } from "../recordedSettings.ts"
import { refuseUnclaimed } from "../prepareExport.ts"
import type { InputAxis } from "../peftPair.ts"
import { sharedBytes, termOf, type MergeTerm, type Value } from "./Term.ts"

/** Which adapter, and how much of it. */
export interface AdapterChoice {
  readonly path: string
  /** What its change is multiplied by besides its own scale. */
  readonly weight: number
  /** Where no run configuration says it. */
  readonly alpha?: number
}

export interface LoadedAdapter {
  readonly path: string
  readonly weight: number
  readonly rank: number
  readonly alpha: number
  readonly dora: boolean
  /** HF tensors that it changes. */
  readonly tensors: ReadonlySet<string>
  /** The change of one matrix. */
  readonly termOf: (matrix: HfMatrix) => MergeTerm | undefined
  /** What was read, as it then was. */
  readonly states: ReadonlyArray<SourceState>
  readonly ingredients: ReadonlyArray<Ingredient>
}

interface Target {
  readonly rank: number
  readonly scale: number
  readonly pairOf: (matrix: HfMatrix) => PeftPair
}

/** All values of arrays, in memory. */
const valuesOf = Effect.fnUntraced(function*(arrays: ReadonlyArray<TargetArray>) {
  const values = new Map<string, Value & { readonly bytes: Uint8Array }>()
  for (const { dtype, id, shape } of arrays) values.set(id, { dtype, shape, bytes: sharedBytes(volume(shape) * bytesOf(dtype)) })
  yield* stream(arrays, { lend: true }).pipe(Stream.runForEach(({ array, bytes, offset }) => Effect.sync(() => values.get(array.id)!.bytes.set(bytes, offset))))
  return values as ReadonlyMap<string, Value>
})

const loaded = (
  { path, weight }: AdapterChoice,
  facts: Pick<LoadedAdapter, "rank" | "alpha" | "dora" | "states" | "ingredients">,
  targets: ReadonlyMap<string, Target>,
  values: ReadonlyMap<string, Value>
): LoadedAdapter => ({
  path,
  weight,
  ...facts,
  tensors: new Set(targets.keys()),
  termOf: (matrix) => {
    const target = targets.get(matrix.tensor)
    return target && termOf(values, matrix, target.pairOf(matrix), target.rank, target.scale * weight)
  }
})

const loadPeft = Effect.fnUntraced(function*(base: BaseModel, choice: AdapterChoice, inputAxis: InputAxis) {
  const peft = yield* openPeft(choice.path)
  const { conversion: { parameters } } = base.as("standard")
  const bound = yield* converting(() => bindPeft(peft, matricesOf(parameters), inputAxisOf(parameters, inputAxis)))
  const values = yield* valuesOf([...peft.weights.tensors.values()].map(({ dtype, name, shape }): TargetArray => ({ id: name, dtype, shape, copies: () => wholeTensor(peft.weights.tensors.get(name)!) })))
  const { config: { alpha, dora, rank } } = peft
  return loaded(choice, { rank, alpha, dora, states: shardStates(peft.weights), ingredients: [known(ADAPTER_CONFIG, peft.configBytes), ...shardIngredients(peft.weights, "an adapter")] }, bound, values)
})

const loadMegatron = Effect.fnUntraced(function*(base: BaseModel, choice: AdapterChoice, inputAxis: InputAxis) {
  const store = yield* storeInUse
  const checkpoint = yield* openCheckpoint(choice.path)
  const states = yield* converting(() => dataFileStates(store, checkpoint))
  const recorded = yield* converting(() => recordedSettings(store, checkpoint.directory))
  const { draft, settings, targets } = yield* converting(() => {
    const { conversion: { parameters } } = base.as(checkpoint.form)
    const { adapters, unclaimed } = locateAdapters(parameters, checkpoint)
    refuseUnclaimed(unclaimed, checkpoint, { allowUnmapped: [], exclude: [] })
    const settings = adapterSettingsOf(recorded, adapters, checkpoint.directory, choice.alpha)
    const axisOf = inputAxisOf(parameters, inputAxis)
    const draft = draftAdapters(adapters, checkpoint, { inputAxis: axisOf, isShared: () => false, ranksOf: () => undefined, sharedOuter: "repeat" })
    const prefixes = parameterPrefixes(draft.targets.flatMap(({ kind, path }) => (kind === "parameter" ? [path] : [])))
    const targets = new Map(draft.targets.map(({ kind, path, rank, storedRank, tensor }): readonly [string, Target] => [tensor, {
      rank,
      scale: settings.alpha / storedRank,
      pairOf: (matrix) => peftPair(matrix, kind === "module" ? PREFIX + path : prefixes.get(path)!, rank, axisOf(tensor))
    }]))
    return { draft, settings, targets }
  })
  const stored = yield* converting(() => readChunks(store, draft.chunks))
  const values = yield* valuesOf([...draft.tensors.values()].map((tensor) => adapterArray(stored, tensor)))
  return loaded(choice, { rank: settings.rank, alpha: settings.alpha, dora: settings.form === "dora", states, ingredients: states.map((s) => sourceFile(`${basename(s.path)} of an adapter`, s)) }, targets, values)
})

/** Load an adapter for a base model. Errors: those of an import or an export of it; UsageError `usage/alpha`. */
export const loadAdapter = Effect.fnUntraced(function*(base: BaseModel, choice: AdapterChoice, inputAxis: InputAxis) {
  if (!Number.isFinite(choice.weight)) return yield* new UsageError({ problem: `${choice.weight} is no weight of an adapter` })
  const store = yield* storeInUse
  const isPeft = yield* converting(async () => (await store.stat(choice.path)).kind === "directory" && (await store.list(choice.path)).includes(ADAPTER_CONFIG))
  return yield* isPeft ? loadPeft(base, choice, inputAxis) : loadMegatron(base, choice, inputAxis)
})
