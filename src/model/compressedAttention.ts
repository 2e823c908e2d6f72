/**
 * Attention on one shared key/value head: a sliding window, and on some layers keys compressed by a ratio. A ratio of 4
 * overlaps its blocks (twice the width) and chooses among them with an indexer; a larger ratio attends to all of them. Heads
 * are projected out in groups. Learned offsets and sinks stay in fp32.
 */
import { linear, norm } from "./modules.ts"
import type { Scope } from "./Scope.ts"

/** The ratio whose blocks overlap and are chosen. */
const OVERLAPPING = 4

/** Sizes of compressed attention: ranks and widths in elements. */
export interface CompressedAttention {
  readonly hidden: number
  readonly heads: number
  readonly headDim: number
  readonly queryRank: number
  readonly outputGroups: number
  readonly outputRank: number
  readonly indexerHeads: number
  readonly indexerHeadDim: number
}

/** Overlapping blocks are twice as wide. */
const compressedWidth = (width: number, ratio: number): number => (ratio === OVERLAPPING ? 2 * width : width)

const compressor = (s: Scope, hidden: number, width: number, ratio: number): void => {
  const out = compressedWidth(width, ratio)
  s.parameter("ape", [ratio, out], { keep: "F32" })
  linear(s, "linear_wkv", out, hidden)
  linear(s, "linear_wgate", out, hidden)
  norm(s, "norm", width, "RMSNorm")
}

/** `ratio`: 0 for a sliding window alone. */
export const compressedAttention = (s: Scope, a: CompressedAttention, ratio: number): void => {
  const core = s.at("core_attention")
  s.block({
    kind: "compressed-attention",
    hidden: a.hidden,
    heads: a.heads,
    headDim: a.headDim,
    queryRank: a.queryRank,
    outputGroups: a.outputGroups,
    outputRank: a.outputRank,
    ratio,
    ...(ratio > 0 ? { compressedWidth: compressedWidth(a.headDim, ratio) } : {}),
    ...(ratio === OVERLAPPING
      ? { indexer: { heads: a.indexerHeads, headDim: a.indexerHeadDim, compressedWidth: compressedWidth(a.indexerHeadDim, ratio) } }
      : {})
  })
  s.parameter("linear_o_group_proj", [a.outputGroups * a.outputRank, (a.heads * a.headDim) / a.outputGroups])
  core.parameter("attn_sink", [a.heads], { splitAxis: 0, keep: "F32" })
  if (ratio > 0) compressor(core.at("compressor"), a.hidden, a.headDim, ratio)
  if (ratio === OVERLAPPING) {
    const indexer = core.at("indexer")
    linear(indexer, "linear_wq_b", a.indexerHeads * a.indexerHeadDim, a.queryRank)
    linear(indexer, "linear_weights_proj", a.indexerHeads, a.hidden)
    compressor(indexer.at("compressor"), a.hidden, a.indexerHeadDim, ratio)
  }
  linear(s, "linear_proj", a.hidden, a.outputGroups * a.outputRank, { parallel: "row" })
  linear(s, "linear_q_down_proj", a.queryRank, a.hidden)
  linear(s, "linear_q_up_proj", a.heads * a.headDim, a.queryRank, { parallel: "column" })
  linear(s, "linear_kv_proj", a.headDim, a.hidden)
  norm(s, "q_layernorm", a.queryRank, "RMSNorm")
  norm(s, "kv_layernorm", a.headDim, "RMSNorm")
}
