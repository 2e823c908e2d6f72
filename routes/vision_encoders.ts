/**
 * Image encoders alone, as their checkpoints are published: CLIP, SigLIP and InternViT as Megatron-Core's own class, the towers of Qwen3
 * and RADIO of Megatron's own layers, the others as transformers has them, which the trainer takes over.
 */
import { z } from "zod"
import { type Family, family, type HfHeaders } from "../src/bridge/Family.ts"
import { concatenatedQkvOf } from "../src/bridge/kinds.ts"
import { reshapedOf } from "../src/bridge/kinds/elementary.ts"
import { rows } from "../src/bridge/Registry.ts"
import type { ModuleSource } from "../src/model/ModelModule.ts"
import { plainLayer, plainWeight } from "../src/model/plain.ts"
import { positionVision } from "../src/model/positionVision.ts"
import { radioVision } from "../src/model/radioVision.ts"
import { visionBlock } from "./shared/blocks.ts"
import { defaulted, dtypeField, size } from "./shared/config.ts"
import { alone, encoderModel } from "./shared/encoderModel.ts"
import { mirrored, sectioned } from "./shared/multimodal.ts"
import { blockVision, blockVisionFields, blockVisionRows } from "./shared/towers/blockVision.ts"
import { contrastCarried, contrastDefaults, type ContrastKind, contrastRows, contrastVision, contrastVisionFields, featureLayers, layersUpTo } from "./shared/towers/contrastVision.ts"
import { pairLayers, pairSizes, pairVisionFields } from "./shared/towers/pairVision.ts"
import { pixelVision, pixelVisionFields } from "./shared/towers/pixelVision.ts"
import { radioCarried, radioFields, radioOf, radioRows } from "./shared/towers/radioVision.ts"
import { scaledTransformer, scaledVisionFields, sidesOf } from "./shared/towers/scaledVision.ts"
import { windowVision, windowVisionFields } from "./shared/towers/windowVision.ts"

const dtypes = { dtype: dtypeField, torch_dtype: dtypeField }

/** A tower is published in a section `vision_model`, which transformers 5 leaves out of a vision model alone. */
const towerPrefix = (headers: HfHeaders): string =>
  headers.names.some((name) => name.startsWith("embeddings.") || name.startsWith("encoder.")) ? "" : "vision_model."

const OTHER_TOWER = "of the model's other tower and of what compares the two; no part of an encoder"
const otherTower = ["text_model.**", "visual_projection.weight", "text_projection.weight", "logit_scale", "logit_bias"].map((pattern) => ({ pattern, why: OTHER_TOWER }))

const contrast = (kind: ContrastKind, architectures: ReadonlyArray<string>): Family => family({
  name: `${kind}-vision`,
  architectures,
  config: () => sectioned("vision_config", z.looseObject({
    vision_config: defaulted(contrastDefaults[kind], z.looseObject(contrastVisionFields)),
    // Said by an assembly: the layer whose output the model takes.
    vision_feature_layer: featureLayers.default(-1),
    ...dtypes
  })),
  layout: (_, headers) => towerPrefix(headers),
  describe: (c, hf) => {
    const { vision_config: v } = c
    const layers = layersUpTo(v.num_hidden_layers, c.vision_feature_layer)
    return encoderModel({
      encoder: kind,
      tower: contrastVision("", v, kind, layers),
      rows: contrastRows("", hf, v, kind),
      fields: { layer_norm_eps: v.layer_norm_eps, activation: v.hidden_act, dtype: v.dtype ?? v.torch_dtype ?? c.dtype, torch_dtype: c.torch_dtype },
      carried: [...contrastCarried(hf, v, kind, layers), ...otherTower]
    })
  }
})

export const clipVision = contrast("clip", ["CLIPModel", "CLIPVisionModel", "CLIPVisionModelWithProjection"])
export const siglipVision = contrast("siglip", ["SiglipModel", "SiglipVisionModel"])

const pairFields = { ...pairVisionFields, image_size: size.nullish(), num_patches: size.default(256) }

/** Patches of any number per side are embedded by a linear map. */
const flexibleVision = (v: z.infer<z.ZodObject<typeof pairFields>>): ModuleSource => ({
  kind: "vision",
  path: "",
  sizes: { ...pairSizes(v), positions: v.num_patches },
  build: (s) => {
    plainLayer(s, "embeddings.patch_embedding", [v.hidden_size, v.num_channels * v.patch_size ** 2])
    plainWeight(s, "embeddings.position_embedding", [v.num_patches, v.hidden_size])
    pairLayers(s, v, ["k", "v", "q"])
    plainLayer(s, "post_layernorm", [v.hidden_size])
  }
})

export const siglip2Vision = family({
  name: "siglip2-vision",
  architectures: ["Siglip2Model", "Siglip2VisionModel"],
  config: () => sectioned("vision_config", z.looseObject({
    vision_config: defaulted({ hidden_size: 768, intermediate_size: 3072, num_hidden_layers: 12, num_attention_heads: 12, patch_size: 16 }, z.looseObject({ ...pairFields, ...dtypes })),
    ...dtypes
  })),
  layout: (_, headers) => towerPrefix(headers),
  describe: (c, hf) => encoderModel({
    encoder: "siglip2",
    tower: flexibleVision(c.vision_config),
    rows: ["embeddings.", "encoder.", "post_layernorm."].flatMap((name) => mirrored(name, hf + name)),
    fields: { dtype: c.vision_config.dtype ?? c.dtype, torch_dtype: c.torch_dtype },
    carried: [...contrastCarried(hf, { ...c.vision_config, image_size: 1 }, "siglip", c.vision_config.num_hidden_layers), ...otherTower]
  })
})

