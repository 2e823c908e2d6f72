/**
 * The vision transformer with a class token, learned positions and a scale behind each block's attention and MLP (InternViT),
 * which the reference's predecessor builds from Megatron's own layers; a two-layer projector with a norm in front.
 */
import { z } from "zod"
import { concatenatedQkvOf, qkvOf } from "../../../src/bridge/kinds.ts"
import type { Row } from "../../../src/bridge/Mapping.ts"
import { rows, type Table } from "../../../src/bridge/Registry.ts"
import { layerNorms, linear, mlp, norm, selfAttention } from "../../../src/model/modules.ts"
import { type ModuleSource, stackSizes } from "../../../src/model/ModelModule.ts"
import type { Scope } from "../../../src/model/Scope.ts"
import type { DenseConfig } from "../../../src/model/TransformerConfig.ts"
import { many, size } from "../config.ts"
import { divided } from "../llama.ts"

const side = z.union([size, z.array(size).min(1).max(2)])

/** Fields of the published config, and of the one that transformers writes. */
export const scaledVisionFields = {
  hidden_size: size,
  num_hidden_layers: many,
  num_attention_heads: size,
  intermediate_size: size,
  num_channels: size.default(3),
  image_size: side.default(448),
  patch_size: side.default(14),
  norm_type: z.enum(["layer_norm", "rms_norm"]).default("layer_norm"),
  qkv_bias: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  qk_normalization: z.boolean().nullish(),
  use_qk_norm: z.boolean().nullish()
}

type Fields = z.infer<z.ZodObject<typeof scaledVisionFields>>

/** Height and width of a side that stands for both, or of two. */
export const sidesOf = (n: number | ReadonlyArray<number>): readonly [number, number] => (typeof n === "number" ? [n, n] : [n[0]!, n[1] ?? n[0]!])

/** A grid of patches, and the class token. */
const positionsOf = (v: Fields): number => {
  const [[height, width], [patchHeight, patchWidth]] = [sidesOf(v.image_size), sidesOf(v.patch_size)]
  return Math.floor(height / patchHeight) * Math.floor(width / patchWidth) + 1
}

/** The TransformerConfig of its layers. */
export const scaledTransformer = (v: Fields): DenseConfig => ({
  num_layers: v.num_hidden_layers,
  hidden_size: v.hidden_size,
  num_attention_heads: v.num_attention_heads,
  num_query_groups: v.num_attention_heads,
  kv_channels: divided(v.hidden_size, v.num_attention_heads, "vision_config.num_attention_heads"),
  ffn_hidden_size: v.intermediate_size,
  vocab_size: 1,
  normalization: v.norm_type === "rms_norm" ? "RMSNorm" : "LayerNorm",
  gated_linear_unit: false,
  add_bias_linear: true,
  add_qkv_bias: false,
  qk_layernorm: false,
  share_embeddings_and_output_weights: false
})

const build = (s: Scope, v: Fields, c: DenseConfig): void => {
  const [patchHeight, patchWidth] = sidesOf(v.patch_size)
  s.parameter("class_token", [1, 1, v.hidden_size])
  s.parameter("position_embedding", [1, positionsOf(v), v.hidden_size])
  s.parameter("conv1.weight", [v.hidden_size, v.num_channels, patchHeight, patchWidth])
  s.parameter("conv1.bias", [v.hidden_size])
  s.at("decoder").layers("layers", c.num_layers, "stacked", (layer) => {
    const attention = layer.at("self_attention")
    selfAttention(attention, c, { qkvBias: v.qkv_bias ?? v.attention_bias ?? false })
    // Over all heads at once, and without a bias whatever the other norms are.
    if (v.qk_normalization ?? v.use_qk_norm) for (const name of ["q_layernorm", "k_layernorm"]) norm(attention, name, v.hidden_size, "RMSNorm")
    mlp(layer.at("mlp"), c, c.ffn_hidden_size, layerNorms(c))
    layer.parameter("ls1", [v.hidden_size])
    layer.parameter("ls2", [v.hidden_size])
  })
}

/** `merge`: patches per side that become one token in front of the projector. */
export const scaledVision = (path: string, v: Fields, merge: number): ModuleSource => {
  const c = scaledTransformer(v)
  const [height, width] = sidesOf(v.patch_size)
  return {
    kind: "vision",
    path,
    config: c,
    sizes: {
      ...stackSizes(c),
      patch: { height, width, channels: v.num_channels, frames: 1 },
      merge,
      positions: positionsOf(v),
      output: c.hidden_size
    },
    build: (s) => build(s, v, c)
  }
}

