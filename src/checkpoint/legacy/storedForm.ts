/**
 * Assembled tensors under the keys of a `torch_dist` checkpoint: layers that are alike under one key with a layer axis, experts with an
 * expert axis (torch-dist-format.md D.2, D.3). Pure.
 */
import { InvalidFile } from "../../errors.ts"
import { blockLayer, leadingAxes } from "../../model/layerKeys.ts"
import { stateKey, stateModule } from "../../model/shardKey.ts"
import { sameShape } from "../../tensor/Copy.ts"
import type { StoredChunk, StoredTensor } from "../../torch/DcpMetadata.ts"
import type { Assembled } from "./assemble.ts"
import type { StateOfRank } from "./pieces.ts"

/** A tensor that is slice `index` of `of` along a new first axis. */
const sliced = ({ offsets, sizes, ...chunk }: StoredChunk, index: number): StoredChunk => ({
  ...(chunk.view ? {} : { itemSizes: sizes }),
  ...chunk,
  offsets: [index, ...offsets],
  sizes: [1, ...sizes]
})

/** Tensors of one shape and dtype along a new first axis. */
const stack = (tensors: ReadonlyArray<StoredTensor>): StoredTensor => ({
  dtype: tensors[0]!.dtype,
  shape: [tensors.length, ...tensors[0]!.shape],
  chunks: tensors.flatMap(({ chunks }, i) => chunks.map((chunk) => sliced(chunk, i)))
})

const alike = (a: StoredTensor, b: StoredTensor | undefined): boolean => b !== undefined && a.dtype === b.dtype && sameShape(a.shape, b.shape)

/** The experts of every key, from 0 to the last. Errors: InvalidFile `checkpoint/rank-experts`. */
const withExpertAxis = (directory: string, tensors: ReadonlyArray<Assembled>): Map<string, StoredTensor> => {
  const byKey = new Map<string, Array<Assembled>>()
  for (const tensor of tensors) {
    const known = byKey.get(tensor.key)
    if (known) known.push(tensor)
    else byKey.set(tensor.key, [tensor])
  }
  return new Map(Array.from(byKey, ([key, own]) => {
    const [first] = own as [Assembled]
    if (first.expert === undefined) return [key, first] as const
    const experts = own.toSorted((a, b) => a.expert! - b.expert!)
    const wrong = experts.find((tensor, i) => tensor.expert !== i || !alike(first, tensor))
    if (wrong) {
      const problem = alike(first, wrong) ? `expert ${experts.findIndex((t, i) => t.expert !== i)} is held by no rank` : `expert ${wrong.expert} is ${wrong.dtype} [${wrong.shape}], expert ${first.expert} ${first.dtype} [${first.shape}]`
      throw new InvalidFile({ path: directory, code: "checkpoint/rank-experts", problem, place: { tensor: key } })
    }
    return [key, stack(experts)] as const
  }))
}

/** Lists of layers of which every layer has the same parameters. */
const uniformLists = (tensors: ReadonlyMap<string, StoredTensor>, layers: ReadonlyMap<string, number>): ReadonlySet<string> => {
  const uniform = new Set(layers.keys())
  for (const [key, tensor] of tensors) {
    const layer = blockLayer(key)
    if (!layer || !uniform.has(layer.list)) continue
    for (let i = 0; i < layers.get(layer.list)!; i++) {
      if (alike(tensor, tensors.get(`${layer.list}.${i}.${layer.rest}`))) continue
      uniform.delete(layer.list)
      break
    }
  }
  return uniform
}

export interface StoredForm {
  readonly tensors: ReadonlyMap<string, StoredTensor>
  /** The key of a parameter of one layer, as it is stored, and which layer of it that is. */
  readonly stackedLists: ReadonlySet<string>
}

/** `indexed`: the trainer of this model keeps the number of every layer in its keys, whatever the layers are. */
export const storedForm = (directory: string, assembled: ReadonlyArray<Assembled>, layers: ReadonlyMap<string, number>, indexed: boolean): StoredForm => {
  const single = withExpertAxis(directory, assembled)
  const stackedLists = indexed ? new Set<string>() : uniformLists(single, layers)
  const tensors = new Map<string, StoredTensor>()
  for (const [key, tensor] of single) {
    const layer = blockLayer(key)
    if (!layer || !stackedLists.has(layer.list)) tensors.set(key, tensor)
    else if (!tensors.has(`${layer.list}.${layer.rest}`)) {
      tensors.set(`${layer.list}.${layer.rest}`, stack(Array.from({ length: layers.get(layer.list)! }, (_, i) => single.get(`${layer.list}.${i}.${layer.rest}`)!)))
    }
  }
  return { tensors, stackedLists }
}

/** A GPT saves no state for it. */
const OUTPUT_LAYER = /(?:^|\.)output_layer$/

/** The keys of module states, and what each is; those of experts for each of them. */
export const storedStates = (
  states: ReadonlyArray<StateOfRank>,
  { stackedLists, tensors }: StoredForm,
  layers: ReadonlyMap<string, number>
): ReadonlyMap<string, StateOfRank["state"]> => {
  const out = new Map<string, StateOfRank["state"]>()
  for (const { expert, key, state } of states) {
    const layer = blockLayer(key)
    const isStacked = layer !== undefined && stackedLists.has(layer.list)
    const module = stateModule(isStacked ? `${layer.list}.${layer.rest}` : key)!
    const isExpert = leadingAxes(`${module}.weight`) - (isStacked ? 1 : 0) > 0
    if (OUTPUT_LAYER.test(module) && !layer && !tensors.has("decoder.final_norm.weight")) continue
    const counts = isStacked ? [layers.get(layer.list)!] : []
    const index = isStacked ? [layer.index] : []
    const experts = isExpert ? tensors.get(`${module}.weight`)?.shape[counts.length] ?? 0 : undefined
    if (experts === undefined) out.set(stateKey(module, index, counts), state)
    // The state of a grouped module is one for all of a rank's experts.
    else for (const e of expert === undefined ? Array.from({ length: experts }, (_, i) => i) : [expert]) out.set(stateKey(module, [...index, e], [...counts, experts]), state)
  }
  return out
}
