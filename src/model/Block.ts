/**
 * What a layer consists of, as facts: every module that mixes tokens or widens them says here what it was built as. Planners and
 * calculators read them (weights, FLOPs, memory); the parameters beside them are made from the same numbers. `hidden` is the width
 * of the residual stream, widths are in elements.
 */

/** A sparse indexer: cheap scores that select keys. */
export interface Indexer {
  readonly heads: number
  readonly headDim: number
}

/** Softmax attention: MHA where `groups` = `heads`, MQA where it is 1, GQA between. */
export interface AttentionBlock {
  readonly kind: "attention"
  readonly hidden: number
  readonly heads: number
  readonly groups: number
  readonly headDim: number
  readonly valueDim: number
  /** Each query head has a gate of its own width behind it. */
  readonly outputGate: boolean
}

/** MLA. A query or key head has `nopeDim` elements without and `ropeDim` with rotary position. */
export interface LatentAttentionBlock {
  readonly kind: "latent-attention"
  readonly hidden: number
  readonly heads: number
  /** Null: one query projection of full rank. */
  readonly queryRank: number | null
  readonly rank: number
  readonly nopeDim: number
  readonly ropeDim: number
  readonly valueDim: number
  /** A projection [heads × valueDim, hidden] gates the output. */
  readonly outputGate: boolean
  readonly indexer?: Indexer
}

/** GDN: linear attention with a decay and a write strength per value head. */
export interface GatedDeltaNetBlock {
  readonly kind: "gated-delta-net"
  readonly hidden: number
  readonly keyHeads: number
  readonly valueHeads: number
  readonly keyDim: number
  readonly valueDim: number
  /** Width of the short convolution. */
  readonly kernel: number
}

/** KDA: delta attention whose decay is per channel, from a projection of the rank of one head. */
export interface ChannelDeltaBlock {
  readonly kind: "channel-delta-attention"
  readonly hidden: number
  readonly heads: number
  readonly headDim: number
  readonly kernel: number
}

/** Linear attention with a fixed decay per head and an output gate. */
export interface LightningAttentionBlock {
  readonly kind: "lightning-attention"
  readonly hidden: number
  readonly heads: number
  readonly headDim: number
}

/** Attention on one shared key/value head, its keys compressed by `ratio` (0: a sliding window alone). */
export interface CompressedAttentionBlock {
  readonly kind: "compressed-attention"
  readonly hidden: number
  readonly heads: number
  readonly headDim: number
  readonly queryRank: number
  readonly outputGroups: number
  readonly outputRank: number
  readonly ratio: number
  /** Width of the compressed key and of its gate. */
  readonly compressedWidth?: number
  readonly indexer?: Indexer & { readonly compressedWidth: number }
}

/** A Mamba-2 mixer. */
export interface MambaBlock {
  readonly kind: "mamba"
  readonly hidden: number
  readonly heads: number
  readonly headDim: number
  readonly groups: number
  readonly state: number
  readonly kernel: number
}

/** One linear map [hidden, hidden] in place of a module. */
export interface LinearBlock {
  readonly kind: "linear"
  readonly hidden: number
}

/** A dense MLP: two matrices, three where gated. */
export interface MlpBlock {
  readonly kind: "mlp"
  readonly hidden: number
  readonly ffn: number
  readonly gated: boolean
  /** Beside routed experts: every token goes through it. */
  readonly shared?: true
  /** A scalar per token [1, hidden] weighs the shared expert. */
  readonly tokenGate?: true
}

/** Routed experts and their router [experts, hidden]. */
export interface ExpertsBlock {
  readonly kind: "experts"
  readonly hidden: number
  readonly experts: number
  /** Experts that a token goes through (top-k); undefined where config.json leaves it to the trainer. */
  readonly perToken?: number
  /** Width at which the experts work; where it is not `hidden`, a projection leads there and one back. */
  readonly width: number
  readonly ffn: number
  readonly gated: boolean
}

/** What a layer computes with, and its sizes: what memory and FLOPs are counted from. */
export type Block =
  | AttentionBlock
  | LatentAttentionBlock
  | GatedDeltaNetBlock
  | ChannelDeltaBlock
  | LightningAttentionBlock
  | CompressedAttentionBlock
  | MambaBlock
  | LinearBlock
  | MlpBlock
  | ExpertsBlock

/** A block and where it was built. */
export interface PlacedBlock {
  /** Module path in the standard model, with a dot at its end. */
  readonly path: string
  /** Number of its layer in the innermost list of layers; undefined outside of one. */
  readonly layer?: number
  /** Belongs to multi-token prediction. */
  readonly mtp?: true
  readonly block: Block
}
