/**
 * Stacked ↔ indexed layers. Stacked: `decoder.layers.X` with a leading layer axis, one item per layer of shape `[1, …]`; indexed:
 * `decoder.layers.7.X`. A loader asks for the one or the other by its model's configuration and by `content_metadata`
 * (torch-dist-format.md D.2).
 */
import { type Draft, type DraftTensor, modelKeyOf, noted, type Replacement, rewrite, sliceAt, stack, withContent } from "../Draft.ts"
import { providerOf, type RunConfigMap } from "../../runconfig/RunConfigFile.ts"
import { blockLayer, stackedLayer } from "../../model/layerKeys.ts"
import { readShardKey, shardKey } from "../../model/shardKey.ts"
import { few, noEquivalent, type Rule, slicesOf } from "./Rule.ts"

/** `X.layers.Y/shard_{l}[.e]_{L}[.E]` → `X.layers.{l}.Y/shard_{0|e}_{1|E}`. */
const indexedObject = (key: string): string | undefined => {
  const shard = readShardKey(key)
  const layer = shard && stackedLayer(shard.name)
  if (!layer) return undefined
  const [index = 0, ...rest] = shard.index
  return shardKey(`${layer.list}.${index}.${layer.rest}`, rest, shard.counts.slice(1))
}

export const toIndexed: Rule = (draft) => {
  let found = false
  const indexed = rewrite(draft, {
    tensor: (key, tensor) => {
      const stacked = stackedLayer(key)
      if (!stacked) return undefined
      found = true
      return Array.from({ length: slicesOf("indexed", key, tensor.shape) }, (_, i): readonly [string, DraftTensor] =>
        [`${stacked.list}.${i}.${stacked.rest}`, sliceAt(tensor, 0, i)])
    },
    object: (key, object) => {
      const to = indexedObject(key)
      return to === undefined ? undefined : [[to, object]]
    }
  })
  if (!found) return noEquivalent("indexed", "no layers are stacked")
  // Without this, a model of equal layers asks for stacked keys.
  return withContent(indexed, "non_homogeneous_layers", true)
}

/** Why a loader of this configuration asks for indexed layers, whatever is stored. */
export const asksForIndexed = (config: RunConfigMap | undefined): string | undefined => {
  const provider = config && providerOf(config)
  if (!provider) return undefined
  if (provider["hetereogenous_dist_checkpoint"] === true) return "hetereogenous_dist_checkpoint is set"
  if (provider["heterogeneous_block_specs"] === true) return "heterogeneous_block_specs is set"
  for (const field of ["moe_layer_freq", "linear_attention_freq"]) {
    const value = provider[field]
    if (Array.isArray(value) || (typeof value === "number" && value > 1)) return `${field} is ${JSON.stringify(value)}`
  }
  return undefined
}

interface Stack {
  readonly layers: number
  /** Suffixes of every layer. */
  readonly suffixes: ReadonlySet<string>
}

/** The layer lists whose layers are all alike; a list that is not is reported. */
const stackable = (draft: Draft): { readonly stacks: ReadonlyMap<string, Stack>; readonly problems: ReadonlyArray<string> } => {
  const lists = new Map<string, Map<number, Map<string, DraftTensor>>>()
  for (const [full, tensor] of draft.tensors) {
    const own = modelKeyOf(full)
    const layer = own && blockLayer(own.key)
    if (!layer) continue
    const path = own.space + layer.list
    const layers = lists.get(path) ?? new Map<number, Map<string, DraftTensor>>()
    lists.set(path, layers)
    layers.set(layer.index, (layers.get(layer.index) ?? new Map<string, DraftTensor>()).set(layer.rest, tensor))
  }
  const stacks = new Map<string, Stack>()
  const problems: Array<string> = []
  for (const [path, layers] of lists) {
    const problem = unlike(layers)
    if (problem === undefined) stacks.set(path, { layers: layers.size, suffixes: new Set(layers.get(0)!.keys()) })
    else problems.push(`${path}: ${problem}`)
  }
  return { stacks, problems }
}

const unlike = (layers: ReadonlyMap<number, ReadonlyMap<string, DraftTensor>>): string | undefined => {
  const first = layers.get(0)
  if (!first) return "there is no layer 0"
  for (let i = 1; i < layers.size; i++) {
    const layer = layers.get(i)
    if (!layer) return `there is no layer ${i}`
    const missing = [...first.keys()].filter((k) => !layer.has(k)).concat([...layer.keys()].filter((k) => !first.has(k)))
    if (missing.length > 0) return `layers 0 and ${i} differ in ${few(missing)}`
    for (const [suffix, tensor] of layer) {
      const other = first.get(suffix)!
      if (other.dtype !== tensor.dtype) return `${suffix} is ${other.dtype} in layer 0 and ${tensor.dtype} in layer ${i}`
      if (other.shape.join() !== tensor.shape.join()) return `${suffix} is [${other.shape}] in layer 0 and [${tensor.shape}] in layer ${i}`
    }
  }
  return undefined
}

export const toStacked: Rule = (draft, { runConfig }) => {
  const { problems, stacks } = stackable(draft)
  const reason = asksForIndexed(runConfig)
  if (stacks.size === 0) {
    return problems.length > 0
      ? noEquivalent("stacked", `the layers are not alike, so they have no stacked form: ${problems[0]}`)
      : noEquivalent("stacked", "no layers of a transformer block are stored one by one")
  }
  if (reason !== undefined) {
    return noEquivalent("stacked", `by its run configuration the model asks for indexed layers (${reason})`, "Change the configuration first if that is not what the trainer will be run with.")
  }
  const done = stackWhere(draft, stacks)
  const content = withContent(done, "non_homogeneous_layers", null)
  return problems.reduce((d, problem) => noted(d, `left as they are: ${problem}`), content)
}

const stackWhere = (draft: Draft, stacks: ReadonlyMap<string, Stack>): Draft =>
  rewrite(draft, {
    tensor: (key, _, space): Replacement<DraftTensor> | undefined => {
      const layer = blockLayer(key)
      const found = layer && stacks.get(space + layer.list)
      if (!found || !found.suffixes.has(layer.rest)) return undefined
      // The key of layer 0 makes room for all.
      if (layer.index !== 0) return []
      const layers = Array.from({ length: found.layers }, (_x, i) => draft.tensors.get(`${space}${layer.list}.${i}.${layer.rest}`)!)
      return [[`${layer.list}.${layer.rest}`, stack(layers)]]
    },
    object: (key, object) => {
      const shard = readShardKey(key)
      const layer = shard && blockLayer(shard.name)
      const found = layer && stacks.get(layer.list)
      if (!found) return undefined
      return [[shardKey(`${layer.list}.${layer.rest}`, [layer.index, ...shard.index], [found.layers, ...shard.counts]), object]]
    }
  })

export const hasStacked = (draft: Draft): boolean =>
  [...draft.tensors.keys()].some((key) => stackedLayer(modelKeyOf(key)?.key ?? "") !== undefined)
