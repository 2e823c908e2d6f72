/** Causal softmax attention of queries, keys and values that are there. */
import type { Arithmetic, Weights } from "../arithmetic/Arithmetic.ts"
import type { AttentionFacts } from "../model/Forward.ts"
import { softCapped } from "./elementwise.ts"

/** Queries whose scores are in memory at once. */
const BLOCK = 256

export interface Heads {
  readonly heads: number
  /** Key/value heads; query head h uses that with number h · groups / heads, rounded down. */
  readonly groups: number
  readonly headDim: number
  readonly valueDim: number
}

/** Columns [start, start + width) of x, [rows, columns]. */
export const columnsOf = (x: Float32Array, columns: number, start: number, width: number): Float32Array => {
  const rows = x.length / columns
  const out = new Float32Array(rows * width)
  for (let row = 0; row < rows; row++) out.set(x.subarray(row * columns + start, row * columns + start + width), row * width)
  return out
}

const asWeights = (x: Float32Array, columns: number): Weights =>
  ({ dtype: "F32", rows: x.length / columns, columns, bytes: new Uint8Array(x.buffer, x.byteOffset, x.byteLength) })

/** Softmax of one row of scores over [from, to), in place; other entries become 0. `sink`: a score without a value. */
const softmax = (scores: Float32Array, from: number, to: number, sink: number | undefined): void => {
  let most = sink ?? -Infinity
  for (let i = from; i < to; i++) most = Math.max(most, scores[i]!)
  let sum = sink === undefined ? 0 : Math.exp(sink - most)
  for (let i = from; i < to; i++) sum += scores[i] = Math.exp(scores[i]! - most)
  for (let i = from; i < to; i++) scores[i]! /= sum
  scores.fill(0, 0, from)
  scores.fill(0, to)
}

/** One block of queries of one head: its queries, and the keys and values from `firstKey` on that any of them sees. */
interface QueryBlock {
  readonly queries: Float32Array
  readonly keys: Float32Array
  readonly values: Float32Array
  readonly firstQuery: number
  readonly firstKey: number
  readonly sink: number | undefined
}

const attendBlock = (arithmetic: Arithmetic, { firstKey, firstQuery, keys, queries, sink, values }: QueryBlock, { headDim, valueDim }: Heads, { scale, softCap, window = Infinity }: AttentionFacts): Float32Array => {
  const m = queries.length / headDim
  const scores = arithmetic.product({ a: queries, m, b: asWeights(keys, headDim), transposed: true })
  arithmetic.scale(scores, scale)
  softCapped(scores, softCap)
  const width = keys.length / headDim
  for (let i = 0; i < m; i++) {
    const last = firstQuery + i
    softmax(scores.subarray(i * width, (i + 1) * width), Math.max(0, last + 1 - window - firstKey), last + 1 - firstKey, sink)
  }
  return arithmetic.product({ a: scores, m, b: asWeights(values, valueDim), transposed: false })
}

/** Queries [tokens, heads · headDim], keys [tokens, groups · headDim], values [tokens, groups · valueDim]. */
export interface Attended {
  readonly queries: Float32Array
  readonly keys: Float32Array
  readonly values: Float32Array
  /** Per head. */
  readonly sinks?: Float32Array
}

/** [tokens, heads · valueDim]: every position attends to itself and those before it, within the window if there is one. */
export const attend = (arithmetic: Arithmetic, tokens: number, { keys, queries, sinks, values }: Attended, heads: Heads, facts: AttentionFacts): Float32Array => {
  const { groups, headDim, valueDim } = heads
  const out = new Float32Array(tokens * heads.heads * valueDim)
  for (let group = 0; group < groups; group++) {
    const ownKeys = columnsOf(keys, groups * headDim, group * headDim, headDim)
    const ownValues = columnsOf(values, groups * valueDim, group * valueDim, valueDim)
    for (let head = (group * heads.heads) / groups; head < ((group + 1) * heads.heads) / groups; head++) {
      const ownQueries = columnsOf(queries, heads.heads * headDim, head * headDim, headDim)
      for (let first = 0; first < tokens; first += BLOCK) {
        const end = Math.min(tokens, first + BLOCK)
        const firstKey = Math.max(0, first + 1 - (facts.window ?? Infinity))
        const mixed = attendBlock(arithmetic, {
          queries: ownQueries.subarray(first * headDim, end * headDim),
          keys: ownKeys.subarray(firstKey * headDim, end * headDim),
          values: ownValues.subarray(firstKey * valueDim, end * valueDim),
          firstQuery: first,
          firstKey,
          sink: sinks?.[head]
        }, heads, facts)
        for (let i = 0; i < end - first; i++) {
          out.set(mixed.subarray(i * valueDim, (i + 1) * valueDim), ((first + i) * heads.heads + head) * valueDim)
        }
      }
    }
  }
  return out
}
