/**
 * Which axis of a parameter tensor parallelism splits, by the name under which it is stored: for checkpoints whose model nobody describes.
 * On disk tensors are global, so the answer decides how they are cut and never what they hold (torch-dist-format.md D.3,
 * training-checkpoints.md 4.3).
 */

/** Rows are split: every rank computes some of the outputs. */
const COLUMN_PARALLEL = [
  String.raw`word_embeddings\.weight`,
  String.raw`output_layer\.(?:weight|bias)`,
  String.raw`linear_qkv\.(?:weight|bias)`,
  String.raw`linear_fc1\.(?:weight|bias)(?:_[wv]|\d+)?`,
  String.raw`linear_q_proj\.weight`,
  String.raw`linear_(?:q|kv)_up_proj\.weight`,
  String.raw`in_proj\.(?:weight|bias)(?:\.\w+)?`,
  String.raw`conv1d\.(?:weight|bias)(?:\.\w+)?`,
  "A_log",
  "D",
  "dt_bias",
  String.raw`(?:mamba_)?mixer\.norm\.weight`,
  String.raw`core_attention\.softmax_offset`,
  String.raw`eh_proj\.(?:weight|bias)`
]

/** Columns are split: every rank adds its share to all outputs, so a bias is whole. */
const ROW_PARALLEL = [String.raw`linear_proj\.weight`, String.raw`linear_fc2\.weight\d*`, String.raw`(?:self_attention|(?:mamba_)?mixer)\.out_proj\.weight`]

/** Every rank has all of it. */
const REPLICATED = [
  String.raw`[^.]*norm[^.]*\.(?:weight|bias)`,
  String.raw`layer_norm_(?:weight|bias)`,
  String.raw`position_embeddings?\.weight`,
  String.raw`(?:linear_proj|linear_fc2|out_proj)\.bias\d*`,
  String.raw`router\.\w+`,
  String.raw`linear_(?:q|kv|qkv)_down_proj\.(?:weight|bias)`,
  String.raw`gate_weight`,
  String.raw`class_token`,
  String.raw`conv1\.(?:weight|bias)`,
  String.raw`ln_pre\.(?:weight|bias)`
]

const ending = (names: ReadonlyArray<string>): RegExp => new RegExp(String.raw`(?:^|\.)(?:${names.join("|")})$`)

const RULES: ReadonlyArray<readonly [RegExp, 0 | 1 | undefined]> = [
  [ending(COLUMN_PARALLEL), 0],
  [ending(ROW_PARALLEL), 1],
  [ending(REPLICATED), undefined]
]

/**
 * The axis, counted behind any layer and expert axis; `undefined` for a parameter that every rank holds whole, `"unknown"` for a name that is not
 * one of Megatron's.
 */
export const splitAxisOf = (key: string): 0 | 1 | undefined | "unknown" => {
  const rule = RULES.find(([pattern]) => pattern.test(key))
  return rule ? rule[1] : "unknown"
}

/** Stored in two halves, gate and up, each split on its own, if the activation is gated (torch-dist-format.md D.3). */
export const isFirstOfMlp = (key: string): boolean => /(?:^|\.)linear_fc1\.(?:weight|bias)$/.test(key)

/** The second matrix of the same MLP: its columns are as many as a half has rows. */
export const secondOfMlp = (key: string): string => key.replace(/linear_fc1\.(?:weight|bias)$/, "linear_fc2.weight")
