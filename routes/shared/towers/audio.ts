/** Audio encoders on mel spectrograms: convolutions, pre-norm transformer layers, a projection; mirrored. */
import { z } from "zod"
import type { AudioSizes, ModuleSource } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainWeight } from "../../../src/model/plain.ts"
import type { Scope } from "../../../src/model/Scope.ts"
import { many, size } from "../config.ts"

/** Fields of the tower's section of config.json, with bounds. */
export const audioFields = {
  d_model: size.default(1280),
  encoder_layers: many.default(32),
  encoder_attention_heads: size.nullish(),
  encoder_ffn_dim: size.default(5120),
  num_mel_bins: size.default(128)
}

type Audio = z.infer<z.ZodObject<typeof audioFields>>

const sizesOf = (a: Audio, output: number): AudioSizes => ({
  form: "transformer",
  layers: a.encoder_layers,
  hidden: a.d_model,
  heads: a.encoder_attention_heads ?? 20,
  ffn: a.encoder_ffn_dim,
  gated: false,
  melBins: a.num_mel_bins,
  output
})

const layers = (s: Scope, a: Audio, { keyBias }: { readonly keyBias: boolean }): void =>
  plainBlocks(s, "layers", a.encoder_layers, (layer) => {
    const square = [a.d_model, a.d_model]
    plainLayer(layer, "self_attn.k_proj", square, keyBias)
    for (const name of ["v_proj", "q_proj", "out_proj"]) plainLayer(layer, `self_attn.${name}`, square)
    plainLayer(layer, "self_attn_layer_norm", [a.d_model])
    plainLayer(layer, "fc1", [a.encoder_ffn_dim, a.d_model])
    plainLayer(layer, "fc2", [a.d_model, a.encoder_ffn_dim])
    plainLayer(layer, "final_layer_norm", [a.d_model])
  })

const convolutions = (s: Scope, a: Audio): void => {
  plainLayer(s, "conv1", [a.d_model, a.num_mel_bins, 3])
  plainLayer(s, "conv2", [a.d_model, a.d_model, 3])
}

/** Two one-dimensional convolutions and stored positions. */
export const audioEncoder = (path: string, a: Audio & { readonly max_source_positions: number }): ModuleSource => ({
  kind: "audio",
  path,
  sizes: sizesOf(a, a.d_model),
  build: (s) => {
    convolutions(s, a)
    plainWeight(s, "embed_positions", [a.max_source_positions, a.d_model])
    layers(s, a, { keyBias: false })
    plainLayer(s, "layer_norm", [a.d_model])
  }
})

/** The same with computed positions, two marker embeddings and a projection into the language model. */
export const projectedAudioEncoder = (path: string, a: Audio & { readonly output_dim: number }): ModuleSource => ({
  kind: "audio",
  path,
  sizes: sizesOf(a, a.output_dim),
  build: (s) => {
    convolutions(s, a)
    plainWeight(s, "audio_bos_eos_token", [2, a.output_dim])
    layers(s, a, { keyBias: false })
    plainLayer(s, "ln_post", [a.d_model])
    plainLayer(s, "proj", [a.output_dim, a.d_model])
  }
})

/** Three two-dimensional convolutions, each halving the mel bins, and a projection of two layers. */
export const downsamplingAudioEncoder = (path: string, a: Audio & { readonly output_dim: number; readonly downsample_hidden_size: number }): ModuleSource => ({
  kind: "audio",
  path,
  sizes: sizesOf(a, a.output_dim),
  build: (s) => {
    const channels = a.downsample_hidden_size
    const bins = [0, 1, 2].reduce((n) => Math.floor((n + 1) / 2), a.num_mel_bins)
    layers(s, a, { keyBias: true })
    plainLayer(s, "ln_post", [a.d_model])
    plainLayer(s, "conv2d1", [channels, 1, 3, 3])
    plainLayer(s, "conv2d2", [channels, channels, 3, 3])
    plainLayer(s, "conv2d3", [channels, channels, 3, 3])
    plainWeight(s, "conv_out", [a.d_model, channels * bins])
    plainLayer(s, "proj1", [a.d_model, a.d_model])
    plainLayer(s, "proj2", [a.output_dim, a.d_model])
  }
})
