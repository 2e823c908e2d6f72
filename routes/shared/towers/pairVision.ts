/** The plain pre-norm vision transformer of contrastive image-text models: LayerNorm, separate q, k, v, a two-layer MLP, biases; mirrored. */
import { z } from "zod"
import type { ModuleSource, VisionSizes } from "../../../src/model/ModelModule.ts"
import { plainBlocks, plainLayer, plainLayers, plainWeight } from "../../../src/model/plain.ts"
import type { Scope } from "../../../src/model/Scope.ts"
import type { Shape } from "../../../src/tensor/Copy.ts"
import { many, size } from "../config.ts"

/** Fields of the tower's section of config.json, with bounds. */
export const pairVisionFields = {
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: many,
  num_attention_heads: size,
  num_channels: size.default(3),
  image_size: size,
  patch_size: size
}

/** Those fields, parsed. */
export type PairVision = z.infer<z.ZodObject<typeof pairVisionFields>>

/** Sizes of the tower. */
export const pairSizes = (v: Omit<PairVision, "image_size">): VisionSizes => ({
  layers: v.num_hidden_layers,
  hidden: v.hidden_size,
  heads: v.num_attention_heads,
  ffn: v.intermediate_size,
  gated: false,
  patch: { height: v.patch_size, width: v.patch_size, channels: v.num_channels, frames: 1 },
  merge: 1,
  output: v.hidden_size
})

/** The encoder's layers, below `encoder.layers`; `projections` in the order the module declares them. */
export const pairLayers = (s: Scope, v: Pick<PairVision, "hidden_size" | "intermediate_size" | "num_hidden_layers">, projections: ReadonlyArray<"q" | "k" | "v">): void => {
  const h = v.hidden_size
  plainBlocks(s.at("encoder"), "layers", v.num_hidden_layers, (layer) => {
    plainLayer(layer, "layer_norm1", [h])
    plainLayers(layer, [...projections.map((p) => `self_attn.${p}_proj`), "self_attn.out_proj"], [h, h])
    plainLayer(layer, "layer_norm2", [h])
    plainLayer(layer, "mlp.fc1", [v.intermediate_size, h])
    plainLayer(layer, "mlp.fc2", [h, v.intermediate_size])
  })
}

/** With a biased patch embedding, learned positions and a norm behind the layers. */
export const pairVision = (path: string, v: PairVision): ModuleSource => ({
  kind: "vision",
  path,
  sizes: { ...pairSizes(v), positions: Math.floor(v.image_size / v.patch_size) ** 2 },
  build: (s) => {
    const h = v.hidden_size
    const patches: Shape = [h, v.num_channels, v.patch_size, v.patch_size]
    plainLayer(s, "embeddings.patch_embedding", patches)
    plainWeight(s, "embeddings.position_embedding", [Math.floor(v.image_size / v.patch_size) ** 2, h])
    pairLayers(s, v, ["k", "v", "q"])
    plainLayer(s, "post_layernorm", [h])
  }
})
