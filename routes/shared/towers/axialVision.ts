/** The vision transformer with rotary positions by rows and columns: LayerNorm, one QKV tensor, a plain MLP, a patch merger; mirrored. */
import { z } from "zod"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainWeight } from "../../../src/model/plain.ts"
import { many, size } from "../config.ts"

/** Absent fields have the defaults of the published config class; `hidden_size` is the language model's width. */
export const axialVisionFields = {
  depth: many.default(32),
  embed_dim: size.default(1280),
  hidden_size: size.default(3584),
  num_heads: size.default(16),
  mlp_ratio: size.max(64).default(4),
  in_channels: size.default(3),
  patch_size: size.default(14),
  spatial_merge_size: size.default(2),
  temporal_patch_size: size.default(2)
}

/** Vision transformer with rotary positions by rows and columns, at `path`: LayerNorm, one QKV tensor, a plain MLP, a patch merger. */
export const axialVision = (path: string, v: z.infer<z.ZodObject<typeof axialVisionFields>>): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.depth,
    hidden: v.embed_dim,
    heads: v.num_heads,
    ffn: v.embed_dim * v.mlp_ratio,
    gated: false,
    patch: { height: v.patch_size, width: v.patch_size, channels: v.in_channels, frames: v.temporal_patch_size },
    merge: v.spatial_merge_size,
    output: v.hidden_size
  },
  build: (s) => {
    const h = v.embed_dim
    const merged = h * v.spatial_merge_size ** 2
    plainWeight(s, "patch_embed.proj", [h, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size])
    plainBlocks(s, "blocks", v.depth, (block) => {
      plainLayer(block, "norm1", [h])
      plainLayer(block, "norm2", [h])
      plainLayer(block, "attn.qkv", [3 * h, h])
      plainLayer(block, "attn.proj", [h, h])
      plainLayer(block, "mlp.fc1", [h * v.mlp_ratio, h])
      plainLayer(block, "mlp.fc2", [h, h * v.mlp_ratio])
    })
    plainLayer(s, "merger.ln_q", [h])
    plainLayer(s, "merger.mlp.0", [merged, merged])
    plainLayer(s, "merger.mlp.2", [v.hidden_size, merged])
  }
})
