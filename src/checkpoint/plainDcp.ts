/**
 * Checkpoints of plain torch DCP: `fsdp_dtensor` (Megatron-FSDP) and `torch_dcp`. A state dict as it is in memory, keys of nested dicts
 * joined by dots: tensors are global where they are DTensors, gate and up of a gated projection are `weight_w` and `weight_v`, experts
 * are one by one, and objects have bare keys (training-checkpoints.md 5). Its model is described here as a `torch_dist` checkpoint has
 * it; nothing is moved. Optimizer state has a form of its own and stays what it is.
 */
import { FormatError, Unsupported } from "../errors.ts"
import { blockLayer } from "../model/layerKeys.ts"
import { rankKeys } from "../model/rankKeys.ts"
import { splitOf } from "../model/splits.ts"
import { roleOf } from "../model/storedKey.ts"
import type { Store } from "../store/Store.ts"
import { sameShape } from "../tensor/Copy.ts"
import type { DcpMetadata, StoredTensor } from "../torch/DcpMetadata.ts"
import type { PyRead } from "../torch/PyValue.ts"
import { argumentsOf, type TrainingArguments } from "../arguments/TrainingArguments.ts"
import { readBareObject } from "./CommonState.ts"
import type { Assembled } from "./legacy/assemble.ts"
import { keepsLayerNumbers } from "./legacy/runArguments.ts"
import { storedForm } from "./legacy/storedForm.ts"

/** What the state dict says of the run. */
const OF_RUN = ["args", "checkpoint_version", "iteration"] as const

/** The part of the state dict that is the model; a number: of a virtual pipeline chunk. */
const MODEL = /^model(\d*)\.(.+)$/
/** Gate or up. */
const HALF = /^(.*\.linear_fc1\.(?:weight|bias)\d*)_([wv])$/

const SAVE_OTHERWISE = "Load it with the trainer that wrote it and save it with --ckpt-format torch_dist."

const notSaid = (directory: string, problem: string, tensor?: string): Unsupported =>
  new Unsupported({ code: "unsupported/plain-dcp", what: directory, problem, hint: SAVE_OTHERWISE, ...(tensor === undefined ? {} : { place: { tensor } }) })

/** Gate over up, as one tensor. */
const joinedHalves = (key: string, w: StoredTensor, v: StoredTensor | undefined): StoredTensor => {
  if (!v) throw new FormatError("dcp/half", "gate and up rows are stored apart, and the other half is missing", { tensor: key })
  if (w.dtype !== v.dtype || !sameShape(w.shape, v.shape)) throw new FormatError("dcp/half", `gate and up rows are stored apart, and differ: ${w.dtype} [${w.shape}] and ${v.dtype} [${v.shape}]`, { tensor: key })
  const rows = w.shape[0]!
  return { dtype: w.dtype, shape: w.shape.with(0, 2 * rows), chunks: [...w.chunks, ...v.chunks.map((chunk) => ({ ...chunk, offsets: chunk.offsets.with(0, chunk.offsets[0]! + rows) }))] }
}

/** The model's tensors by their names in memory, and the key that each is stored under. */
const inMemory = (directory: string, tensors: DcpMetadata["tensors"]): ReadonlyMap<string, { readonly stored: string; readonly tensor: StoredTensor }> => {
  const out = new Map<string, { readonly stored: string; readonly tensor: StoredTensor }>()
  for (const [key, tensor] of tensors) {
    const [, chunk, name] = MODEL.exec(key) ?? []
    if (name === undefined) continue
    if (chunk !== "") throw notSaid(directory, "holds virtual pipeline chunks (model0., model1.), each of which counts its layers anew: which layers of the model they are is not said", key)
    const [, whole, half] = HALF.exec(name) ?? []
    if (whole === undefined) out.set(name, { stored: key, tensor })
    else {
      const other = tensors.get(key.slice(0, -1) + (half === "w" ? "v" : "w"))
      out.set(whole, { stored: key, tensor: half === "w" || !other ? joinedHalves(key, tensor, other) : joinedHalves(key, other, tensor) })
    }
  }
  return out
}

const modelTensors = (directory: string, tensors: DcpMetadata["tensors"], args: TrainingArguments | undefined): ReadonlyMap<string, StoredTensor> => {
  const model = inMemory(directory, tensors)
  const keys = rankKeys(model.keys())
  const seen = new Map<string, string>()
  const assembled = Array.from(model, ([name, { stored, tensor }]): Assembled => {
    const own = keys.get(name)!
    const id = `${own.key} ${own.expert ?? ""}`
    if (seen.has(id)) throw new FormatError("checkpoint/duplicate-key", `is the same parameter as ${seen.get(id)}`, { tensor: stored })
    seen.set(id, stored)
    if (Array.isArray(splitOf(own.key)?.parts)) throw notSaid(directory, "holds a projection of several parts in one tensor: how tensor-parallel ranks divided each of them is not said", stored)
    return { ...own, ...tensor }
  })
  const layers = new Map<string, number>()
  for (const { key } of assembled) {
    const layer = blockLayer(key)
    if (layer) layers.set(layer.list, Math.max(layers.get(layer.list) ?? 0, layer.index + 1))
  }
  return storedForm(directory, assembled, layers, args !== undefined && keepsLayerNumbers(args)).tensors
}

/** What a plain DCP checkpoint says of its run; empty where it says nothing. Errors: InvalidFile `pickle/…`, `zip/…`, IoError. */
export const runOfPlain = async (store: Store, directory: string, { objects }: DcpMetadata): Promise<NonNullable<DcpMetadata["run"]>> => {
  const values = new Map<string, PyRead>()
  let file = ""
  for (const key of OF_RUN) {
    const object = objects.get(key)
    if (!object) continue
    values.set(key, await readBareObject(store, directory, key, object))
    file = object.file
  }
  return { file, value: values }
}

/**
 * The index of a plain DCP checkpoint as one of `torch_dist`; `run`: what it says of its run. Pure.
 *
 * @throws FormatError `dcp/half`, `checkpoint/duplicate-key`; InvalidFile `checkpoint/rank-experts`; Unsupported `unsupported/plain-dcp`
 * where its names do not say which part of the model a tensor is.
 */
export const plainAsWhole = (directory: string, metadata: DcpMetadata, run: NonNullable<DcpMetadata["run"]>): DcpMetadata => {
  const args = argumentsOf(run.value)
  const stages = args?.number("pipeline_model_parallel_size") ?? 1
  if (stages > 1) throw notSaid(directory, `was saved by ${stages} pipeline stages, each of which counts its layers from 0: tensors of different layers have the same names`)
  const others = [...metadata.tensors].filter(([key]) => !MODEL.test(key) || roleOf(key) !== "model")
  const { className } = metadata
  return { className, objects: new Map(), tensors: new Map([...modelTensors(directory, metadata.tensors, args), ...others]), run }
}
