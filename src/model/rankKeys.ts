/**
 * The names that a model has in memory on one rank, as a `torch` checkpoint keeps them, and the stored keys that stand for them
 * (training-checkpoints.md 4.2). Layers are numbered from 0 in every stage, experts from 0 on every expert-parallel rank; layers keep
 * their numbers in the keys that come out (stacking them is another matter).
 */
import { layerSpecNames } from "./layerSpec.ts"
import { unwrapKey } from "./storedKey.ts"

/** The stored key of what a rank calls something; `expert`: number of the local expert, which the key does not have. */
export interface RankKey {
  readonly key: string
  readonly expert?: number
}

/** Sequential experts, and grouped ones: `experts.local_experts.3.linear_fc1.weight`, `experts.linear_fc1.weight3`. */
const SEQUENTIAL = /^(.*\.experts)\.local_experts\.(\d{1,6})\.(linear_fc[12]\..+)$/
const GROUPED = /^(.*\.experts\.linear_fc[12])\.(weight|bias)(\d{1,6})$/
/** The state of a grouped module is one for all experts. */
const GROUPED_STATE = /^(.*\.experts)\.(linear_fc[12]\._extra_state)$/
/** Experts as two matrices, of trainers that no longer exist: columns of all experts side by side. */
const SIDE_BY_SIDE = /\.experts\.weight[12]$/

/** Experts of this form cannot be told apart by their keys. */
export const isSideBySide = (key: string): boolean => SIDE_BY_SIDE.test(key)

/** What the layer modules of Megatron-Core replaced, in the words of the models before it. */
const BEFORE_CORE: ReadonlyArray<readonly [RegExp, string]> = [
  [/^language_model\.encoder\.layers\./, "decoder.layers."],
  [/^language_model\.encoder\.final_(?:layer)?norm\./, "decoder.final_layernorm."],
  [/^language_model\.output_layer\./, "output_layer."],
  [/^language_model\.embedding\./, "embedding."],
  [/^word_embeddings_for_head\./, "output_layer."],
  [/\.(?:self_attention|attention)\.query_key_value\./, ".self_attention.linear_qkv."],
  [/\.(?:self_attention|attention)\.dense\./, ".self_attention.linear_proj."],
  [/\.mlp\.dense_h_to_4h\./, ".mlp.linear_fc1."],
  [/\.mlp\.dense_4h_to_h\./, ".mlp.linear_fc2."],
  [/\.input_norm\./, ".input_layernorm."],
  [/\.post_attention_(?:layer)?norm\./, ".pre_mlp_layernorm."]
]

/** Is this the state dict of a model from before Megatron-Core? */
const isBeforeCore = (keys: Iterable<string>): boolean => Iterator.from(keys).some((key) => key.startsWith("language_model.encoder."))

const inCoreWords = (key: string): string => BEFORE_CORE.reduce((words, [from, to]) => words.replace(from, to), key)

/** A layer of the local specification: a norm as a module of its own in front of a QKV projection without one. */
const isLocal = (keys: ReadonlySet<string>): boolean =>
  keys.values().some((key) => {
    const layer = /^(.*\.layers\.\d+)\.input_layernorm\.weight$/.exec(key)?.[1]
    return layer !== undefined && keys.has(`${layer}.self_attention.linear_qkv.weight`) && !keys.has(`${layer}.self_attention.linear_qkv.layer_norm_weight`)
  })

/** A hybrid model: its inner layers of multi-token prediction keep their name on disk. */
const isHybrid = (keys: ReadonlySet<string>): boolean => Iterator.from(keys).some((key) => key.startsWith("decoder.final_norm.") || /\.layers\.\d+\.mixer\./.test(key))

/** The stored key of every name in the state dict of one rank. */
export const rankKeys = (names: Iterable<string>): ReadonlyMap<string, RankKey> => {
  const all = [...names]
  const plain = all.map(unwrapKey)
  const words = isBeforeCore(plain) ? plain.map(inCoreWords) : plain
  const present = new Set(words)
  // Its trainer stores norms under other names than they have in memory.
  const specNames = isLocal(present) ? layerSpecNames(present) : undefined
  const hybrid = isHybrid(present)
  const stored = (word: string): RankKey => {
    const named = specNames?.(word, "local") ?? word
    const key = hybrid ? named : named.replace(/^(mtp\.layers\.\d+)\.mtp_model_layer\./, "$1.transformer_layer.")
    const one = SEQUENTIAL.exec(key)
    if (one) return { key: `${one[1]}.experts.${one[3]}`, expert: Number(one[2]) }
    const grouped = GROUPED.exec(key)
    if (grouped) return { key: `${grouped[1]!.replace(/\.experts\.(linear_fc[12])$/, ".experts.experts.$1")}.${grouped[2]}`, expert: Number(grouped[3]) }
    const state = GROUPED_STATE.exec(key)
    return { key: state ? `${state[1]}.experts.${state[2]}` : key }
  }
  return new Map(all.map((name, i) => [name, stored(words[i]!)]))
}
