/** GLM-4.1V (dense) and GLM-4.5V (MoE): a GLM language model behind a mirrored vision tower. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { norm } from "../src/model/modules.ts"
import { transformerLayer } from "../src/model/gpt.ts"
import { appendedCarried } from "./shared/appendedMtp.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { count, positions, size } from "./shared/config.ts"
import { routedExperts } from "./shared/experts.ts"
import { forwardOf, sigmoidRouterFacts } from "./shared/forward.ts"
import { hfConfig, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, denseFields, extraOf, headDimOf, type TextConfig, transformerOf } from "./shared/llama.ts"
import { denseFirst, expertsOf, moeFields, router, sharedExperts, sharedWidth } from "./shared/moe.ts"
import { languageAnd, mirrored, mropeOf, multimodalModel, tiedOf, vocabularyMarks } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { textLayout } from "./shared/textLayout.ts"
import { gridVision, gridVisionFields } from "./shared/towers/gridVision.ts"

const schema = z.looseObject({
  vision_config: z.looseObject(gridVisionFields),
  tie_word_embeddings: z.boolean().nullish()
})

const NAMES = { megatron: "language_model.", model: "model.language_model.", head: "" }

/** Half of each head is rotated unless the config says otherwise. */
const common = (t: TextConfig) => ({ ...commonOf(t), rotary_percent: t.rope_parameters?.partial_rotary_factor ?? t.partial_rotary_factor ?? 0.5 })

const MOE_PROVIDER = "megatron.bridge.models.glm_vl.glm_45v_provider.GLM45VModelProvider"
const MOE_COMPONENTS = languageAnd({ name: "images", sourcePrefix: "visual.", encoder: "glm_visual" })

export const glm4vMoe = family({
  name: "glm-4.5v",
  architectures: ["Glm4vMoeForConditionalGeneration"],
  mimo: [{ providers: [MOE_PROVIDER], components: MOE_COMPONENTS }],
  config: schema.extend({
    text_config: z.looseObject({
      ...moeFields,
      ...positions(65_536),
      num_key_value_heads: size.nullable().default(8),
      rms_norm_eps: z.number().nullable().default(1e-5),
      attention_bias: z.boolean().nullable().default(true),
      intermediate_size: size,
      moe_intermediate_size: size,
      num_experts_per_tok: size.default(8),
      n_shared_experts: count.default(1),
      use_qk_norm: z.boolean().nullish()
    })
  }),
  layout: (c, headers) => textLayout(c.text_config, headers, NAMES.model),
  describe: (c, { experts, modules }) => {
    const { text_config: t, vision_config: v } = c
    const tc = transformerOf(t, {
      add_qkv_bias: t.attention_bias ?? false,
      qk_layernorm: t.use_qk_norm ?? false,
      share_embeddings_and_output_weights: tiedOf(c),
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_layer_freq: denseFirst(t, 1),
      moe_ffn_hidden_size: t.moe_intermediate_size,
      moe_shared_expert_intermediate_size: sharedWidth(t),
      moe_router_enable_expert_bias: true
    })
    const table = {
      ...attention,
      ...qkNorm,
      ...denseMlp,
      ...router("mlp.gate.weight", "mlp.gate.e_score_correction_bias"),
      ...sharedExperts(),
      ...routedExperts(tc, experts)
    }
    return multimodalModel({
      tc,
      names: NAMES,
      table,
      towers: [gridVision("visual", v)],
      rows: mirrored("visual.", "model.visual."),
      // Token ids and rotary sections stay the provider's: the reference does not read them.
      provider: gptProvider(MOE_PROVIDER, tc, common(t), {
        ...extraOf(t),
        position_embedding_type: "mrope",
        make_vocab_size_divisible_by: 128,
        moe_router_topk_scaling_factor: t.routed_scaling_factor ?? undefined,
        mtp_num_layers: 0,
        ...vocabularyMarks(t, { eos_token_id: null }),
        vision_config: hfConfig("glm4v_moe.configuration_glm4v_moe.Glm4vMoeVisionConfig", wholeVision(v))
      }),
      // What norms of queries and keys would do is not known: transformers has none here.
      forward: t.use_qk_norm ? undefined : forwardOf(t, {
        rotary: { width: Math.floor(headDimOf(t) * common(t).rotary_percent) },
        router: sigmoidRouterFacts(t)
      }),
      components: MOE_COMPONENTS,
      // Checkpoints may have multi-token prediction behind the decoder; the trainer's model has no module for it.
      carried: appendedCarried({ layers: t.num_hidden_layers, modules, table, model: NAMES.model })
    })
  }
})

const PROVIDER = "megatron.bridge.models.gpt_provider.GPTModelProvider"
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_model.", encoder: "glm_visual" })

/** No class of the reference builds this one; Megatron names follow its predecessor, whose layers have two further norms. */
export const glm4v = family({
  name: "glm-4.1v",
  architectures: ["Glm4vForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: schema.extend({ text_config: z.looseObject({ ...denseFields, num_key_value_heads: size.nullable().default(2), rms_norm_eps: z.number().nullable().default(1e-5) }) }),
  describe: (c) => {
    const { text_config: t, vision_config: v } = c
    const tc = transformerOf(t, { add_qkv_bias: true, share_embeddings_and_output_weights: tiedOf(c) })
    return multimodalModel({
      tc,
      names: NAMES,
      table: {
        ...attention,
        "post_self_attn_layernorm.weight": "post_self_attn_layernorm.weight",
        ...denseMlp,
        "mlp.linear_fc1.weight": "mlp.gate_up_proj.weight",
        "post_mlp_layernorm.weight": "post_mlp_layernorm.weight"
      },
      towers: [gridVision("vision_model", v)],
      gpt: {
        layer: (layer) => {
          transformerLayer(layer, tc, { linearAttention: false, moe: false })
          norm(layer, "post_self_attn_layernorm", t.hidden_size, "RMSNorm")
          norm(layer, "post_mlp_layernorm", t.hidden_size, "RMSNorm")
        }
      },
      rows: mirrored("vision_model.", "model.visual."),
      provider: gptProvider(PROVIDER, tc, common(t), {
        ...extraOf(t),
        position_embedding_type: "mrope",
        mrope_section: mropeOf(t)
      }),
      forward: forwardOf(t, { rotary: { interleaved: true } }),
      components: COMPONENTS
    })
  }
})
