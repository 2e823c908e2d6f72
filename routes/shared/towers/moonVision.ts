/**
 * MoonViT for images and short videos: patches with learned positions, blocks with QKV in one tensor, a projector that merges
 * patches; mirrored, or carried where the trainer has no images. Later models drop biases and change the projector.
 */
import { z } from "zod"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import { many, size } from "../config.ts"

const pair = z.tuple([size, size])

/** Sizes by the published names (`vt_…`, `init_…`) or the common ones; absent fields have the published config class's defaults. */
export const moonVisionFields = {
  patch_size: size.default(14),
  vt_hidden_size: size.nullish(),
  hidden_size: size.default(1152),
  vt_intermediate_size: size.nullish(),
  intermediate_size: size.default(4304),
  vt_num_hidden_layers: many.nullish(),
  vt_num_attention_heads: size.nullish(),
  num_attention_heads: size.nullish(),
  num_hidden_layers: many.default(27),
  init_pos_emb_height: size.nullish(),
  pos_emb_height: size.default(64),
  init_pos_emb_width: size.nullish(),
  pos_emb_width: size.default(64),
  merge_kernel_size: pair.default([2, 2]),
  mm_hidden_size: size.nullish()
}

type Vision = z.infer<z.ZodObject<typeof moonVisionFields>>

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const moonVision = (path: string, v: Vision): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.vt_num_hidden_layers ?? v.num_hidden_layers,
    hidden: v.vt_hidden_size ?? v.hidden_size,
    heads: v.vt_num_attention_heads ?? v.num_attention_heads ?? 16,
    ffn: v.vt_intermediate_size ?? v.intermediate_size,
    gated: false,
    patch: { height: v.patch_size, width: v.patch_size, channels: 3, frames: 1 },
    merge: v.merge_kernel_size[0],
    positions: (v.init_pos_emb_height ?? v.pos_emb_height) * (v.init_pos_emb_width ?? v.pos_emb_width),
    output: v.vt_hidden_size ?? v.hidden_size
  },
  build: (s) => {
    const h = v.vt_hidden_size ?? v.hidden_size
    const ffn = v.vt_intermediate_size ?? v.intermediate_size
    plainLayer(s, "patch_embed.proj", [h, 3, v.patch_size, v.patch_size])
    plainWeight(s, "patch_embed.pos_emb", [v.init_pos_emb_height ?? v.pos_emb_height, v.init_pos_emb_width ?? v.pos_emb_width, h])
    plainBlocks(s.at("encoder"), "blocks", v.vt_num_hidden_layers ?? v.num_hidden_layers, (block) => {
      plainLayers(block, ["norm0", "norm1"], [h])
      plainLayer(block, "mlp.fc0", [ffn, h])
      plainLayer(block, "mlp.fc1", [h, ffn])
      plainLayer(block, "wqkv", [3 * h, h])
      plainLayer(block, "wo", [h, h])
    })
    plainLayer(s, "encoder.final_layernorm", [h])
  }
})

/** A norm of one patch, two linear layers on merged ones. `width`: of the language model. */
export const moonProjector = (path: string, v: Vision, width: number): ModuleSource => {
  const h = v.mm_hidden_size ?? v.vt_hidden_size ?? v.hidden_size
  const merged = h * v.merge_kernel_size[0] * v.merge_kernel_size[1]
  return {
    kind: "projector",
    path,
    sizes: { input: merged, hidden: merged, output: width },
    build: (s) => {
      plainLayer(s, "pre_norm", [h])
      plainLayer(s, "proj.0", [merged, merged])
      plainLayer(s, "proj.2", [width, merged])
    }
  }
}

/** Every name that tower and projector may have, in any of their forms, as patterns. */
export const moonNames = (): ReadonlyArray<string> => {
  const modules = [
    "patch_embed.proj",
    "patch_embed.pos_emb",
    "encoder.final_layernorm",
    ...["norm0", "norm1", "mlp.fc0", "mlp.fc1", "wqkv", "wo"].map((name) => `encoder.blocks.*.${name}`)
  ].map((name) => `vision_tower.${name}`)
  const projector = ["pre_norm", "post_norm", "proj.0", "proj.2", "linear_1", "linear_2", "rot_proj"].map((name) => `mm_projector.${name}`)
  return [...modules, ...projector].flatMap((name) => [`${name}.weight`, `${name}.bias`])
}
