/** Conformer encoders on mel spectrograms: strided convolutions, then blocks of two half MLPs, relative attention and a convolution; mirrored. */
import { z } from "zod"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import { many, size } from "../config.ts"
import { divided } from "../llama.ts"

/** Fields of the tower's section of config.json, with bounds. */
export const conformerFields = {
  hidden_size: size.default(1024),
  num_hidden_layers: many.default(24),
  num_attention_heads: size.default(8),
  intermediate_size: size.default(4096),
  num_mel_bins: size.default(128),
  subsampling_factor: size.default(8),
  subsampling_conv_channels: size.default(256),
  subsampling_conv_kernel_size: size.default(3),
  subsampling_conv_stride: size.default(2),
  conv_kernel_size: size.default(9),
  attention_bias: z.boolean().nullish(),
  convolution_bias: z.boolean().nullish()
}

/** The tower as a typed module: its sizes, and its parameters below `path`. */
export const conformer = (path: string, a: z.infer<z.ZodObject<typeof conformerFields>>): ModuleSource => ({
  kind: "audio",
  path,
  sizes: {
    form: "conformer",
    layers: a.num_hidden_layers,
    hidden: a.hidden_size,
    heads: a.num_attention_heads,
    ffn: a.intermediate_size,
    gated: false,
    melBins: a.num_mel_bins,
    kernel: a.conv_kernel_size,
    output: a.hidden_size
  },
  build: (s) => {
    const { hidden_size: h, intermediate_size: ffn, num_attention_heads: heads, subsampling_conv_channels: channels, subsampling_conv_kernel_size: kernel } = a
    const bias = a.attention_bias ?? false
    const convolutionBias = a.convolution_bias ?? false
    const halvings = Math.trunc(Math.log2(a.subsampling_factor))
    const layers = s.at("subsampling.layers")
    plainLayer(layers, "0", [channels, 1, kernel, kernel])
    for (let i = 0; i + 1 < halvings; i++) {
      plainLayer(layers, String(2 + 3 * i), [channels, 1, kernel, kernel])
      plainLayer(layers, String(3 + 3 * i), [channels, channels, 1, 1])
    }
    plainLayer(s, "subsampling.linear", [h, channels * Math.floor(a.num_mel_bins / a.subsampling_conv_stride ** halvings)])
    plainBlocks(s, "layers", a.num_hidden_layers, (block) => {
      const mlp = (name: string) => {
        plainLayer(block, `${name}.linear1`, [ffn, h], bias)
        plainLayer(block, `${name}.linear2`, [h, ffn], bias)
      }
      mlp("feed_forward1")
      const positions = [heads, divided(h, heads, "sound_config.num_attention_heads")]
      block.parameter("self_attn.bias_u", positions)
      block.parameter("self_attn.bias_v", positions)
      plainLayers(block.at("self_attn"), ["q_proj", "k_proj", "v_proj", "o_proj"], [h, h], bias)
      plainWeight(block, "self_attn.relative_k_proj", [h, h])
      plainLayer(block, "conv.pointwise_conv1", [2 * h, h, 1], convolutionBias)
      plainLayer(block, "conv.depthwise_conv", [h, 1, a.conv_kernel_size], convolutionBias)
      plainLayer(block, "conv.norm", [h])
      for (const name of ["running_mean", "running_var"]) block.parameter(`conv.norm.${name}`, [h])
      block.parameter("conv.norm.num_batches_tracked", [], { integer: true })
      plainLayer(block, "conv.pointwise_conv2", [h, h, 1], convolutionBias)
      mlp("feed_forward2")
      plainLayers(block, ["norm_feed_forward1", "norm_self_att", "norm_conv", "norm_feed_forward2", "norm_out"], [h])
    })
  }
})
