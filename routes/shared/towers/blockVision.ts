/**
 * The vision transformer with QKV in one tensor, learned positions and a patch merger, which Megatron builds from its own
 * layers; optionally with merged outputs of inner layers (deepstack).
 */
import type { z } from "zod"
import type { Row } from "../../../src/bridge/Mapping.ts"
import { rows } from "../../../src/bridge/Registry.ts"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { visionModule } from "../../../src/model/vision.ts"
import { patchMergerRows, visionBlock, visionFrame } from "../blocks.ts"
import { many, size } from "../config.ts"
import { encoderConfig } from "./encoderConfig.ts"

/** Absent fields have the defaults of the published config classes, which agree. */
export const blockVisionFields = {
  depth: many.default(27),
  hidden_size: size.default(1152),
  num_heads: size.default(16),
  intermediate_size: size.default(4304),
  in_channels: size.default(3),
  patch_size: size.default(16),
  spatial_merge_size: size.default(2),
  temporal_patch_size: size.default(2),
  num_position_embeddings: size.default(2304),
  out_hidden_size: size.default(3584),
  deepstack_visual_indexes: many.array().nullish()
}

type Fields = z.infer<z.ZodObject<typeof blockVisionFields>>

/** `deepstack`: number of inner layers whose output is merged too. */
export const blockVision = (path: string, v: Fields, deepstack = 0): ModuleSource => visionModule(path, {
  transformer: encoderConfig({ layers: v.depth, hidden: v.hidden_size, heads: v.num_heads, headsField: "vision_config.num_heads", ffn: v.intermediate_size }),
  patchEmbedding: [v.hidden_size, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size],
  positions: v.num_position_embeddings,
  spatialMerge: v.spatial_merge_size,
  outputWidth: v.out_hidden_size,
  deepstack
})

/** `deepstack`: inner layers have mergers of their own. */
export const blockVisionRows = (megatron: string, hf: string, { deepstack }: { readonly deepstack: boolean }): ReadonlyArray<Row> => [
  ...rows(megatron, hf, visionFrame),
  ...rows(`${megatron}merger.`, `${hf}merger.`, patchMergerRows),
  ...rows(`${megatron}decoder.layers.*.`, `${hf}blocks.*.`, visionBlock),
  ...(deepstack ? rows(`${megatron}decoder.deepstack_merger_list.*.`, `${hf}deepstack_merger_list.*.`, patchMergerRows) : [])
]
