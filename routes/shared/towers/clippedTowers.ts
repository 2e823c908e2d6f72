/**
 * Vision and audio encoders whose linear layers may clip inputs and outputs to bounds that the checkpoint holds. Plain torch
 * modules: names, shapes and order are those of transformers 5.18, rows are the names themselves.
 */
import { z } from "zod"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import type { Scope } from "../../../src/model/Scope.ts"
import { many, size } from "../config.ts"
import { divided } from "../llama.ts"

/** Fields of the tower's section of config.json, with bounds. */
export const clippedVisionFields = z.looseObject({
  hidden_size: size.default(768),
  intermediate_size: size.default(3072),
  num_hidden_layers: many.default(16),
  num_attention_heads: size.default(12),
  num_key_value_heads: size.default(12),
  head_dim: size.default(64),
  patch_size: size.default(16),
  position_embedding_size: size.default(10_240),
  pooling_kernel_size: size.nullish(),
  use_clipped_linears: z.boolean().default(false),
  standardize: z.boolean().default(false)
})

/** Fields of the tower's section of config.json, with bounds. */
export const clippedAudioFields = z.looseObject({
  hidden_size: size.default(1024),
  num_hidden_layers: many.default(12),
  num_attention_heads: size.default(8),
  subsampling_conv_channels: z.tuple([size, size]).default([128, 32]),
  conv_kernel_size: size.default(5),
  output_proj_dims: size.default(1536),
  use_clipped_linears: z.boolean().default(true)
})

const BOUNDS = ["input_min", "input_max", "output_min", "output_max"]

const clipped = (s: Scope, names: ReadonlyArray<string>, out: number, input: number, clips: boolean): void => {
  for (const name of names) {
    plainLayer(s, `${name}.linear`, [out, input], false)
    if (clips) for (const bound of BOUNDS) s.parameter(`${name}.${bound}`, [])
  }
}

const weights = (s: Scope, names: ReadonlyArray<string>, width: number): void => {
  for (const name of names) plainWeight(s, name, [width])
}

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const clippedVision = (path: string, v: z.infer<typeof clippedVisionFields>): ModuleSource => ({
  kind: "vision",
  path,
  sizes: {
    layers: v.num_hidden_layers,
    hidden: v.hidden_size,
    heads: v.num_attention_heads,
    groups: v.num_key_value_heads,
    headDim: v.head_dim,
    ffn: v.intermediate_size,
    gated: true,
    patch: { height: v.patch_size, width: v.patch_size, channels: 3, frames: 1 },
    merge: v.pooling_kernel_size ?? 3,
    positions: 2 * v.position_embedding_size,
    output: v.hidden_size
  },
  build: (s) => {
    const { head_dim: d, hidden_size: h, intermediate_size: ffn, num_attention_heads: heads, num_key_value_heads: groups, use_clipped_linears: clips } = v
    if (v.standardize) for (const name of ["std_bias", "std_scale"]) s.parameter(name, [h])
    s.parameter("patch_embedder.position_embedding_table", [2, v.position_embedding_size, h])
    plainLayer(s, "patch_embedder.input_proj", [h, 3 * v.patch_size ** 2], false)
    plainBlocks(s.at("encoder"), "layers", v.num_hidden_layers, (layer) => {
      clipped(layer, ["self_attn.q_proj"], heads * d, h, clips)
      clipped(layer, ["self_attn.k_proj", "self_attn.v_proj"], groups * d, h, clips)
      clipped(layer, ["self_attn.o_proj"], h, heads * d, clips)
      weights(layer, ["self_attn.q_norm", "self_attn.k_norm"], d)
      clipped(layer, ["mlp.gate_proj", "mlp.up_proj"], ffn, h, clips)
      clipped(layer, ["mlp.down_proj"], h, ffn, clips)
      weights(layer, ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"], h)
    })
  }
})

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const clippedAudio = (path: string, a: z.infer<typeof clippedAudioFields>): ModuleSource => ({
  kind: "audio",
  path,
  sizes: {
    form: "conformer",
    layers: a.num_hidden_layers,
    hidden: a.hidden_size,
    heads: a.num_attention_heads,
    ffn: 4 * a.hidden_size,
    gated: false,
    melBins: 128,
    kernel: a.conv_kernel_size,
    output: a.output_proj_dims
  },
  build: (s) => {
    const { hidden_size: h, use_clipped_linears: clips } = a
    const [first, second] = a.subsampling_conv_channels
    const subsampling = s.at("subsample_conv_projection")
    for (const [name, out, input] of [["layer0", first, 1], ["layer1", second, first]] as const) {
      plainLayer(subsampling, `${name}.conv`, [out, input, 3, 3], false)
      plainWeight(subsampling, `${name}.norm`, [out])
    }
    plainLayer(subsampling, "input_proj_linear", [h, Math.floor(first / 4) * second], false)
    plainBlocks(s, "layers", a.num_hidden_layers, (layer) => {
      for (const name of ["feed_forward1", "feed_forward2"]) {
        clipped(layer, [`${name}.ffw_layer_1`], 4 * h, h, clips)
        clipped(layer, [`${name}.ffw_layer_2`], h, 4 * h, clips)
        weights(layer, [`${name}.pre_layer_norm`, `${name}.post_layer_norm`], h)
      }
      layer.parameter("self_attn.per_dim_scale", [divided(h, a.num_attention_heads, "audio_config.num_attention_heads")])
      clipped(layer, ["q_proj", "k_proj", "v_proj", "post"].map((name) => `self_attn.${name}`), h, h, clips)
      plainLayer(layer, "self_attn.relative_k_proj", [h, h], false)
      clipped(layer, ["lconv1d.linear_start"], 2 * h, h, clips)
      clipped(layer, ["lconv1d.linear_end"], h, h, clips)
      plainLayers(layer, ["lconv1d.depthwise_conv1d"], [h, 1, a.conv_kernel_size], false)
      weights(layer, ["lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm_pre_attn", "norm_post_attn", "norm_out"], h)
    })
    plainLayer(s, "output_proj", [a.output_proj_dims, h])
  }
})
