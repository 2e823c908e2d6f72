/** Vision transformers that Megatron builds from its own layers: patch embedding, positions, stacked blocks, patch merger. */
import { layerNorms, linear, mlp, norm, selfAttention } from "./modules.ts"
import { type ModuleSource, stackSizes } from "./ModelModule.ts"
import type { Scope } from "./Scope.ts"
import type { DenseConfig } from "./TransformerConfig.ts"

/** Sizes of a vision transformer built from the trainer's own layers. */
export interface VisionConfig {
  readonly transformer: DenseConfig
  /** Shape of the convolution that embeds patches, `[hidden, channels, frames, height, width]`. */
  readonly patchEmbedding: readonly [hidden: number, channels: number, frames: number, height: number, width: number]
  /** The convolution has a bias unless this is false. */
  readonly patchBias?: boolean
  /** Learned positions; absent where positions are rotary only. */
  readonly positions?: number
  /** Patches merged into one token, per side. */
  readonly spatialMerge: number
  /** Width of the language model. */
  readonly outputWidth: number
  /** Number of inner layers whose output is merged too and reaches the language model directly. */
  readonly deepstack?: number
}

/** Merges `spatialMerge²` patches: a norm over one patch (or over the merged ones), two linear layers. */
export const patchMerger = (s: Scope, v: VisionConfig, options: { readonly normMerged: boolean }): void => {
  const width = v.transformer.hidden_size
  const merged = width * v.spatialMerge ** 2
  norm(s, "patch_norm", options.normMerged ? merged : width, v.transformer.normalization)
  linear(s, "linear_fc1", merged, merged, { parallel: "column", bias: true })
  linear(s, "linear_fc2", v.outputWidth, merged, { parallel: "row", bias: true })
}

/** The transformer: patch embedding, positions, layers, mergers of some layers, merger. */
export const visionTransformer = (s: Scope, v: VisionConfig): void => {
  const c = v.transformer
  s.parameter("patch_embed.proj.weight", v.patchEmbedding)
  if (v.patchBias !== false) s.parameter("patch_embed.proj.bias", [c.hidden_size])
  if (v.positions !== undefined) s.parameter("pos_embed.weight", [v.positions, c.hidden_size])
  s.at("decoder").layers("layers", c.num_layers, "stacked", (layer) => {
    selfAttention(layer.at("self_attention"), c)
    mlp(layer.at("mlp"), c, c.ffn_hidden_size, layerNorms(c))
  })
  s.at("decoder").on("last").layers("deepstack_merger_list", v.deepstack ?? 0, "stacked", (merger) =>
    patchMerger(merger, v, { normMerged: true }), { staged: false })
  patchMerger(s.at("merger").on("last"), v, { normMerged: false })
}

/** The tower as a typed module at `path`. */
export const visionModule = (path: string, v: VisionConfig): ModuleSource => {
  const { transformer: c } = v
  const [, channels, frames, height, width] = v.patchEmbedding
  return {
    kind: "vision",
    path,
    config: c,
    sizes: {
      ...stackSizes(c),
      patch: { height, width, channels, frames },
      merge: v.spatialMerge,
      ...(v.positions === undefined ? {} : { positions: v.positions }),
      output: v.outputWidth
    },
    build: (s) => visionTransformer(s, v)
  }
}
