/** Perception Encoder: a vision transformer with layer scales, and two strided convolutions behind it; mirrored. */
import { z } from "zod"
import { plainBlocks, plainLayer, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import type { Scope } from "../../../src/model/Scope.ts"
import { many, size } from "../config.ts"

export const perceptionFields = {
  width: size,
  layers: many,
  heads: size,
  num_channels: size.default(3),
  image_size: size,
  patch_size: size,
  mlp_ratio: z.number().positive().max(64).default(8960 / 1536),
  ls_init_value: z.number().nullish(),
  use_cls_token: z.boolean().nullish(),
  use_abs_posemb: z.boolean().nullish(),
  use_ln_pre: z.boolean().nullish(),
  use_ln_post: z.boolean().nullish()
}

/** Each convolution halves the grid and doubles the width, so that the output is four times as wide. */
export const perceptionEncoder = (s: Scope, v: z.infer<z.ZodObject<typeof perceptionFields>>): void => {
  const h = v.width
  const ffn = Math.trunc(h * v.mlp_ratio)
  const cls = v.use_cls_token ?? false
  if (cls) s.parameter("class_embedding", [h])
  if (v.use_abs_posemb ?? true) s.parameter("positional_embedding", [(cls ? 1 : 0) + Math.floor(v.image_size / v.patch_size) ** 2, h])
  plainWeight(s, "conv1", [h, v.num_channels, v.patch_size, v.patch_size])
  if (v.use_ln_pre ?? false) plainLayer(s, "ln_pre", [h])
  if (v.use_ln_post ?? true) plainLayer(s, "ln_post", [h])
  plainBlocks(s.at("transformer"), "resblocks", v.layers, (block) => {
    block.parameter("attn.in_proj_weight", [3 * h, h])
    block.parameter("attn.in_proj_bias", [3 * h])
    plainLayer(block, "attn.out_proj", [h, h])
    plainLayers(block, ["ln_1", "ln_2"], [h])
    plainLayer(block, "mlp.c_fc", [ffn, h])
    plainLayer(block, "mlp.c_proj", [h, ffn])
    if (typeof v.ls_init_value === "number") {
      for (const name of ["ls_1", "ls_2"]) block.parameter(`${name}.gamma`, [h])
    }
  })
  plainLayer(s, "vit_downsampler1", [2 * h, h, 3, 3])
  plainLayer(s, "vit_downsampler2", [4 * h, 2 * h, 3, 3])
}
