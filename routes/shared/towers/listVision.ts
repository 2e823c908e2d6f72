/** The vision transformer whose deepstack mergers stand in a list of their own beside the final one; mirrored. */
import type { z } from "zod"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer } from "../../../src/model/plain.ts"
import type { Scope } from "../../../src/model/Scope.ts"
import type { blockVisionFields } from "./blockVision.ts"

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const listVision = (path: string, v: z.infer<z.ZodObject<typeof blockVisionFields>>, deepstack: number): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.depth,
    hidden: v.hidden_size,
    heads: v.num_heads,
    ffn: v.intermediate_size,
    gated: false,
    patch: { height: v.patch_size, width: v.patch_size, channels: v.in_channels, frames: v.temporal_patch_size },
    merge: v.spatial_merge_size,
    positions: v.num_position_embeddings,
    output: v.out_hidden_size
  },
  build: (s) => {
    const h = v.hidden_size
    const merged = h * v.spatial_merge_size ** 2
    const merger = (m: Scope, norm: number): void => {
      plainLayer(m, "ln_q", [norm])
      plainLayer(m, "mlp.0", [merged, merged])
      plainLayer(m, "mlp.2", [v.out_hidden_size, merged])
    }
    plainBlocks(s, "merger_list", deepstack, (m) => merger(m, merged))
    plainLayer(s, "patch_embed.proj", [h, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size])
    s.parameter("pos_embed.weight", [v.num_position_embeddings, h])
    plainBlocks(s, "blocks", v.depth, (block) => {
      plainLayer(block, "norm1", [h])
      plainLayer(block, "norm2", [h])
      plainLayer(block, "attn.qkv", [3 * h, h])
      plainLayer(block, "attn.proj", [h, h])
      plainLayer(block, "mlp.linear_fc1", [v.intermediate_size, h])
      plainLayer(block, "mlp.linear_fc2", [h, v.intermediate_size])
    })
    merger(s.at("merger"), h)
  }
})
