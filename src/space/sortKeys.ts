/**
 * The keys of an index put into the form that mapping rows know: roles apart, wrappers' prefixes removed, norms under one of the names
 * that trainers give them. Pure.
 */
import { COMMON_STATE } from "../checkpoint/names.ts"
import { positioned } from "../document/position.ts"
import { InvalidFile, quote } from "../errors.ts"
import { layerSpecNames } from "../model/layerSpec.ts"
import { HF_SOURCE, isTraining, isTrainingRole, roleOf, unwrapKey } from "../model/storedKey.ts"
import type { DcpMetadata, StoredObject } from "../torch/DcpMetadata.ts"
import { type ItemsPlace, itemsTensor, type SpaceTensor, type TensorSpace } from "./TensorSpace.ts"

/** What the entries of an index are, by their keys alone. */
export interface SortedKeys extends TensorSpace<ItemsPlace> {
  /** Model tensors by their key without a wrapper's prefix, norms by Transformer Engine's names. */
  readonly tensors: ReadonlyMap<string, SpaceTensor<ItemsPlace>>
  /** Bytes of HF tensors that travel beside the model, by HF name; their own names are those they are stored under. */
  readonly kept: ReadonlyMap<string, SpaceTensor<ItemsPlace>>
  /** Optimizer, scheduler and RNG entries: no part of the model. */
  readonly trainingState: ReadonlyArray<string>
  /** Some keys carried a wrapper's `module.` or `model.`. */
  readonly wrapped: boolean
  /** Some norms have the names of the local layer specification. */
  readonly localSpec: boolean
}

/** `directory`: of the checkpoint; `path`, `bytes`: of the index, for errors. InvalidFile `checkpoint/duplicate-key` where two entries have one name. */
export const sortKeys = (directory: string, metadata: DcpMetadata, path: string, bytes: Uint8Array): SortedKeys => {
  const tensors = new Map<string, SpaceTensor<ItemsPlace>>()
  const kept = new Map<string, SpaceTensor<ItemsPlace>>()
  const trainingState: Array<string> = []
  let wrapped = false
  let localSpec = false
  const named = layerSpecNames(Iterator.from(metadata.tensors.keys()).filter((key) => roleOf(key) === "model").map(unwrapKey))
  for (const [key, tensor] of metadata.tensors) {
    const role = roleOf(key)
    if (isTrainingRole(role)) {
      trainingState.push(key)
      continue
    }
    if (role === "carried") {
      kept.set(key.slice(HF_SOURCE.length), itemsTensor(directory, key, tensor, role))
      continue
    }
    const unwrapped = unwrapKey(key)
    const plain = named(unwrapped, "te")
    wrapped ||= unwrapped !== key
    localSpec ||= plain !== unwrapped
    if (tensors.has(plain)) {
      throw new InvalidFile({ path, code: "checkpoint/duplicate-key", problem: `two entries are ${quote(plain)}, once a wrapper's prefix is removed and norms have Transformer Engine's names`, place: positioned({ tensor: key }, bytes) })
    }
    tensors.set(plain, itemsTensor(directory, plain, tensor, role))
  }
  for (const key of metadata.objects.keys()) if (isTraining(key) && key !== COMMON_STATE) trainingState.push(key)
  return { tensors, kept, trainingState, wrapped, localSpec }
}

/** All that an index says of tensors, state of training included, by the keys they are stored under. */
export const entriesOf = ({ directory, metadata }: { readonly directory: string; readonly metadata: DcpMetadata }): TensorSpace<ItemsPlace> =>
  ({ tensors: new Map(Iterator.from(metadata.tensors).map(([key, stored]) => [key, itemsTensor(directory, key, stored)] as const)) })

/** Module states by their key without a wrapper's prefix. */
export const moduleStates = (metadata: DcpMetadata): ReadonlyMap<string, StoredObject> =>
  new Map([...metadata.objects].flatMap(([key, object]) => (isTraining(key) ? [] : [[unwrapKey(key), object] as const])))
