/**
 * What a rank keeps of a layer from its forward to its backward pass, in bytes: BF16, attention without stored scores (flash), per
 * token. Tensor parallelism divides what its columns make; norms, residuals and routing only under sequence parallelism.
 *
 * Sources: Korthikanti et al. 2022 (arXiv 2205.05198), table 2, taken apart by block; the rest from the widths of each block.
 */
import type { Block } from "../model/Block.ts"
import type { ModelModule } from "../model/ModelModule.ts"
import type { Workload } from "./Workload.ts"

/**
 * `none`: everything is kept. `selective`: what is cheap to make again is not (activation functions, up-projections of latents).
 * `full`: of a layer only its input, so that its forward pass runs twice.
 */
export type Recompute = "none" | "selective" | "full"

export interface ActivationOptions {
  readonly recompute: Recompute
  readonly sequenceParallel: boolean
  readonly tp: number
  readonly etp: number
}

/** Tokens that one stored state of a chunked delta rule, of a scan, stands for. */
const CHUNK = { delta: 64, scan: 256 }

interface PerToken {
  /** Bytes that tensor parallelism divides. */
  readonly cut: number
  /** Bytes that sequence parallelism divides. */
  readonly whole: number
  /** Bytes of experts, whose widths expert tensor parallelism divides. */
  readonly experts?: number
}

const perToken = (block: Block, recompute: Recompute): PerToken => {
  const residual = 4 * block.hidden
  const selective = recompute !== "none"
  switch (block.kind) {
    case "attention": {
      const query = block.heads * block.headDim
      const out = block.heads * block.valueDim
      return { whole: residual, cut: 2 * (query + block.groups * (block.headDim + block.valueDim)) + (block.outputGate ? 2 * query : 0) + 2 * out + 4 * block.heads }
    }
    case "latent-attention": {
      const heads = block.heads * (2 * (block.nopeDim + block.ropeDim) + 2 * block.valueDim)
      return { whole: residual + 2 * ((block.queryRank ?? 0) + block.rank + block.ropeDim), cut: selective ? 2 * block.heads * block.valueDim : 2 * heads }
    }
    case "compressed-attention":
      return { whole: residual + 2 * (block.queryRank + 2 * block.headDim + (block.compressedWidth ?? 0)), cut: 4 * block.heads * block.headDim + 2 * block.outputGroups * block.outputRank }
    case "gated-delta-net": {
      const [key, value] = [block.keyHeads * block.keyDim, block.valueHeads * block.valueDim]
      return { whole: residual, cut: 2 * (2 * key + 2 * value + 2 * block.valueHeads) + 2 * (2 * key + value) + 2 * value + (2 * block.valueHeads * block.keyDim * block.valueDim) / CHUNK.delta }
    }
    case "channel-delta-attention": {
      const width = block.heads * block.headDim
      return { whole: residual, cut: 2 * 8 * width + (2 * block.heads * block.headDim ** 2) / CHUNK.delta }
    }
    case "lightning-attention": {
      const width = block.heads * block.headDim
      return { whole: residual, cut: 2 * 5 * width + (2 * block.heads * block.headDim ** 2) / CHUNK.delta }
    }
    case "mamba": {
      const [inner, state] = [block.heads * block.headDim, block.groups * block.state]
      return { whole: residual, cut: 2 * (2 * inner + 2 * state + block.heads) + 2 * (inner + 2 * state) + 2 * inner + (2 * inner * block.state) / CHUNK.scan }
    }
    case "linear":
      return { whole: residual, cut: 2 * block.hidden }
    case "mlp":
      return { whole: block.shared ? 0 : residual, cut: (block.gated && !selective ? 6 : 4) * block.ffn }
    case "experts": {
      const times = block.perToken ?? 1
      return { whole: residual + 4 * block.experts + 4 * times * block.width, cut: 0, experts: times * (block.gated && !selective ? 6 : 4) * block.ffn }
    }
  }
}

/**
 * Bytes on one rank: `kept` until the backward pass, `whole` while it runs, where more is made again than is kept. Loads of experts
 * are taken to be even; without dropping, the worst case is `ep` times as much.
 */
export const blockActivations = (block: Block, tokens: number, { etp, recompute, sequenceParallel, tp }: ActivationOptions): { readonly kept: number; readonly whole: number } => {
  const { cut, experts = 0, whole } = perToken(block, recompute)
  const spread = sequenceParallel ? tp : 1
  const all = tokens * (cut / tp + whole / spread + experts / etp / spread)
  return recompute === "full" ? { kept: (tokens * block.hidden) / spread, whole: all } : { kept: all, whole: 0 }
}

/**
 * Bytes that one layer of a tower keeps on one rank. Towers are not recomputed unless asked for, and only those of Megatron's own
 * layers are cut. A gated MLP keeps half as much again.
 */
export const towerActivations = (module: ModelModule & { readonly kind: "vision" | "audio" }, w: Workload, tp: number): number => {
  const { ffn, gated, hidden } = module.sizes
  const units = module.kind === "vision" ? w.patches : w.frames
  return units * (10 * hidden + (8 * hidden + (gated ? 6 : 4) * ffn) / (module.blocks.length > 0 ? tp : 1))
}
