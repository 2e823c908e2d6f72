/**
 * A vision transformer with class tokens, one grid of learned positions and linear patch embeddings (one for images, one for
 * pairs of video frames), built from the trainer's own layers; and its projector into a language model, a plain MLP behind a
 * norm. The embeddings' linears are the trainer's own class, whose module state is None.
 */
import { layerNorms, linear, mlp, type Norm, selfAttention } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

export interface RadioVision {
  readonly transformer: TransformerConfig
  readonly classTokens: number
  readonly positions: number
  /** Values of one patch. */
  readonly patch: number
  /** Frames of one video patch; 0: videos are embedded as images. */
  readonly videoFrames: number
}

export const radioVision = (s: Scope, v: RadioVision): void => {
  const c = v.transformer
  s.parameter("class_token", [v.classTokens, c.hidden_size])
  s.parameter("position_embeddings", [1, v.positions, c.hidden_size])
  linear(s, "embedder", c.hidden_size, v.patch, { parallel: "column", state: "none" })
  if (v.videoFrames > 0) linear(s, "video_embedder", c.hidden_size, v.videoFrames * v.patch, { parallel: "column", state: "none" })
  s.at("decoder").layers("layers", c.num_layers, "stacked", (layer) => {
    selfAttention(layer.at("self_attention"), c)
    mlp(layer.at("mlp"), c, c.ffn_hidden_size, layerNorms(c))
  }, { staged: false })
}

/** `linear_fc1` behind a fused norm, `linear_fc2`; no gate, no biases. */
export const mlpProjector = (s: Scope, { ffn, from, kind, to }: { readonly from: number; readonly ffn: number; readonly to: number; readonly kind: Norm }): void => {
  const encoder = s.at("encoder")
  linear(encoder, "linear_fc1", ffn, from, { parallel: "column", fusedNorm: kind })
  linear(encoder, "linear_fc2", to, ffn, { parallel: "row" })
}
