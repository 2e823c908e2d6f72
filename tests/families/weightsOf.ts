/** Weights of matrices, computed from a module's facts alone: what a calculator of FLOPs or memory does. Norms, biases and convolutions do not count. */
import type { Block, Indexer } from "../../src/model/Block.ts"
import type { AudioSizes, TowerSizes } from "../../src/model/ModelModule.ts"

const indexerWeights = ({ hidden, indexer: i, queries }: { readonly hidden: number; readonly queries: number; readonly indexer: Indexer | undefined }): number =>
  i === undefined ? 0 : i.heads * i.headDim * queries + i.headDim * hidden + i.heads * hidden

const mlpWeights = (hidden: number, ffn: number, gated: boolean): number => (gated ? 3 : 2) * hidden * ffn

export const blockWeights = (b: Block): number => {
  const h = b.hidden
  switch (b.kind) {
    case "attention": {
      const queries = b.heads * b.headDim * (b.outputGate ? 2 : 1)
      return h * (queries + b.groups * (b.headDim + b.valueDim) + b.heads * b.valueDim)
    }
    case "latent-attention": {
      const queries = b.heads * (b.nopeDim + b.ropeDim)
      return (b.queryRank === null ? queries * h : b.queryRank * (h + queries)) +
        (b.rank + b.ropeDim) * h + b.heads * (b.nopeDim + b.valueDim) * b.rank + b.heads * b.valueDim * h * (b.outputGate ? 2 : 1) +
        indexerWeights({ hidden: h, indexer: b.indexer, queries: b.queryRank ?? h })
    }
    case "gated-delta-net":
      return h * (2 * b.keyHeads * b.keyDim + 3 * b.valueHeads * b.valueDim + 2 * b.valueHeads)
    case "channel-delta-attention": {
      const width = b.heads * b.headDim
      return h * (5 * width + b.headDim + b.heads) + width * b.headDim
    }
    case "lightning-attention":
      return 5 * h * b.heads * b.headDim
    case "compressed-attention": {
      const width = b.heads * b.headDim
      return b.outputRank * width + h * b.outputGroups * b.outputRank + b.queryRank * (h + width) + b.headDim * h + 2 * (b.compressedWidth ?? 0) * h +
        (b.indexer ? b.indexer.heads * (b.indexer.headDim * b.queryRank + h) + 2 * b.indexer.compressedWidth * h : 0)
    }
    case "mamba": {
      const inner = b.heads * b.headDim
      return h * (3 * inner + 2 * b.groups * b.state + b.heads)
    }
    case "linear":
      return h * h
    case "mlp":
      return mlpWeights(h, b.ffn, b.gated) + (b.tokenGate ? h : 0)
    case "experts":
      return b.experts * (mlpWeights(b.width, b.ffn, b.gated) + h) + (b.width === h ? 0 : 2 * h * b.width)
  }
}

/** Of one layer of a tower. */
export const towerLayerWeights = (t: TowerSizes & Partial<Pick<AudioSizes, "form">>): number => {
  const [h, heads, headDim] = [t.hidden, t.heads, t.headDim ?? t.hidden / t.heads]
  const attention = 2 * h * headDim * (heads + (t.groups ?? heads))
  return t.form === "conformer"
    // Two half MLPs, a projection of relative positions, two pointwise convolutions, the first of them gated.
    ? attention + h * h + 2 * mlpWeights(h, t.ffn, false) + 3 * h * h
    : attention + mlpWeights(h, t.ffn, t.gated)
}
