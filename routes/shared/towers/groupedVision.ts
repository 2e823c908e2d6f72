/**
 * The vision transformer with grouped-query attention, RMSNorm and a gated MLP with biases, which Megatron builds from its own
 * layers; positions are rotary only.
 */
import type { z } from "zod"
import { gatedMlpOf } from "../../../src/bridge/kinds.ts"
import type { Row } from "../../../src/bridge/Mapping.ts"
import { rows } from "../../../src/bridge/Registry.ts"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { visionModule } from "../../../src/model/vision.ts"
import { visionBlock } from "../blocks.ts"
import { size } from "../config.ts"
import { divided } from "../llama.ts"
import { windowVisionFields } from "./windowVision.ts"

/** Fields of the tower's section of config.json, with bounds. */
export const groupedVisionFields = { ...windowVisionFields, num_key_value_heads: size.default(8) }

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const groupedVision = (path: string, v: z.infer<z.ZodObject<typeof groupedVisionFields>>): ModuleSource => visionModule(path, {
  transformer: {
    num_layers: v.depth,
    hidden_size: v.hidden_size,
    num_attention_heads: v.num_heads,
    num_query_groups: v.num_key_value_heads,
    kv_channels: divided(v.hidden_size, v.num_heads, "vision_config.num_heads"),
    ffn_hidden_size: v.intermediate_size,
    vocab_size: 1,
    normalization: "RMSNorm",
    gated_linear_unit: true,
    add_bias_linear: true,
    add_qkv_bias: true,
    qk_layernorm: false,
    share_embeddings_and_output_weights: false
  },
  patchEmbedding: [v.hidden_size, v.in_channels, v.temporal_patch_size, v.patch_size, v.patch_size],
  patchBias: false,
  spatialMerge: v.spatial_merge_size,
  outputWidth: v.out_hidden_size
})

/** Its rows. */
export const groupedVisionRows = (megatron: string, hf: string): ReadonlyArray<Row> => [
  ...rows(megatron, hf, {
    "patch_embed.proj.weight": "patch_embed.proj.weight",
    "merger.patch_norm.weight": "merger.ln_q.weight",
    "merger.linear_fc1.weight": "merger.mlp.0.weight",
    "merger.linear_fc1.bias": "merger.mlp.0.bias",
    "merger.linear_fc2.weight": "merger.mlp.2.weight",
    "merger.linear_fc2.bias": "merger.mlp.2.bias"
  }),
  ...rows(`${megatron}decoder.layers.*.`, `${hf}blocks.*.`, {
    ...visionBlock,
    "mlp.linear_fc1.weight": gatedMlpOf("mlp.{gate,up}_proj.weight"),
    "mlp.linear_fc1.bias": gatedMlpOf("mlp.{gate,up}_proj.bias"),
    "mlp.linear_fc2.weight": "mlp.down_proj.weight",
    "mlp.linear_fc2.bias": "mlp.down_proj.bias"
  })
]
