/**
 * A vision transformer with class tokens, one grid of learned positions and linear patch embeddings (one for images, one for
 * pairs of video frames), built from the trainer's own layers; and its projector into a language model, a plain MLP behind a
 * norm. The embeddings' linears are the trainer's own class, whose module state is None.
 */
import { layerNorms, linear, mlp, type NormKind, selfAttention } from "./modules.ts"
import { type ModuleSource, type ProjectorSizes, stackSizes } from "./ModelModule.ts"
import type { Scope } from "./Scope.ts"
import type { DenseConfig } from "./TransformerConfig.ts"

/** Sizes of the tower. */
export interface RadioVision {
  readonly transformer: DenseConfig
  readonly classTokens: number
  readonly positions: number
  /** Side in pixels. */
  readonly patchSize: number
  readonly channels: number
  /** Frames of one video patch; 0: videos are embedded as images. */
  readonly videoFrames: number
}

const build = (s: Scope, v: RadioVision): void => {
  const c = v.transformer
  const patch = v.channels * v.patchSize ** 2
  s.parameter("class_token", [v.classTokens, c.hidden_size])
  s.parameter("position_embeddings", [1, v.positions, c.hidden_size])
  linear(s, "embedder", c.hidden_size, patch, { parallel: "column", state: "none" })
  if (v.videoFrames > 0) linear(s, "video_embedder", c.hidden_size, v.videoFrames * patch, { parallel: "column", state: "none" })
  s.at("decoder").layers("layers", c.num_layers, "stacked", (layer) => {
    selfAttention(layer.at("self_attention"), c)
    mlp(layer.at("mlp"), c, c.ffn_hidden_size, layerNorms(c))
  }, { staged: false })
}

/** `merge`: patches per side that become one token in front of the projector. */
export const radioVision = (path: string, v: RadioVision, merge: number): ModuleSource => {
  const c = v.transformer
  return {
    kind: "vision",
    path,
    config: c,
    sizes: {
      ...stackSizes(c),
      patch: { height: v.patchSize, width: v.patchSize, channels: v.channels, frames: Math.max(1, v.videoFrames) },
      merge,
      positions: v.positions,
      output: c.hidden_size
    },
    build: (s) => build(s, v)
  }
}

/** `linear_fc1` behind a fused norm, `linear_fc2`; no gate, no biases. */
export const mlpProjector = (path: string, sizes: ProjectorSizes & { readonly hidden: number }, kind: NormKind): ModuleSource => ({
  kind: "projector",
  path,
  sizes,
  build: (s) => {
    const encoder = s.at("encoder")
    linear(encoder, "linear_fc1", sizes.hidden, sizes.input, { parallel: "column", fusedNorm: kind })
    linear(encoder, "linear_fc2", sizes.output, sizes.hidden, { parallel: "row" })
  }
})
