/** Gemma 3 with images: a Gemma 3 language model, a mirrored SigLIP tower, a projector of Megatron's own. */
import { z } from "zod"
import { transposedOf } from "../src/bridge/kinds/elementary.ts"
import { family } from "../src/bridge/Family.ts"
import { float, pythonObject } from "../src/runconfig/Provider.ts"
import { rows } from "../src/bridge/Registry.ts"
import { transformerLayer } from "../src/model/gpt.ts"
import { linear, norm } from "../src/model/modules.ts"
import { NO_PLACE, refuseBiases } from "./shared/biases.ts"
import { aroundNorms, attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { count, many, size } from "./shared/config.ts"
import { dualRope, dualRopeFields } from "./shared/dualRope.ts"
import { dualRopeForward } from "./shared/gemma.ts"
import { hfConfig, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, extraOf, textFields, transformerOf } from "./shared/llama.ts"
import { generationOf, languageAnd, mirrored, multimodalModel, tiedOf, vocabularyMarks, WRAPPED_NAMES } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { slidingWindowOf } from "./shared/slidingTypes.ts"
import { pairVision, pairVisionFields } from "./shared/towers/pairVision.ts"

/** Published text sections leave out what the config class defaults to. */
const text = z.looseObject({
  ...textFields,
  ...dualRopeFields,
  num_hidden_layers: many.min(1).default(26),
  hidden_size: size.default(2304),
  intermediate_size: size.default(9216),
  num_attention_heads: size.default(8),
  num_key_value_heads: size.default(4),
  head_dim: size.default(256),
  vocab_size: size.default(262208),
  query_pre_attn_scalar: z.number().positive().default(256),
  sliding_window: size.nullable().default(4096)
})

/** The tower is a vision model, or a wrapper that holds one. */
const towerIn = (outer: string) => [
  { signs: [`${outer}vision_tower.vision_model.`], tower: `${outer}vision_tower.vision_model.` },
  { signs: ["embeddings.", "encoder.", "post_layernorm."].map((name) => `${outer}vision_tower.${name}`), tower: `${outer}vision_tower.` }
]

const PROVIDER = "megatron.bridge.models.gemma_vl.gemma3_vl_provider.Gemma3VLModelProvider"
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_tower.", encoder: "siglip", projectors: ["multi_modal_projector."] })

export const gemma3Vl = family({
  name: "gemma3-vl",
  architectures: ["Gemma3ForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: () => z.looseObject({
    text_config: text,
    vision_config: z.looseObject(pairVisionFields),
    image_token_index: count.nullish(),
    image_token_id: count.nullish(),
    mm_tokens_per_image: size.nullish(),
    tie_word_embeddings: z.boolean().nullish()
  }),
  layout: (_, headers) => {
    const names = generationOf(headers, WRAPPED_NAMES)
    return { ...names, ...generationOf(headers, towerIn(names.outer)) }
  },
  describe: (c, { head, model, outer, tower }) => {
    const { text_config: t, vision_config: v } = c
    refuseBiases(t, ["attention_bias"], NO_PLACE.normedOutput)
    const { factor, global, local } = dualRope(t)
    const tc = transformerOf(t, { qk_layernorm: true, share_embeddings_and_output_weights: tiedOf(c, true) })
    return multimodalModel({
      tc,
      names: { megatron: "language_model.", model, head },
      table: { ...attention, ...qkNorm, ...denseMlp, ...aroundNorms },
      towers: [
        pairVision("vision_tower", v),
        {
          kind: "projector",
          path: "multi_modal_projector",
          sizes: { input: v.hidden_size, output: t.hidden_size },
          build: (s) => {
            norm(s, "mm_soft_embed_norm", v.hidden_size, "RMSNorm")
            linear(s, "proj", t.hidden_size, v.hidden_size, { state: "none" })
          }
        }
      ],
      gpt: { layer: (layer) => transformerLayer(layer, tc, { linearAttention: false, moe: false }, { norms: "around" }) },
      rows: [
        ...mirrored("vision_tower.", tower),
        ...rows("multi_modal_projector.", `${outer}multi_modal_projector.`, {
          "mm_soft_embed_norm.weight": "mm_soft_emb_norm.weight",
          "proj.weight": transposedOf("mm_input_projection_weight")
        })
      ],
      provider: gptProvider(
        PROVIDER,
        tc,
        { ...commonOf({ ...t, hidden_act: "gelu_pytorch_tanh" }), dtype: "bfloat16" },
        {
          ...extraOf(t),
          layernorm_zero_centered_gamma: true,
          make_vocab_size_divisible_by: 128,
          rotary_base: [float(local), float(global)],
          softmax_scale: 1 / Math.sqrt(t.query_pre_attn_scalar),
          ...(factor === undefined ? {} : { rope_scaling_factor: float(factor) }),
          ...(t.sliding_window === null ? {} : { window_size: slidingWindowOf({ ...t, sliding_window: t.sliding_window }) }),
          image_token_id: c.image_token_index ?? c.image_token_id ?? undefined,
          mm_tokens_per_image: c.mm_tokens_per_image ?? undefined,
          vision_config: hfConfig("siglip.configuration_siglip.SiglipVisionConfig", wholeVision(v)),
          vision_projector_config: pythonObject("megatron.bridge.models.gemma_vl.modeling_gemma3_vl.Gemma3VLMultimodalProjectorConfig", {
            input_size: v.hidden_size,
            hidden_size: t.hidden_size,
            // Derived from the class's own width, before it gets the model's; the projector has no layer that uses them.
            ffn_hidden_size: 10240,
            kv_channels: 320
          }),
          ...vocabularyMarks(c, { bos_token_id: 0, eos_token_id: 1 })
        },
        { refuses: ["context"] }
      ),
      forward: dualRopeForward(t),
      components: COMPONENTS,
      carried: [{ pattern: `${tower}head.**`, why: "the pooling head of the tower, whose output the model does not use" }]
    })
  }
})