/** The projector: a norm over `merged` features fused into the first of two layers. */
export const normedProjector = (path: string, merged: number, out: number): ModuleSource => ({
  kind: "projector",
  path,
  sizes: { input: merged, hidden: out, output: out },
  build: (s) => {
    const projector = s.at("encoder")
    linear(projector, "linear_fc1", out, merged, { parallel: "column", bias: true, fusedNorm: "LayerNorm" })
    linear(projector, "linear_fc2", out, out, { parallel: "row", bias: true })
  }
})

const frame = (embeddings: Readonly<Record<"class_token" | "position_embedding" | "conv1", string>>): Table => ({
  class_token: embeddings.class_token,
  position_embedding: embeddings.position_embedding,
  "conv1.weight": `${embeddings.conv1}.weight`,
  "conv1.bias": `${embeddings.conv1}.bias`
})

const block = (hf: Readonly<Record<"norm1" | "norm2" | "proj" | "ls1" | "ls2", string>>, qkv: Table): Table => ({
  "self_attention.linear_qkv.layer_norm_weight": `${hf.norm1}.weight`,
  "self_attention.linear_qkv.layer_norm_bias": `${hf.norm1}.bias`,
  ...qkv,
  "self_attention.linear_proj.weight": `${hf.proj}.weight`,
  "self_attention.linear_proj.bias": `${hf.proj}.bias`,
  "mlp.linear_fc1.layer_norm_weight": `${hf.norm2}.weight`,
  "mlp.linear_fc1.layer_norm_bias": `${hf.norm2}.bias`,
  "mlp.linear_fc1.weight": "mlp.fc1.weight",
  "mlp.linear_fc1.bias": "mlp.fc1.bias",
  "mlp.linear_fc2.weight": "mlp.fc2.weight",
  "mlp.linear_fc2.bias": "mlp.fc2.bias",
  ls1: hf.ls1,
  ls2: hf.ls2
})

const projection = (norms: string, first: string, second: string): Table => ({
  "linear_fc1.layer_norm_weight": `${norms}.weight`,
  "linear_fc1.layer_norm_bias": `${norms}.bias`,
  "linear_fc1.weight": `${first}.weight`,
  "linear_fc1.bias": `${first}.bias`,
  "linear_fc2.weight": `${second}.weight`,
  "linear_fc2.bias": `${second}.bias`
})

/** The names under which the models are published. */
export const publishedScaledVision: ReadonlyArray<Row> = [
  ...rows("vision_model.", "vision_model.embeddings.", frame({ class_token: "class_embedding", position_embedding: "position_embedding", conv1: "patch_embedding" })),
  ...rows("vision_model.decoder.layers.*.", "vision_model.encoder.layers.*.", block(
    { norm1: "norm1", norm2: "norm2", proj: "attn.proj", ls1: "ls1", ls2: "ls2" },
    {
      "self_attention.linear_qkv.weight": concatenatedQkvOf("attn.qkv.weight"),
      "self_attention.linear_qkv.bias": concatenatedQkvOf("attn.qkv.bias"),
      "self_attention.q_layernorm.weight": "attn.q_norm.weight",
      "self_attention.k_layernorm.weight": "attn.k_norm.weight"
    }
  )),
  ...rows("vision_projection.encoder.", "mlp1.", projection("0", "1", "3"))
]

/** The names that transformers gives them, below `outer`. */
export const convertedScaledVision = (outer: string): ReadonlyArray<Row> => [
  ...rows("vision_model.", `${outer}vision_tower.embeddings.`, frame({ class_token: "cls_token", position_embedding: "position_embeddings", conv1: "patch_embeddings.projection" })),
  ...rows("vision_model.decoder.layers.*.", `${outer}vision_tower.encoder.layer.*.`, block(
    { norm1: "layernorm_before", norm2: "layernorm_after", proj: "attention.projection_layer", ls1: "lambda_1", ls2: "lambda_2" },
    {
      "self_attention.linear_qkv.weight": qkvOf("attention.{q,k,v}_proj.weight"),
      "self_attention.linear_qkv.bias": qkvOf("attention.{q,k,v}_proj.bias"),
      "self_attention.q_layernorm.weight": "attention.q_norm.weight",
      "self_attention.k_layernorm.weight": "attention.k_norm.weight"
    }
  )),
  ...rows("vision_projection.encoder.", `${outer}multi_modal_projector.`, projection("layer_norm", "linear_1", "linear_2"))
]
