/** The vision transformer with window attention: RMSNorm, a gated MLP with biases, no learned positions; mirrored. */
import { z } from "zod"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import { many, size } from "../config.ts"

/** Absent fields have the defaults of the published config classes. */
export const windowVisionFields = {
  depth: many.default(32),
  hidden_size: size.default(3584),
  num_heads: size.default(16),
  intermediate_size: size.default(3420),
  in_channels: size.default(3),
  patch_size: size.default(14),
  spatial_merge_size: size.default(2),
  temporal_patch_size: size.default(2),
  out_hidden_size: size.default(3584)
}

/** `qkv`: one tensor for queries, keys and values, or three. */
export const windowVision = (path: string, v: z.infer<z.ZodObject<typeof windowVisionFields>>, { qkv }: { readonly qkv: "one" | "three" }): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.depth,
    hidden: v.hidden_size,
    heads: v.num_heads,
    ffn: v.intermediate_size,
    gated: true,
    patch: { height: v.patch_size, width: v.patch_size, channels: v.in_channels, frames: v.temporal_patch_size },
    merge: v.spatial_merge_size,
    output: v.out_hidden_size
  },
  build: (s) => {
    const h = v.hidden_size
    const merged = h * v.spatial_merge_size ** 2
    plainWeight(s, "patch_embed.proj", [h, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size])
    plainBlocks(s, "blocks", v.depth, (block) => {
      plainWeight(block, "norm1", [h])
      plainWeight(block, "norm2", [h])
      if (qkv === "one") plainLayer(block, "attn.qkv", [3 * h, h])
      else plainLayers(block, ["attn.q", "attn.k", "attn.v"], [h, h])
      plainLayer(block, "attn.proj", [h, h])
      plainLayers(block, ["mlp.gate_proj", "mlp.up_proj"], [v.intermediate_size, h])
      plainLayer(block, "mlp.down_proj", [h, v.intermediate_size])
    })
    plainWeight(s, "merger.ln_q", [h])
    plainLayer(s, "merger.mlp.0", [merged, merged])
    plainLayer(s, "merger.mlp.2", [v.out_hidden_size, merged])
  }
})
