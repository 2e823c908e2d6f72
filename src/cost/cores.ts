/**
 * What attention and recurrences cost besides their matrices: forward operations over a whole workload. Sources: the formulas of the
 * trainer (loggedFlops.ts) with the true widths; state-space scans and delta rules at their recurrent cost, of which chunked
 * kernels do more.
 */
import type { Block } from "../model/Block.ts"
import { meanContext, type Workload } from "./Workload.ts"
import { causalContext, type Fields, isWindowed, windowOf } from "./window.ts"

/** Forward operations of the core of one block of the language model. `layer` from 0. */
export const causalCore = (block: Block, w: Workload, fields: Fields, layer: number): number => {
  const length = meanContext(w)
  const context = causalContext(length, isWindowed(fields, layer + 1) ? windowOf(fields) : undefined)
  const t = w.tokens
  switch (block.kind) {
    case "attention":
      return 2 * t * context * block.heads * (block.headDim + block.valueDim)
    case "latent-attention": {
      const indexer = block.indexer === undefined ? 0 : length * block.indexer.heads * block.indexer.headDim
      return t * (length * block.heads * (block.nopeDim + block.ropeDim + block.valueDim) + indexer)
    }
    case "compressed-attention": {
      const near = causalContext(length, typeof fields["csa_window_size"] === "number" ? fields["csa_window_size"] : 128)
      const far = block.ratio > 0 ? length / (2 * block.ratio) : 0
      const indexer = block.indexer === undefined ? 0 : 2 * far * block.indexer.heads * block.indexer.headDim
      return t * (4 * (near + far) * block.heads * block.headDim + indexer)
    }
    case "gated-delta-net":
      return 8 * t * block.valueHeads * block.keyDim * block.valueDim
    case "channel-delta-attention":
      return 8 * t * block.heads * block.headDim ** 2
    case "lightning-attention":
      return 4 * t * block.heads * block.headDim ** 2
    case "mamba":
      return 7 * t * block.heads * block.headDim * block.state
    case "linear":
    case "mlp":
    case "experts":
      return 0
  }
}

/** Forward operations of full attention among the patches of each image (or the frames of each clip); `width`: of all heads. */
export const fullCore = (width: number, squares: number): number => 4 * width * squares
