/**
 * What the tensors of an unknown model look like, judged by their published names alone: a start for somebody who writes its
 * family file. Nothing is converted by guesses.
 */
import type { Shape } from "../tensor/Copy.ts"

export interface NamePattern {
  /** The name with numbers as `*`. */
  readonly pattern: string
  readonly count: number
  /** Shape of the first tensor. */
  readonly shape: Shape
  /** What it looks like, e.g. `attention query`. */
  readonly looksLike: string
}

const SIGNS: ReadonlyArray<readonly [RegExp, string]> = [
  [/\.experts\.\*\.(gate_proj|up_proj|w1|w3)\./, "expert, gated MLP (gate or up half)"],
  [/\.experts\.\*\.(down_proj|w2)\./, "expert, output projection"],
  [/\.experts\.(gate_up_proj|gate_up_proj_blocks|down_proj|down_proj_blocks)$/, "packed experts"],
  [/shared_expert/, "shared expert"],
  [/(\.gate\.weight|router)(\.weight)?$/, "router"],
  [/(e_score_correction_bias|expert_bias)$/, "router bias (kept in fp32)"],
  [/(weight_scale_inv|weight_scale|_scales|\.scale)$/, "quantisation scale"],
  [/(kv_a_proj_with_mqa|kv_b_proj|q_a_proj|q_b_proj|kv_a_layernorm|q_a_layernorm)/, "multi-latent attention"],
  [/\b[qkv]_proj\.(weight|bias)$/, "attention query, key or value"],
  [/(qkv|query_key_value|in_proj_qkv)\b.*\.(weight|bias)$/, "attention, query, key and value in one"],
  [/(o_proj|out_proj|dense|attn\.proj)\.(weight|bias)$/, "attention or mixer output"],
  [/\b[qk]_(norm|layernorm)\b/, "norm of queries or keys"],
  [/(A_log|dt_bias|conv1d|in_proj)/, "state-space or linear-attention mixer"],
  [/(gate_proj|up_proj)\.(weight|bias)$/, "gated MLP (gate or up half)"],
  [/(down_proj|fc2)\.(weight|bias)$/, "MLP output"],
  [/(fc1|dense_h_to_4h)\.(weight|bias)$/, "MLP input"],
  [/(embed_tokens|word_embeddings|wte|embeddings)\.weight$/, "token embedding"],
  [/lm_head\.weight$/, "output layer"],
  [/patch_embed/, "patch embedding (vision)"],
  [/(pos_embed|position_embedding)/, "position embedding"],
  [/(norm|layernorm|ln_\w*)\d*\.(weight|bias)$/i, "norm"],
  [/(merger|projector|multi_modal)/, "projector between modalities"]
]

/** Signs stand at the end of a name. */
const LOOKED_AT = 300

const wildcard = (name: string): string => name.replace(/(?<=^|\.)\d+(?=\.|$)/g, "*")

/** The patterns of a checkpoint's names, in order of first appearance. */
export const recognise = (tensors: Iterable<{ readonly name: string; readonly shape: Shape }>): ReadonlyArray<NamePattern> => {
  const patterns = new Map<string, { count: number; shape: Shape }>()
  for (const { name, shape } of tensors) {
    const pattern = wildcard(name)
    const known = patterns.get(pattern)
    if (known) known.count++
    else patterns.set(pattern, { count: 1, shape })
  }
  return [...patterns].map(([pattern, { count, shape }]) => ({
    pattern,
    count,
    shape,
    looksLike: SIGNS.find(([sign]) => sign.test(pattern.slice(-LOOKED_AT)))?.[1] ?? "unknown"
  }))
}
