/** RADIO: config fields, sizes and rows. Published configs name a version instead of sizes: then the tensors tell. */
import { z } from "zod"
import type { HfHeaders } from "../../../src/bridge/Family.ts"
import type { Row } from "../../../src/bridge/Mapping.ts"
import { rows, type Table } from "../../../src/bridge/Registry.ts"
import type { RadioVision } from "../../../src/model/radioVision.ts"
import { visionBlock } from "../blocks.ts"
import { many, size } from "../config.ts"
import { encoderConfig } from "./encoderConfig.ts"

/** Fields of the tower's section of config.json, with bounds. */
export const radioFields = {
  hidden_size: size.nullish(),
  num_hidden_layers: many.nullish(),
  num_attention_heads: size.nullish(),
  intermediate_size: size.nullish(),
  mlp_ratio: z.number().positive().max(64).nullish(),
  patch_size: size.nullish(),
  num_channels: size.default(3),
  max_img_size: size.nullish(),
  num_cls_tokens: size.nullish(),
  num_registers: many.nullish(),
  video_temporal_patch_size: size.nullish(),
  separate_video_embedder: z.boolean().nullish()
}

type Fields = z.infer<z.ZodObject<typeof radioFields>>

const HF = "vision_model.radio_model.model."
const PATCHES = `${HF}patch_generator.`

const blocksIn = (headers: HfHeaders): number | undefined => {
  const numbers = headers.names.flatMap((name) => (name.startsWith(`${HF}blocks.`) ? [Number.parseInt(name.slice(HF.length + 7), 10)] : []))
  return numbers.length > 0 ? numbers.reduce((a, b) => Math.max(a, b), 0) + 1 : undefined
}

/** Config first, then tensors, then the huge model that all published checkpoints have. `classTokens`: if nothing says. */
export const radioOf = (v: Fields, headers: HfHeaders, classTokens: number): RadioVision => {
  const dimension = (name: string, axis: number): number | undefined => headers.tensor(name)?.shape[axis]
  const hidden = v.hidden_size ?? dimension(`${PATCHES}embedder.weight`, 0) ?? 1280
  const heads = v.num_attention_heads ?? 16
  const patchSize = v.patch_size ?? 16
  const tokens = v.num_cls_tokens ? v.num_cls_tokens + (v.num_registers ?? 0) : undefined
  return {
    transformer: encoderConfig({
      layers: v.num_hidden_layers ?? Math.min(blocksIn(headers) ?? 32, 100_000),
      hidden,
      heads,
      headsField: "vision_config.num_attention_heads",
      ffn: v.intermediate_size ?? (v.mlp_ratio ? Math.trunc(v.mlp_ratio * hidden) : dimension(`${HF}blocks.0.mlp.fc1.weight`, 0) ?? 4 * hidden)
    }),
    classTokens: tokens ?? dimension(`${PATCHES}cls_token.token`, 0) ?? classTokens,
    positions: v.max_img_size ? Math.floor(v.max_img_size / patchSize) ** 2 : dimension(`${PATCHES}pos_embed`, 1) ?? 128 ** 2,
    patchSize,
    channels: v.num_channels,
    videoFrames: v.separate_video_embedder ?? (v.video_temporal_patch_size ?? 1) > 1 ? v.video_temporal_patch_size ?? 2 : 0
  }
}

const block: Table = {
  ...visionBlock,
  "mlp.linear_fc1.weight": "mlp.fc1.weight",
  "mlp.linear_fc1.bias": "mlp.fc1.bias",
  "mlp.linear_fc2.weight": "mlp.fc2.weight",
  "mlp.linear_fc2.bias": "mlp.fc2.bias"
}

/** Its rows. */
export const radioRows = (megatron: string): ReadonlyArray<Row> => [
  ...rows(megatron, PATCHES, {
    "class_token": "cls_token.token",
    "position_embeddings": "pos_embed",
    "embedder.weight": "embedder.weight",
    "video_embedder.weight": "video_embedder.weight"
  }),
  ...rows(`${megatron}decoder.layers.*.`, `${HF}blocks.*.`, block)
]

/** Buffers, and a final norm that only some published checkpoints have; the trainer has no place for them. */
export const radioCarried = [
  ...["input_conditioner.norm_mean", "input_conditioner.norm_std", "summary_idxs", "model.norm.weight", "model.norm.bias"].map((name) => `vision_model.radio_model.${name}`),
  "vision_final_layernorm.weight",
  "vision_final_layernorm.bias"
].map((pattern) => ({ pattern, why: "buffers of the image tower, and a norm behind its last layer, that the trainer's tower does not have" }))