export const internVision = family({
  name: "intern-vit",
  architectures: ["InternVisionModel"],
  config: () => z.looseObject({ ...scaledVisionFields, ...dtypes, layer_norm_eps: z.number().nonnegative().nullish(), hidden_act: z.string().nullish() }),
  describe: (v) => {
    const [height, width] = sidesOf(v.image_size)
    const patchSize = sidesOf(v.patch_size)
    const patches = Math.floor(height / patchSize[0]) * Math.floor(width / patchSize[1])
    const transformer = scaledTransformer(v)
    return encoderModel({
      encoder: "intern_vit",
      tower: positionVision("", {
        transformer,
        patchSize,
        channels: v.num_channels,
        patches,
        classToken: true,
        patchBias: true,
        qkvBias: v.qkv_bias ?? v.attention_bias ?? false,
        qkNorm: v.qk_normalization ?? v.use_qk_norm ?? false,
        layerScale: true
      }),
      rows: [
        ...rows("", "embeddings.", {
          class_token: "class_embedding",
          "conv1.weight": "patch_embedding.weight",
          "conv1.bias": "patch_embedding.bias",
          "position_embeddings.weight": reshapedOf([1, patches + 1, v.hidden_size], "position_embedding")
        }),
        ...rows("decoder.layers.*.", "encoder.layers.*.", {
          ...visionBlock,
          "self_attention.linear_qkv.weight": concatenatedQkvOf("attn.qkv.weight"),
          "self_attention.q_layernorm.weight": "attn.q_norm.weight",
          "self_attention.k_layernorm.weight": "attn.k_norm.weight",
          "mlp.linear_fc1.weight": "mlp.fc1.weight",
          "mlp.linear_fc1.bias": "mlp.fc1.bias",
          "mlp.linear_fc2.weight": "mlp.fc2.weight",
          "mlp.linear_fc2.bias": "mlp.fc2.bias",
          ls1: "ls1",
          ls2: "ls2"
        })
      ],
      fields: { ...v, activation: v.hidden_act },
      notes: transformer.num_attention_heads % 2 === 0 ? [] : [`${transformer.num_attention_heads} heads divide among few ranks; the reference's example pads them with zeros for 8, which is not done here`]
    })
  }
})

export const pixtralVision = family({
  name: "pixtral-vision",
  architectures: ["PixtralVisionModel"],
  config: () => z.looseObject({ ...pixelVisionFields, ...dtypes }),
  describe: (v) => encoderModel({ encoder: "pixtral", tower: pixelVision("", v), rows: ["patch_conv.", "ln_pre.", "transformer."].flatMap((name) => mirrored(name, name)), fields: v })
})

const RADIO = "vision_model."
/** The headers of an encoder alone as those of a model that has it. */
const below = (prefix: string, headers: HfHeaders): HfHeaders =>
  ({ names: headers.names.map((name) => prefix + name), tensor: (name) => (name.startsWith(prefix) ? headers.tensor(name.slice(prefix.length)) : undefined) })

export const radio = family({
  name: "radio",
  architectures: ["RADIOModel"],
  config: () => z.looseObject({ ...radioFields, ...dtypes }),
  layout: (v, headers) => radioOf(v, below(RADIO, headers), 10),
  describe: (v, sizes) => encoderModel({
    encoder: "radio",
    tower: radioVision("", sizes, 1),
    rows: alone(radioRows(""), "", RADIO),
    fields: { dtype: v.dtype, torch_dtype: v.torch_dtype },
    carried: radioCarried.flatMap(({ pattern, why }) => (pattern.startsWith(RADIO) ? [{ pattern: pattern.slice(RADIO.length), why }] : []))
  })
})

export const qwen3Vision = family({
  name: "qwen3-vision",
  architectures: ["Qwen3VLVisionModel", "Qwen3VLMoeVisionModel", "Qwen3_5VisionModel", "Qwen3_5MoeVisionModel"],
  config: () => z.looseObject({ ...blockVisionFields, ...dtypes }),
  describe: (v) => {
    const deepstack = v.deepstack_visual_indexes?.length ?? 0
    return encoderModel({ encoder: "qwen_visual", tower: blockVision("", v, deepstack), rows: blockVisionRows("", "", { deepstack: deepstack > 0 }), fields: v })
  }
})

export const qwen2_5Vision = family({
  name: "qwen2.5-vision",
  architectures: ["Qwen2_5_VisionTransformerPretrainedModel"],
  config: () => z.looseObject({ ...windowVisionFields, ...dtypes }),
  describe: (v) => encoderModel({ encoder: "qwen_visual", tower: windowVision("", v, { qkv: "one" }), rows: ["patch_embed.", "blocks.", "merger."].flatMap((name) => mirrored(name, name)), fields: v })
})
