/**
 * The vision encoders of CLIP and SigLIP in the form of Megatron-Core's own class: fused QKV, stacked layers. A model that takes the
 * output of an inner layer has no later ones: they travel beside it, with all that leads to the image's embedding.
 */
import { z } from "zod"
import type { Carried } from "../../../src/bridge/Family.ts"
import { qkvOf } from "../../../src/bridge/kinds.ts"
import { reshapedOf } from "../../../src/bridge/kinds/elementary.ts"
import type { Row } from "../../../src/bridge/Mapping.ts"
import { rows, type Table } from "../../../src/bridge/Registry.ts"
import { FormatError } from "../../../src/errors.ts"
import type { ModuleSource } from "../../../src/model/ModelModule.ts"
import { positionVision } from "../../../src/model/positionVision.ts"
import type { DenseConfig } from "../../../src/model/TransformerConfig.ts"
import { dtypeField, size } from "../config.ts"
import { encoderConfig } from "./encoderConfig.ts"

/** A layer whose output is used, as index into the hidden states: 0 is what enters the first layer, -1 what the last one gives. */
export const featureLayers = z.union([z.int().min(-1000).max(1000), z.array(z.int().min(-1000).max(1000)).min(1).max(100)])

/** Fields of the tower's section of config.json, with bounds. Layers beside the model become a rule each. */
export const contrastVisionFields = {
  hidden_size: size,
  intermediate_size: size,
  num_hidden_layers: z.int().min(1).max(1000),
  num_attention_heads: size,
  num_channels: size.default(3),
  image_size: size,
  patch_size: size,
  hidden_act: z.string().nullish(),
  layer_norm_eps: z.number().nonnegative().nullish(),
  dtype: dtypeField,
  torch_dtype: dtypeField
}

/** Those fields, parsed. */
export type ContrastVision = z.infer<z.ZodObject<typeof contrastVisionFields>>

/** Which of the two. */
export type ContrastKind = "clip" | "siglip"

/** What the config classes have where a section says nothing. */
const DEFAULTS = { hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12, image_size: 224 }
/** By kind: what its config class has where a section says nothing. */
export const contrastDefaults: Readonly<Record<ContrastKind, Readonly<Record<string, unknown>>>> = {
  clip: { ...DEFAULTS, patch_size: 32, hidden_act: "quick_gelu", layer_norm_eps: 1e-5 },
  siglip: { ...DEFAULTS, patch_size: 16, hidden_act: "gelu_pytorch_tanh", layer_norm_eps: 1e-6 }
}

/** How many layers a model needs that takes these outputs. */
export const layersUpTo = (layers: number, taken: z.infer<typeof featureLayers>, field = "vision_feature_layer"): number => {
  const depths = [taken].flat().map((index) => (index < 0 ? layers + 1 + index : index))
  const depth = depths.reduce((a, b) => Math.max(a, b), 0)
  if (depths.some((one) => one < 0) || depth > layers || depth === 0) {
    throw new FormatError("config/sizes", `the tower has ${layers} layers, of which no output is number ${[taken].flat().join(", ")}`, { field })
  }
  return depth
}

/** The TransformerConfig of its first `layers` layers. */
const contrastTransformer = (v: ContrastVision, layers: number): DenseConfig =>
  encoderConfig({ layers, hidden: v.hidden_size, heads: v.num_attention_heads, headsField: "num_attention_heads", ffn: v.intermediate_size })

/** The tower up to the output of layer `layers`. */
export const contrastVision = (path: string, v: ContrastVision, kind: ContrastKind, layers: number): ModuleSource => positionVision(path, {
  transformer: contrastTransformer(v, layers),
  patchSize: [v.patch_size, v.patch_size],
  channels: v.num_channels,
  patches: Math.floor(v.image_size / v.patch_size) ** 2,
  classToken: kind === "clip",
  patchBias: kind === "siglip",
  ...(kind === "clip" ? { normBefore: true } : { normAfter: true })
})

/** One layer, by the names that these encoders share with those for audio. */
export const encoderLayer = (norm1: string, norm2: string, mlp: string): Table => ({
  "self_attention.linear_qkv.layer_norm_weight": `${norm1}.weight`,
  "self_attention.linear_qkv.layer_norm_bias": `${norm1}.bias`,
  "self_attention.linear_qkv.weight": qkvOf("self_attn.{q,k,v}_proj.weight"),
  "self_attention.linear_qkv.bias": qkvOf("self_attn.{q,k,v}_proj.bias"),
  "self_attention.linear_proj.weight": "self_attn.out_proj.weight",
  "self_attention.linear_proj.bias": "self_attn.out_proj.bias",
  "mlp.linear_fc1.layer_norm_weight": `${norm2}.weight`,
  "mlp.linear_fc1.layer_norm_bias": `${norm2}.bias`,
  "mlp.linear_fc1.weight": `${mlp}fc1.weight`,
  "mlp.linear_fc1.bias": `${mlp}fc1.bias`,
  "mlp.linear_fc2.weight": `${mlp}fc2.weight`,
  "mlp.linear_fc2.bias": `${mlp}fc2.bias`
})

/** Its rows; `hf`: what the names begin with, `embeddings.` and `encoder.` behind it. */
export const contrastRows = (megatron: string, hf: string, v: ContrastVision, kind: ContrastKind): ReadonlyArray<Row> => [
  ...rows(megatron, hf, {
    ...(kind === "clip"
      ? {
        class_token: reshapedOf([v.hidden_size], "embeddings.class_embedding"),
        "ln_pre.weight": "pre_layrnorm.weight",
        "ln_pre.bias": "pre_layrnorm.bias"
      }
      : { "conv1.bias": "embeddings.patch_embedding.bias", "ln_post.weight": "post_layernorm.weight", "ln_post.bias": "post_layernorm.bias" }),
    "conv1.weight": "embeddings.patch_embedding.weight",
    "position_embeddings.weight": "embeddings.position_embedding.weight"
  }),
  ...rows(`${megatron}decoder.layers.*.`, `${hf}encoder.layers.*.`, encoderLayer("layer_norm1", "layer_norm2", "mlp."))
]

/** Names of one layer's tensors, by module. */
const LAYER = ["layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2", ...["q_proj", "k_proj", "v_proj", "out_proj"].map((name) => `self_attn.${name}`)]
/** Of the pooling behind SigLIP's layers. */
const HEAD = ["probe", "attention.in_proj_weight", "attention.in_proj_bias", ...["attention.out_proj", "layernorm", "mlp.fc1", "mlp.fc2"].flatMap((name) => [`${name}.weight`, `${name}.bias`])]

/** What of the encoder the model has no use for. */
export const contrastCarried = (hf: string, v: ContrastVision, kind: ContrastKind, layers: number): ReadonlyArray<Carried> => [
  ...(layers === v.num_hidden_layers ? [] : [`behind layer ${layers} of the tower, whose output the model takes`]).flatMap((why) =>
    Array.from({ length: v.num_hidden_layers - layers }, (_, i) => i + layers).flatMap((layer) =>
      LAYER.flatMap((name) => ["weight", "bias"].map((part) => ({ pattern: `${hf}encoder.layers.${layer}.${name}.${part}`, why }))))),
  ...(kind === "clip" ? ["post_layernorm.weight", "post_layernorm.bias"] : HEAD.map((name) => `head.${name}`)).map((name) => ({
    pattern: hf + name,
    why: "leads to one embedding of the whole image, which the language model does not see"
  })),
  { pattern: `${hf}embeddings.position_ids`, why: "numbers of positions, which every loader counts itself" }
]
