/** The GPT model: embedding, decoder layers, final norm, optional multi-token prediction, output layer. */
import { latentAttention, type LatentAttentionOptions } from "./mla.ts"
import { gatedDeltaNet, layerNorms, linear, mlp, moe, norm, selfAttention, type SelfAttentionOptions } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import { isLinearAttention, isMoe, layerLayout, type TransformerConfig } from "./TransformerConfig.ts"

/** One decoder layer; `kind` comes from its number unless given. */
export const transformerLayer = (
  s: Scope,
  c: TransformerConfig,
  kind: { readonly linearAttention: boolean; readonly moe: boolean },
  options: SelfAttentionOptions & LatentAttentionOptions = {}
): void => {
  const attention = s.at("self_attention")
  if (c.multi_latent_attention) norm(s, "input_layernorm", c.hidden_size, c.normalization)
  if (kind.linearAttention) gatedDeltaNet(attention, c)
  else if (c.multi_latent_attention) latentAttention(attention, c, options)
  else selfAttention(attention, c, options)
  if (kind.moe) norm(s, "pre_mlp_layernorm", c.hidden_size, c.normalization)
  if (kind.moe) moe(s.at("mlp"), c)
  else mlp(s.at("mlp"), c, c.ffn_hidden_size, layerNorms(c, options.norms))
}

/** `embedding.word_embeddings.weight` [vocab_size, hidden_size], cut by rows. */
export const embedding = (s: Scope, c: TransformerConfig): void =>
  s.on("first").parameter("embedding.word_embeddings.weight", [c.vocab_size, c.hidden_size], { splitAxis: 0, ragged: true })

/** `output_layer.weight`, absent where the embedding is shared; it has no module state. */
export const outputLayer = (s: Scope, c: TransformerConfig): void => {
  if (c.share_embeddings_and_output_weights) return
  s.on("last").parameter("output_layer.weight", [c.vocab_size, c.hidden_size], { splitAxis: 0, ragged: true })
}

/**
 * Multi-token prediction: always stored per layer, on the last stage. The inner layer is `mtp_model_layer` in memory and
 * `transformer_layer` on disk. It is a full-attention layer, MoE where the model's last layer is.
 */
export const mtp = (s: Scope, c: TransformerConfig, layer: (s: Scope, index: number) => void = (inner) =>
  transformerLayer(inner, c, { linearAttention: false, moe: isMoe(c, c.num_layers - 1) })): void => {
  s.on("last").forMtp().at("mtp").layers("layers", c.mtp_num_layers ?? 0, "indexed", (m, k) => {
    norm(m, "enorm", c.hidden_size, c.normalization)
    norm(m, "hnorm", c.hidden_size, c.normalization)
    linear(m, "eh_proj", c.hidden_size, 2 * c.hidden_size, { parallel: "column" })
    layer(m.at("mtp_model_layer", "transformer_layer"), k)
    norm(m, "final_layernorm", c.hidden_size, c.normalization)
  }, { staged: false })
}

/** Layers that are made otherwise than the config says. */
export interface GptOptions {
  /** How decoder layer `index` is made, where the config alone does not say. */
  readonly layer?: (layer: Scope, index: number) => void
  /** How the inner layer of multi-token-prediction module `index` is made. */
  readonly mtpLayer?: (layer: Scope, index: number) => void
}

/** A GPT: embedding, decoder, final norm, output layer, multi-token prediction. */
export const gpt = (s: Scope, c: TransformerConfig, options: GptOptions = {}): void => {
  const plain = (layer: Scope, i: number) => transformerLayer(layer, c, { linearAttention: isLinearAttention(c, i), moe: isMoe(c, i) })
  embedding(s, c)
  s.at("decoder").layers("layers", c.num_layers, layerLayout(c), options.layer ?? plain)
  norm(s.at("decoder").on("norm"), "final_layernorm", c.hidden_size, c.normalization)
  mtp(s, c, options.mtpLayer)
  outputLayer(s, c)
}
