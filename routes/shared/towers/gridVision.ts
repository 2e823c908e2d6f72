/** The vision transformer of window-free grids: RMSNorm without biases, a convolution that merges patches, a gated merger; mirrored. */
import { z } from "zod"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainWeight } from "../../../src/model/plain.ts"
import { many, size } from "../config.ts"

/** Absent fields have the defaults of the published config classes. */
export const gridVisionFields = {
  depth: many.default(24),
  hidden_size: size.default(1536),
  num_heads: size.default(12),
  intermediate_size: size.default(13696),
  in_channels: size.default(3),
  image_size: size.default(336),
  patch_size: size.default(14),
  spatial_merge_size: size.default(2),
  temporal_patch_size: size.default(2),
  out_hidden_size: size.default(4096),
  attention_bias: z.boolean().nullish()
}

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const gridVision = (path: string, v: z.infer<z.ZodObject<typeof gridVisionFields>>): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.depth,
    hidden: v.hidden_size,
    heads: v.num_heads,
    // The blocks' MLP has the width of the language model; `intermediate_size` is the merger's.
    ffn: v.out_hidden_size,
    gated: true,
    patch: { height: v.patch_size, width: v.patch_size, channels: v.in_channels, frames: v.temporal_patch_size },
    merge: v.spatial_merge_size,
    positions: Math.floor(v.image_size / v.patch_size) ** 2,
    output: v.out_hidden_size
  },
  build: (s) => {
    const h = v.hidden_size
    const out = v.out_hidden_size
    const bias = v.attention_bias ?? false
    plainWeight(s, "embeddings.position_embedding", [Math.floor(v.image_size / v.patch_size) ** 2, h])
    plainLayer(s, "patch_embed.proj", [h, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size])
    plainBlocks(s, "blocks", v.depth, (block) => {
      plainWeight(block, "norm1", [h])
      plainWeight(block, "norm2", [h])
      plainLayer(block, "attn.qkv", [3 * h, h], bias)
      plainWeight(block, "attn.proj", [h, h])
      plainWeight(block, "mlp.gate_proj", [out, h])
      plainWeight(block, "mlp.up_proj", [out, h])
      plainWeight(block, "mlp.down_proj", [h, out])
    })
    plainWeight(s, "merger.proj", [out, out])
    plainLayer(s, "merger.post_projection_norm", [out])
    plainWeight(s, "merger.gate_proj", [v.intermediate_size, out])
    plainWeight(s, "merger.up_proj", [v.intermediate_size, out])
    plainWeight(s, "merger.down_proj", [out, v.intermediate_size])
    plainWeight(s, "post_conv_layernorm", [h])
    plainLayer(s, "downsample", [out, h, v.spatial_merge_size, v.spatial_merge_size])
    plainWeight(s, "post_layernorm", [h])
  }
})
