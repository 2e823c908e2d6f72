/**
 * Megatron-Core's own class for the vision encoders of contrastive models: one convolution embeds the patches, positions are learned,
 * the layers are stacked, and no norm belongs to the stack. What its subtypes differ in are options.
 */
import { layerNorms, linear, mlp, norm, selfAttention } from "./modules.ts"
import { type ModuleSource, type ProjectorSizes, stackSizes } from "./ModelModule.ts"
import type { DenseConfig } from "./TransformerConfig.ts"

/** Sizes of the encoder. */
export interface PositionVision {
  readonly transformer: DenseConfig
  /** Side in pixels. */
  readonly patchSize: readonly [height: number, width: number]
  readonly channels: number
  /** Patches of an image. */
  readonly patches: number
  /** A token in front of the patches. */
  readonly classToken: boolean
  readonly patchBias: boolean
  /** A norm in front of the layers. */
  readonly normBefore?: boolean
  /** A norm behind the layers. */
  readonly normAfter?: boolean
  /** Biases of queries, keys and values, where they are not those of all linear layers. */
  readonly qkvBias?: boolean
  /** Queries and keys are normalised over all heads at once. */
  readonly qkNorm?: boolean
  /** What attention and MLP give is scaled, channel by channel. */
  readonly layerScale?: boolean
}

/** The encoder as a typed module at `path`; `merge`: patches per side that become one token behind it. */
export const positionVision = (path: string, v: PositionVision, merge = 1): ModuleSource => {
  const { transformer: c, patchSize: [height, width] } = v
  const positions = v.patches + Number(v.classToken)
  return {
    kind: "vision",
    path,
    config: c,
    sizes: { ...stackSizes(c), patch: { height, width, channels: v.channels, frames: 1 }, merge, positions, output: c.hidden_size },
    build: (s) => {
      if (v.classToken) s.parameter("class_token", [1, 1, c.hidden_size])
      if (v.normBefore) norm(s, "ln_pre", c.hidden_size, c.normalization)
      if (v.normAfter) norm(s.on("last"), "ln_post", c.hidden_size, c.normalization)
      s.parameter("conv1.weight", [c.hidden_size, v.channels, height, width])
      if (v.patchBias) s.parameter("conv1.bias", [c.hidden_size])
      s.parameter("position_embeddings.weight", [positions, c.hidden_size])
      s.at("decoder").layers("layers", c.num_layers, "stacked", (layer) => {
        const attention = layer.at("self_attention")
        selfAttention(attention, c, v.qkvBias === undefined ? {} : { qkvBias: v.qkvBias })
        if (v.qkNorm) for (const name of ["q_layernorm", "k_layernorm"]) norm(attention, name, c.hidden_size, "RMSNorm")
        mlp(layer.at("mlp"), c, c.ffn_hidden_size, layerNorms(c))
        if (v.layerScale) for (const name of ["ls1", "ls2"]) layer.parameter(name, [c.hidden_size])
      })
    }
  }
}

/** Megatron-Core's projector of two layers, below `encoder`. */
export const layeredProjector = (path: string, sizes: ProjectorSizes & { readonly hidden: number }, { bias }: { readonly bias: boolean }): ModuleSource => ({
  kind: "projector",
  path,
  sizes,
  build: (s) => {
    const encoder = s.at("encoder")
    linear(encoder, "linear_fc1", sizes.hidden, sizes.input, { parallel: "column", bias })
    linear(encoder, "linear_fc2", sizes.output, sizes.hidden, { parallel: "row", bias })
  }
})
