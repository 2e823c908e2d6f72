/** The vision transformer with two-dimensional rotary positions and no bias anywhere: RMSNorm and a gated MLP; mirrored. */
import { z } from "zod"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import { many, size } from "../config.ts"

/** Absent fields have the defaults of the published config class. */
export const pixelVisionFields = {
  hidden_size: size.default(1024),
  intermediate_size: size.default(4096),
  num_hidden_layers: many.default(24),
  num_attention_heads: size.default(16),
  num_channels: size.default(3),
  patch_size: size.default(16)
}

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const pixelVision = (path: string, v: z.infer<z.ZodObject<typeof pixelVisionFields>>): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.num_hidden_layers,
    hidden: v.hidden_size,
    heads: v.num_attention_heads,
    ffn: v.intermediate_size,
    gated: true,
    patch: { height: v.patch_size, width: v.patch_size, channels: v.num_channels, frames: 1 },
    merge: 1,
    output: v.hidden_size
  },
  build: (s) => {
    const h = v.hidden_size
    plainWeight(s, "patch_conv", [h, v.num_channels, v.patch_size, v.patch_size])
    plainWeight(s, "ln_pre", [h])
    plainBlocks(s.at("transformer"), "layers", v.num_hidden_layers, (layer) => {
      plainWeight(layer, "attention_norm", [h])
      plainLayers(layer, ["feed_forward.gate_proj", "feed_forward.up_proj"], [v.intermediate_size, h], false)
      plainWeight(layer, "feed_forward.down_proj", [h, v.intermediate_size])
      plainLayers(layer, ["attention.k_proj", "attention.v_proj", "attention.q_proj", "attention.o_proj"], [h, h], false)
      plainWeight(layer, "ffn_norm", [h])
    })
  }
})
