/**
 * A GPT of compressed attention: residual streams that are mixed before and after every attention and MLP, experts in every layer
 * (the first layers route by a table from tokens to experts), multi-token prediction with streams of its own.
 */
import { type CompressedAttention, compressedAttention } from "./compressedAttention.ts"
import { embedding, outputLayer } from "./gpt.ts"
import { hyperConnection, hyperHead } from "./hyperConnections.ts"
import { linear, moe, norm } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** What such a model is, besides its TransformerConfig. */
export interface CompressedGpt {
  readonly c: TransformerConfig
  readonly attention: CompressedAttention
  /** Compression of every decoder layer, then of every multi-token-prediction layer. */
  readonly ratios: ReadonlyArray<number>
  /** Residual streams. */
  readonly streams: number
  /** Layers in front that route by a table, and experts per token in it. */
  readonly tables: { readonly layers: number; readonly experts: number }
}

/** Layer `index`, counted through the decoder and multi-token prediction. */
const compressedLayer = (s: Scope, { attention, c, ratios, streams, tables }: CompressedGpt, index: number): void => {
  const byTable = index < Math.min(tables.layers, c.num_layers)
  norm(s, "input_layernorm", c.hidden_size, "RMSNorm")
  compressedAttention(s.at("self_attention"), attention, ratios[index]!)
  hyperConnection(s.at("self_attention_hyper_connection"), streams, c.hidden_size)
  norm(s, "pre_mlp_layernorm", c.hidden_size, "RMSNorm")
  if (byTable) s.parameter("mlp.router.tid2eid", [c.vocab_size, tables.experts], { integer: true })
  moe(s.at("mlp"), { ...c, moe_router_enable_expert_bias: !byTable })
  hyperConnection(s.at("mlp_hyper_connection"), streams, c.hidden_size)
}

/** The whole model. */
export const compressedGpt = (root: Scope, m: CompressedGpt): void => {
  const { c, streams } = m
  const decoder = root.at("decoder")
  embedding(root, c)
  decoder.layers("layers", c.num_layers, "indexed", (layer, i) => compressedLayer(layer, m, i))
  norm(decoder.on("norm"), "final_layernorm", c.hidden_size, "RMSNorm")
  hyperHead(decoder.on("last"), streams, c.hidden_size)
  root.on("last").forMtp().at("mtp").layers("layers", c.mtp_num_layers ?? 0, "indexed", (module, k) => {
    for (const name of ["enorm", "hnorm"]) norm(module, name, c.hidden_size, "RMSNorm")
    for (const name of ["e_proj", "h_proj"]) linear(module, name, c.hidden_size, c.hidden_size, { parallel: "column" })
    compressedLayer(module.at("mtp_model_layer", "transformer_layer"), m, c.num_layers + k)
    norm(module, "final_layernorm", c.hidden_size, "RMSNorm")
    hyperHead(module, streams, c.hidden_size)
  }, { staged: false })
  outputLayer(root, c)
}
