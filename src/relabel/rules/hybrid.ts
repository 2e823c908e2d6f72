/**
 * GPT ↔ Hybrid naming. A HybridModel has one layer per sublayer: GPT layer i is the i-th attention layer (`*`) and the i-th MLP
 * layer (`-`, or `E` where it is a mixture of experts) of the pattern. Rules of Megatron-LM's own conversion
 * (core/models/hybrid/conversion): only `*-` and `*E` patterns are exact; Mamba layers, linear and latent attention and
 * multi-token prediction have no counterpart.
 */
import { type Draft, modelKeys, noted, rename, rewrite, withContent } from "../Draft.ts"
import { blockLayer, type IndexedLayer } from "../../model/layerKeys.ts"
import { few, noEquivalent, type Rule } from "./Rule.ts"
import { asksForIndexed, hasStacked, toIndexed, toStacked } from "./layers.ts"

/** A layer of the language model, which is the whole model here. */
const layerOf = (key: string): IndexedLayer | undefined => {
  const layer = blockLayer(key)
  return layer?.list === "decoder.layers" ? layer : undefined
}
const isAttention = (rest: string): boolean => /^(self_attention|input_layernorm)\./.test(rest)
const isMlp = (rest: string): boolean => /^(mlp|pre_mlp_layernorm)\./.test(rest)

/** What keeps a model from having the other form. */
const obstacle = (keys: ReadonlyArray<string>): string | undefined => {
  const found = (pattern: RegExp) => keys.filter((key) => pattern.test(key))
  const prefixed = keys.filter((key) => !/^(embedding|decoder|output_layer|mtp)\./.test(key))
  if (prefixed.length > 0) return `only plain language models have both forms; there is ${few(prefixed)}`
  for (const [what, pattern] of [
    ["multi-token prediction", /^mtp\./],
    ["Mamba layers", /\.(mixer|mamba_mixer)\./],
    ["linear attention", /self_attention\.(in_proj|A_log|conv1d)/],
    ["multi-latent attention", /self_attention\.linear_(kv|q)_(down|up)_proj/]
  ] as const) {
    const names = found(pattern)
    if (names.length > 0) return `${what} has no counterpart: ${few(names)}`
  }
  return undefined
}

/** `*-*-` or `*E*E` of `layers` GPT layers; undefined where layers are not alike. */
export const patternOf = (keys: ReadonlyArray<string>, layers: number): string | undefined => {
  const moe = new Set(keys.flatMap((key) => {
    const layer = layerOf(key)
    return layer?.rest.startsWith("mlp.router.") ? [layer.index] : []
  }))
  if (moe.size !== 0 && moe.size !== layers) return undefined
  return (moe.size === 0 ? "*-" : "*E").repeat(layers)
}

const layersOf = (keys: ReadonlyArray<string>): number => new Set(keys.flatMap((key) => layerOf(key)?.index ?? [])).size

const OUTPUT_STATE = "output_layer._extra_state/shard_0_1"

export const toHybrid: Rule = (draft, context) => {
  const start = modelKeys(draft)
  if (start.some((key) => key.startsWith("decoder.final_norm."))) return noEquivalent("hybrid", "the checkpoint is a hybrid one already")
  const problem = obstacle(start)
  if (problem !== undefined) return noEquivalent("hybrid", problem)
  const indexed = hasStacked(draft) ? withContent(toIndexed(draft, context), "non_homogeneous_layers", null) : draft
  const keys = modelKeys(indexed)
  const count = layersOf(keys)
  if (patternOf(keys, count) === undefined) return noEquivalent("hybrid", "dense and mixture-of-experts layers are mixed")
  const stray = keys.filter((key) => {
    const rest = layerOf(key)?.rest
    return rest === undefined ? key.startsWith("decoder.layers.") : !isAttention(rest) && !isMlp(rest)
  })
  if (stray.length > 0) return noEquivalent("hybrid", `a hybrid layer has no place for ${few(stray)}`)
  const renamed = rename(indexed, (key) => {
    const layer = layerOf(key)
    if (layer) return `decoder.layers.${2 * layer.index + (isAttention(layer.rest) ? 0 : 1)}.${layer.rest}`
    return key.replace(/^decoder\.final_layernorm\b/, "decoder.final_norm")
  })
  // The output layer of hybrid models has a module state, that of GPT models none (conformance corpus: payload None).
  return start.includes("output_layer.weight") && !draft.objects.has(OUTPUT_STATE)
    ? { ...renamed, objects: new Map(renamed.objects).set(OUTPUT_STATE, "none") }
    : renamed
}

export const toGpt: Rule = (draft, context) => {
  const keys = modelKeys(draft)
  if (!keys.some((key) => key.startsWith("decoder.final_norm."))) return noEquivalent("gpt", "the checkpoint is no hybrid one")
  const problem = obstacle(keys)
  if (problem !== undefined) return noEquivalent("gpt", problem)
  const kinds = new Map<number, "attention" | "mlp">()
  for (const key of keys) {
    const layer = layerOf(key)
    if (!layer) continue
    const kind = isAttention(layer.rest) ? "attention" : isMlp(layer.rest) ? "mlp" : noEquivalent("gpt", `a GPT layer has no place for ${key}`)
    if ((kinds.get(layer.index) ?? kind) !== kind) return noEquivalent("gpt", `layer ${layer.index} holds attention and MLP: it is no hybrid layer`)
    kinds.set(layer.index, kind)
  }
  const numbers = [...kinds.keys()].sort((a, b) => a - b)
  const index = { attention: 0, mlp: 0 }
  const gpt = new Map(numbers.map((n) => [n, index[kinds.get(n)!]++]))
  if (index.attention !== index.mlp) return noEquivalent("gpt", `${index.attention} attention layers and ${index.mlp} MLP layers cannot be paired`)
  const moe = keys.filter((key) => layerOf(key)?.rest === "mlp.router.weight").length
  if (moe !== 0 && moe !== index.mlp) return noEquivalent("gpt", "dense and mixture-of-experts layers are mixed")
  const renamed = rename(draft, (key) => {
    const layer = layerOf(key)
    if (layer) return `decoder.layers.${gpt.get(layer.index)}.${layer.rest}`
    return key.replace(/^decoder\.final_norm\b/, "decoder.final_layernorm")
  })
  const plain = rewrite(renamed, { object: (key) => (key === OUTPUT_STATE ? [] : undefined) })
  return stackedIfAsked(plain, context)
}

/** A GPT model of equal layers asks for stacked keys. */
const stackedIfAsked: Rule = (draft: Draft, context) => {
  const reason = asksForIndexed(context.runConfig)
  return reason === undefined
    ? toStacked(draft, context)
    : noted(draft, `the layers stay one by one: ${reason}`)
}
