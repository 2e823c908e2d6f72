/**
 * MoE language models in which some layers attend only to the blocks that an indexer chooses. The trainer attends to
 * everything; it keeps the indexers' weights beside the language model, as they are.
 */
import { z } from "zod"
import type { Row } from "../../src/bridge/Mapping.ts"
import { rows } from "../../src/bridge/Registry.ts"
import type { ModuleSource } from "../../src/model/ModelModule.ts"
import { plainWeight } from "../../src/model/plain.ts"
import { many, size } from "./config.ts"
import { moeFields, perLayer } from "./moe.ts"

const flags = z.array(z.union([z.literal(0), z.literal(1)])).max(100_000)

/** Newer configs name each layer's kind, older ones flag it. */
export const indexedFields = {
  ...moeFields,
  intermediate_size: size,
  num_experts_per_tok: size,
  dense_intermediate_size: size.nullish(),
  shared_intermediate_size: many.nullish(),
  moe_layer_freq: flags.nullish(),
  layer_types: z.array(z.string()).nullish(),
  sparse_attention_config: z.looseObject({
    sparse_attention_freq: flags.nullish(),
    sparse_num_index_heads: size.nullish(),
    sparse_index_dim: size.nullish()
  }).nullish(),
  index_n_heads: size.nullish(),
  index_head_dim: size.nullish()
}

const schema = z.looseObject(indexedFields)
export type IndexedText = z.infer<typeof schema>

/** 1 = MoE, 0 = dense; all are MoE where the config does not say. A list keeps the layer numbers in the stored keys. */
export const moeFlags = (t: IndexedText): ReadonlyArray<number> =>
  t.moe_layer_freq
    ? perLayer(t.moe_layer_freq, t.num_hidden_layers, "moe_layer_freq")
    : t.mlp_layer_types
    ? perLayer(t.mlp_layer_types, t.num_hidden_layers, "mlp_layer_types").map((kind) => (kind === "sparse" ? 1 : 0))
    : Array.from({ length: t.num_hidden_layers }, () => 1)

export interface Indexers {
  readonly layers: ReadonlyArray<number>
  readonly heads: number
  readonly width: number
}

/** `kind`: what `layer_types` calls a layer with an indexer. */
export const indexersOf = (t: IndexedText, kind: string): Indexers => {
  const old = t.sparse_attention_config
  const has = t.layer_types?.map((k) => k === kind) ?? old?.sparse_attention_freq?.map((flag) => flag === 1) ?? []
  return {
    layers: has.flatMap((indexed, i) => (indexed && i < t.num_hidden_layers ? [i] : [])),
    heads: t.index_n_heads ?? old?.sparse_num_index_heads ?? 4,
    width: t.index_head_dim ?? old?.sparse_index_dim ?? 128
  }
}

/** The text config in the fields of today's config class, which reads the older ones so. */
export const indexedToday = (t: IndexedText, { heads, layers, width }: Indexers, kind: string) => {
  const { moe_layer_freq: _, sparse_attention_config: old, ...fields } = t
  const indexed = new Set(layers)
  const blocks = [["index_block_size", "sparse_block_size"], ["index_topk_blocks", "sparse_topk_blocks"], ["index_local_blocks", "sparse_local_block"]] as const
  return {
    ...fields,
    ...(old ? Object.fromEntries(blocks.flatMap(([field, older]) => (older in old ? [[field, old[older]]] : []))) : {}),
    layer_types: Array.from({ length: t.num_hidden_layers }, (_, i) => (indexed.has(i) ? kind : "full_attention")),
    mlp_layer_types: moeFlags(t).map((moe) => (moe === 1 ? "sparse" : "dense")),
    index_n_heads: heads,
    index_head_dim: width
  }
}

/** Each indexer sits on its layer's pipeline stage. */
export const indexerModule = (t: IndexedText, { heads, layers, width }: Indexers): ModuleSource => ({
  kind: "indexers",
  path: "lightning_indexers",
  sizes: { layers, hidden: t.hidden_size, heads, headDim: width },
  build: (root) => {
    for (const i of layers) {
      const s = root.at(String(i)).on({ layer: i, of: t.num_hidden_layers })
      plainWeight(s, "q_proj", [heads * width, t.hidden_size])
      plainWeight(s, "k_proj", [width, t.hidden_size])
      plainWeight(s, "q_norm", [width])
      plainWeight(s, "k_norm", [width])
    }
  }
})

export const indexerRows = (model: string): ReadonlyArray<Row> =>
  rows("lightning_indexers.*.", `${model}layers.*.self_attn.`, {
    "q_proj.weight": "index_q_proj.weight",
    "k_proj.weight": "index_k_proj.weight",
    "q_norm.weight": "index_q_norm.weight",
    "k_norm.weight": "index_k_norm.weight"
  })
