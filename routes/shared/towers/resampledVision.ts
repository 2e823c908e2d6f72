/** A vision transformer with LayerNorm, rotary positions and a linear patch embedding, and the resampler behind it; mirrored. */
import type { z } from "zod"
import { rows } from "../../../src/bridge/Registry.ts"
import type { Row } from "../../../src/bridge/Mapping.ts"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import { many, size } from "../config.ts"

/** Absent fields have the defaults of the published config class. */
export const resampledVisionFields = {
  depth: many.default(32),
  hidden_size: size.default(1280),
  intermediate_size: size.nullish(),
  num_heads: size.nullish(),
  in_channels: size.default(3),
  patch_size: size.default(14),
  spatial_merge_size: size.default(2),
  temporal_merge_size: size.default(2)
}

type Vision = z.infer<z.ZodObject<typeof resampledVisionFields>>

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const resampledVision = (path: string, v: Vision): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.depth,
    hidden: v.hidden_size,
    heads: v.num_heads ?? 16,
    ffn: v.intermediate_size ?? 4 * v.hidden_size,
    gated: false,
    patch: { height: v.patch_size, width: v.patch_size, channels: v.in_channels, frames: 1 },
    merge: v.spatial_merge_size,
    output: v.hidden_size
  },
  build: (s) => {
    const h = v.hidden_size
    const ffn = v.intermediate_size ?? 4 * h
    plainWeight(s, "patch_embed.proj", [h, v.in_channels * v.patch_size ** 2])
    plainBlocks(s, "blocks", v.depth, (block) => {
      plainLayers(block, ["norm1", "norm2"], [h])
      plainLayer(block, "attn.qkv", [3 * h, h])
      plainLayer(block, "attn.proj", [h, h])
      plainLayer(block, "mlp.fc1", [ffn, h])
      plainLayer(block, "mlp.fc2", [h, ffn])
    })
    plainLayer(s, "ln", [h])
  }
})

/** Merges patches in space, then frames in time, then projects to the width of the language model. */
export const resampler = (path: string, v: Vision, width: number): ModuleSource => {
  const merged = v.hidden_size * v.spatial_merge_size ** 2
  return {
    kind: "projector",
    path,
    sizes: { input: merged, hidden: merged, output: width },
    build: (s) => {
      for (const [name, input] of [["spatial_linear", merged], ["temporal_linear", merged * v.temporal_merge_size]] as const) {
        plainLayer(s, `${name}.fc1`, [merged, input])
        plainLayer(s, `${name}.fc2`, [merged, merged])
        plainLayer(s, `${name}.ln`, [merged])
      }
      plainLayer(s, "mlp", [width, merged])
      plainWeight(s, "after_norm", [width])
    }
  }
}

/** HF numbers the resampler's layers. */
export const resamplerRows = (megatron: string, hf: string): ReadonlyArray<Row> => [
  ...["spatial_linear", "temporal_linear"].flatMap((name) =>
    rows(`${megatron}${name}.`, `${hf}${name}.`, { "fc1.**": "0.**", "fc2.**": "2.**", "ln.**": "3.**" })),
  ...rows(megatron, hf, { "mlp.**": "mlp.**", "after_norm.**": "after_norm.**" })
]
