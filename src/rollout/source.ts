/** What is published: the tensors of a Megatron checkpoint under their Hugging Face names, or those of a Hugging Face directory. */
import { Effect } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import type { DescribedByCheckpoint } from "../convert/exportModel.ts"
import { type ExportRequest, prepareExport, type RunnableExport } from "../convert/prepareExport.ts"
import { shardStates } from "../convert/sourceStates.ts"
import type { SideFile } from "../convert/filesBelow.ts"
import type { TargetArray } from "../engine/index.ts"
import { exportArray } from "../plan/ExportDraft.ts"
import type { SourceState } from "../publish/sources.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { Unsupported } from "../errors.ts"
import { sideFiles } from "../space/HfSource.ts"
import { kindOfPath } from "../space/openSpace.ts"
import { openStoredWeights } from "../space/openStoredWeights.ts"
import { wholeTensor } from "../space/TensorSpace.ts"
import { converting } from "../io/attempt.ts"
import { storedState } from "../store/Store.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"

/** How a Megatron checkpoint becomes Hugging Face tensors. */
export interface SourceRequest {
  /** Directory of the model, or what the checkpoint does not say of itself. */
  readonly model: string | DescribedByCheckpoint
  readonly request: ExportRequest
}

interface Opened {
  readonly path: string
  /** In the order of the model. */
  readonly tensors: ReadonlyMap<string, { readonly dtype: DType; readonly shape: Shape }>
  readonly array: (name: string) => TargetArray
  /** The files that are read. */
  readonly states: ReadonlyArray<SourceState>
  readonly notes: ReadonlyArray<string>
}

export type RolloutSource =
  | (Opened & { readonly kind: "megatron"; readonly prepared: RunnableExport })
  | (Opened & { readonly kind: "hf"; readonly weights: HfTensors; readonly shards: ReadonlyArray<SideFile>; readonly beside: ReadonlyArray<SideFile> })

const hfSource = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeInUse
  const stored = yield* openStoredWeights(path)
  const { safetensors, tensors, warnings } = stored
  if (!safetensors) {
    return yield* new Unsupported({ code: "unsupported/rollout-weights", what: path, problem: "holds pickled weights, which engines are not handed by this tool", hint: "Load it with transformers and write it with save_pretrained(DIR), which writes safetensors." })
  }
  const weighty = new Set(safetensors.shards.map(({ file }) => file))
  const small = (yield* sideFiles(path)).filter(({ name }) => !weighty.has(name))
  const beside = yield* converting(() => Promise.all(small.map(async ({ name, path: own }): Promise<SideFile> => ({ name, path: own, ...storedState(await store.stat(own)) }))))
  return {
    kind: "hf",
    path,
    tensors,
    array: (name) => {
      const tensor = tensors.get(name)!
      return { id: name, dtype: tensor.dtype, shape: tensor.shape, copies: () => wholeTensor(tensor) }
    },
    states: shardStates(stored),
    notes: warnings,
    weights: safetensors,
    shards: safetensors.shards.map(({ file, identity, path: own, size, stamp }) => ({ name: file, path: own, size, identity, stamp })),
    beside
  } satisfies RolloutSource as RolloutSource
})

/** Open a checkpoint of either kind. Headers only. */
export const openSource = Effect.fnUntraced(function*(families: FamilyRegistry, path: string, { model, request }: SourceRequest) {
  const kind = yield* kindOfPath(path)
  if (kind === "safetensors") return yield* hfSource(path)
  const prepared: RunnableExport = yield* prepareExport(families, model, path, request)
  const { plan, report, states } = prepared
  return {
    kind: "megatron",
    path,
    tensors: plan.tensors,
    array: (name) => exportArray(plan, plan.tensors.get(name)!),
    states,
    notes: report.notes,
    prepared
  } satisfies RolloutSource as RolloutSource
})

