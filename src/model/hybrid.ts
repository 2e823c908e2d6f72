/**
 * Hybrid models: every layer is one block, a Mamba mixer, attention, an MLP or a mixture of experts, with its norm in front. The
 * layer number always stays in the key. Unlike a GPT's, their output layer has a module state.
 */
import { embedding } from "./gpt.ts"
import { mambaMixer, type MambaOptions } from "./mamba.ts"
import { layerNorms, linear, mlp, moe, norm, selfAttention } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** What a layer of a hybrid model is. */
export type HybridBlock = "mamba" | "attention" | "mlp" | "moe"

/** Megatron's letters for the blocks, as in `hybrid_layer_pattern`. */
export const HYBRID_LETTERS: Readonly<Record<HybridBlock, string>> = { mamba: "M", attention: "*", mlp: "-", moe: "E" }

/** One layer of a hybrid model. */
export const hybridLayer = (s: Scope, c: TransformerConfig, block: HybridBlock, mamba: MambaOptions = {}): void => {
  if (block === "mamba") mambaMixer(s.at("mixer"), c, { ...mamba, fusedNorm: c.normalization })
  else if (block === "attention") selfAttention(s.at("self_attention"), c)
  else if (block === "mlp") mlp(s.at("mlp"), c, c.ffn_hidden_size, layerNorms(c))
  else {
    norm(s, "pre_mlp_layernorm", c.hidden_size, c.normalization)
    moe(s.at("mlp"), c)
  }
}

/** Multi-token prediction of hybrid models: the inner layers keep their name on disk; shared by all tokens, it is stored once. */
export const hybridMtp = (s: Scope, c: TransformerConfig, blocks: ReadonlyArray<HybridBlock>): void => {
  const modules = c.mtp_use_repeated_layer ? Math.min(1, c.mtp_num_layers ?? 0) : c.mtp_num_layers ?? 0
  s.on("last").forMtp().at("mtp").layers("layers", modules, "indexed", (m) => {
    norm(m, "enorm", c.hidden_size, c.normalization)
    norm(m, "hnorm", c.hidden_size, c.normalization)
    linear(m, "eh_proj", c.hidden_size, 2 * c.hidden_size, { parallel: "column" })
    m.at("mtp_model_layer").layers("layers", blocks.length, "indexed", (layer, i) => hybridLayer(layer, c, blocks[i]!), { staged: false })
    norm(m, "final_layernorm", c.hidden_size, c.normalization)
  }, { staged: false })
}

/** `output_layer.weight` with its (empty) state; absent where the embedding is shared. */
export const hybridOutput = (s: Scope, c: TransformerConfig): void => {
  if (c.share_embeddings_and_output_weights) return
  const last = s.on("last")
  last.parameter("output_layer.weight", [c.vocab_size, c.hidden_size], { splitAxis: 0, ragged: true })
  last.state("output_layer", "none")
}

/** What the layers of a hybrid model are. */
export interface HybridOptions {
  readonly layer: (layer: Scope, index: number) => void
  /** Blocks of a multi-token-prediction module. */
  readonly mtp?: ReadonlyArray<HybridBlock>
}

/** A hybrid model: embedding, layers of one block each, final norm, output layer, multi-token prediction. */
export const hybrid = (s: Scope, c: TransformerConfig, { layer, mtp = [] }: HybridOptions): void => {
  embedding(s, c)
  s.at("decoder").layers("layers", c.num_layers, "indexed", layer)
  norm(s.at("decoder").on("last"), "final_norm", c.hidden_size, c.normalization)
  hybridMtp(s, c, mtp)
  hybridOutput(s, c)
}
