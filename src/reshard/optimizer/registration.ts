/**
 * The order in which a trainer registers the parameters of a model chunk: that of `named_parameters()`, which the buffers of its optimizer
 * follow backwards (training-checkpoints.md 2.3). By the names parameters are stored under.
 */
import { expertKey } from "../../model/layerKeys.ts"

/** By which layer specification the model was built, and whether its experts' matrices are registered together or expert by expert. */
export interface Registration {
  readonly spec: "transformer_engine" | "local"
  readonly experts: "grouped" | "sequential"
}

/** Of a transformer layer. Norms that Transformer Engine fuses with a matrix are registered with it, others before their block. */
const LAYER: Readonly<Record<Registration["spec"], ReadonlyArray<string>>> = {
  local: [
    String.raw`self_attention\.linear_qkv\.layer_norm_weight`, String.raw`self_attention\.linear_qkv\.layer_norm_bias`, String.raw`input_layernorm\.weight`, String.raw`input_layernorm\.bias`,
    String.raw`self_attention\.core_attention\.\w+`, String.raw`self_attention\.linear_proj\.weight`, String.raw`self_attention\.linear_proj\.bias`,
    String.raw`self_attention\.linear_qkv\.weight`, String.raw`self_attention\.linear_qkv\.bias`
  ],
  transformer_engine: [
    String.raw`input_layernorm\.weight`, String.raw`input_layernorm\.bias`,
    String.raw`self_attention\.core_attention\.\w+`, String.raw`self_attention\.linear_proj\.weight`, String.raw`self_attention\.linear_proj\.bias`,
    String.raw`self_attention\.linear_qkv\.layer_norm_weight`, String.raw`self_attention\.linear_qkv\.layer_norm_bias`,
    String.raw`self_attention\.linear_qkv\.weight`, String.raw`self_attention\.linear_qkv\.bias`
  ]
}

/** Behind the attention's own matrix, in either specification. */
const REST: ReadonlyArray<string> = [
  ...["q_proj", "q_down_proj", "q_up_proj", "kv_down_proj", "kv_up_proj"].flatMap((name) =>
    ["layer_norm_weight", "layer_norm_bias", "weight", "bias"].map((what) => String.raw`self_attention\.linear_${name}\.${what}`)),
  ...["q_layernorm", "k_layernorm", "kv_layernorm"].flatMap((name) => [String.raw`self_attention\.${name}\.weight`, String.raw`self_attention\.${name}\.bias`]),
  String.raw`pre_mlp_layernorm\.weight`, String.raw`pre_mlp_layernorm\.bias`,
  String.raw`mlp\.linear_fc1\.layer_norm_weight`, String.raw`mlp\.linear_fc1\.layer_norm_bias`,
  String.raw`mlp\.router\.\w+`,
  String.raw`mlp\.experts\..+`,
  String.raw`mlp\.shared_experts\.linear_fc1\.weight`, String.raw`mlp\.shared_experts\.linear_fc1\.bias`, String.raw`mlp\.shared_experts\.linear_fc2\.weight`,
  String.raw`mlp\.shared_experts\.linear_fc2\.bias`, String.raw`mlp\.shared_experts\.gate_weight`,
  String.raw`mlp\.linear_fc1\.weight`, String.raw`mlp\.linear_fc1\.bias`, String.raw`mlp\.linear_fc2\.weight`, String.raw`mlp\.linear_fc2\.bias`
]

/** Of a model: what stands before, among and behind its layers. */
const MODEL: ReadonlyArray<RegExp> = [
  /(?:^|\.)class_token$/, /(?:^|\.)ln_pre\./, /(?:^|\.)(?:conv1|patch_embed)\./, /(?:^|\.)word_embeddings\./, /(?:^|\.)(?:position_embeddings|pos_embed)\./,
  /(?:^|\.)decoder\.layers\./, /(?:^|\.)decoder\.final_(?:layernorm|norm)\./, /(?:^|\.)mtp\./, /(?:^|\.)output_layer\./, /(?:^|\.)(?:merger|input_projections|output_projections)\./
]

const layerPatterns = (spec: Registration["spec"]): ReadonlyArray<RegExp> => [...LAYER[spec], ...REST].map((name) => new RegExp(`^${name}$`))
const patterns = { local: layerPatterns("local"), transformer_engine: layerPatterns("transformer_engine") }

const indexIn = (list: ReadonlyArray<RegExp>, name: string): number => {
  const index = list.findIndex((pattern) => pattern.test(name))
  return index < 0 ? list.length : index
}

/** Where among the parts of its model a parameter is registered. */
export const modelRank = (key: string): number => indexIn(MODEL, key)

/** Where in its layer; `rest` is its name below the layer. */
export const layerRank = (rest: string, { spec }: Registration): number => indexIn(patterns[spec], rest)

/** Among the experts of a layer: expert by expert, or matrix by matrix. */
export const expertRank = (key: string, expert: number, { experts }: Registration): readonly [number, number] => {
  const matrix = expertKey(key)?.module === "linear_fc2" ? 1 : 0
  return experts === "sequential" ? [expert, matrix] : [matrix, expert]
}
