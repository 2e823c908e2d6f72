/** Perception Encoder: a vision transformer with layer scales, and two strided convolutions behind it; mirrored. */
import { z } from "zod"
import { pairedQkvOf } from "../../../src/bridge/kinds/elementary.ts"
import type { Table } from "../../../src/bridge/Registry.ts"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import { many, size } from "../config.ts"

/** Sizes by the published names (`width`, `layers`) or the common ones; absent fields have the published config class's defaults. */
export const perceptionFields = {
  width: size.nullish(),
  hidden_size: size.default(1536),
  layers: many.nullish(),
  num_hidden_layers: many.default(47),
  heads: size.nullish(),
  num_attention_heads: size.default(16),
  num_channels: size.default(3),
  image_size: size.default(728),
  patch_size: size.default(14),
  mlp_ratio: z.number().positive().max(64).default(8960 / 1536),
  ls_init_value: z.number().nullable().default(0.1),
  use_cls_token: z.boolean().nullish(),
  use_abs_posemb: z.boolean().nullish(),
  use_ln_pre: z.boolean().nullish(),
  use_ln_post: z.boolean().nullish()
}

type Vision = z.infer<z.ZodObject<typeof perceptionFields>>

/** Width of the tower, by either of its published names. */
export const widthOf = (v: Vision): number => v.width ?? v.hidden_size

const ffnOf = (v: Vision): number => Math.trunc(widthOf(v) * v.mlp_ratio)

/** Rows of blocks whose queries, keys and values are apart, with rotary halves instead of pairs. */
export const splitQkv = (v: Vision): Table =>
  Object.fromEntries(["weight", "bias"].map((kind) =>
    [`transformer.resblocks.*.attn.in_proj_${kind}`, pairedQkvOf(v.heads ?? v.num_attention_heads, `transformer.resblocks.*.attn.{q,k,v}_proj.${kind}`)]))

/** Each convolution halves the grid and doubles the width, so that the output is four times as wide. */
export const perceptionEncoder = (path: string, v: Vision): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.layers ?? v.num_hidden_layers,
    hidden: widthOf(v),
    heads: v.heads ?? v.num_attention_heads,
    ffn: ffnOf(v),
    gated: false,
    patch: { height: v.patch_size, width: v.patch_size, channels: v.num_channels, frames: 1 },
    merge: 4,
    ...(v.use_abs_posemb ?? true ? { positions: Math.floor(v.image_size / v.patch_size) ** 2 } : {}),
    output: 4 * widthOf(v)
  },
  build: (s) => {
    const h = widthOf(v)
    const ffn = ffnOf(v)
    const cls = v.use_cls_token ?? false
    if (cls) s.parameter("class_embedding", [h])
    if (v.use_abs_posemb ?? true) s.parameter("positional_embedding", [(cls ? 1 : 0) + Math.floor(v.image_size / v.patch_size) ** 2, h])
    plainWeight(s, "conv1", [h, v.num_channels, v.patch_size, v.patch_size])
    if (v.use_ln_pre ?? true) plainLayer(s, "ln_pre", [h])
    if (v.use_ln_post ?? false) plainLayer(s, "ln_post", [h])
    plainBlocks(s.at("transformer"), "resblocks", v.layers ?? v.num_hidden_layers, (block) => {
      block.parameter("attn.in_proj_weight", [3 * h, h])
      block.parameter("attn.in_proj_bias", [3 * h])
      plainLayer(block, "attn.out_proj", [h, h])
      plainLayers(block, ["ln_1", "ln_2"], [h])
      plainLayer(block, "mlp.c_fc", [ffn, h])
      plainLayer(block, "mlp.c_proj", [h, ffn])
      if (v.ls_init_value !== null) {
        for (const name of ["ls_1", "ls_2"]) block.parameter(`${name}.gamma`, [h])
      }
    })
    plainLayer(s, "vit_downsampler1", [2 * h, h, 3, 3])
    plainLayer(s, "vit_downsampler2", [4 * h, 2 * h, 3, 3])
  }
})
