/** Qwen3-VL, dense and MoE: a Qwen3 language model behind a vision transformer of Megatron's own layers with deepstack. */
import { z } from "zod"
import { family, type FamilyDescription } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { attentionBiases, biasFields, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { many, positions, size } from "./shared/config.ts"
import { type ExpertLayout, expertLayout, routedExperts } from "./shared/experts.ts"
import { forwardOf, softmaxRouter } from "./shared/forward.ts"
import { hfConfig, section, whole, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, dtypeOf, extraOf, transformerOf } from "./shared/llama.ts"
import { expertsOf, moeFields, router, sparseMoe } from "./shared/moe.ts"
import { languageAnd, mropeOf, multimodalModel, tiedOf, tokenIds, visionTokens, vocabularyMarks } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { blockVision, blockVisionFields, blockVisionRows } from "./shared/towers/blockVision.ts"

const text = z.looseObject({
  ...moeFields,
  ...positions(128_000),
  rope_theta: z.number().nullable().default(500_000),
  decoder_sparse_step: size.nullish(),
  mlp_only_layers: z.array(many).nullish()
})
const schema = z.looseObject({
  text_config: text,
  vision_config: z.looseObject({ ...blockVisionFields, deepstack_visual_indexes: z.array(many).default([8, 16, 24]) }),
  tie_word_embeddings: z.boolean().nullish(),
  ...visionTokens
})

const PROVIDERS = {
  dense: "megatron.bridge.models.qwen_vl.qwen3_vl_provider.Qwen3VLModelProvider",
  moe: "megatron.bridge.models.qwen_vl.qwen3_vl_provider.Qwen3VLMoEModelProvider"
}
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_model.", encoder: "qwen_visual" })
const NAMES = { megatron: "language_model.", model: "model.language_model.", head: "" }

const describe = (moe: boolean) => (c: z.infer<typeof schema>, experts: ExpertLayout | undefined): FamilyDescription => {
  const { text_config: t, vision_config: v } = c
  const biases = attentionBiases(t)
  const tc = transformerOf(t, {
    ...biasFields(biases),
    qk_layernorm: true,
    share_embeddings_and_output_weights: tiedOf(c),
    ...(moe ? sparseMoe({ ...t, num_experts_per_tok: t.num_experts_per_tok ?? 4 }) : {})
  })
  const [name, variant] = moe ? ["qwen3_vl_moe", "Qwen3VLMoe"] : ["qwen3_vl", "Qwen3VL"]
  return multimodalModel({
    tc,
    names: NAMES,
    table: withZeroBiases({
      ...attention,
      ...qkNorm,
      ...denseMlp,
      ...(moe ? { ...router("mlp.gate.weight"), ...routedExperts(tc, experts, { otherwise: "packed", transposed: true }) } : {})
    }, biases),
    towers: [blockVision("vision_model", v, v.deepstack_visual_indexes.length)],
    rows: blockVisionRows("vision_model.", "model.visual.", { deepstack: true }),
    provider: gptProvider(
      moe ? PROVIDERS.moe : PROVIDERS.dense,
      tc,
      commonOf(t),
      {
        ...extraOf(t),
        ...tokenIds(c),
        ...vocabularyMarks(t, { bos_token_id: moe ? null : undefined, eos_token_id: moe ? null : undefined }),
        position_embedding_type: "mrope",
        mrope_section: mropeOf(t),
        ...section(v, ["patch_size", "spatial_merge_size", "temporal_patch_size"]),
        ...(moe ? { decoder_sparse_step: t.decoder_sparse_step ?? 1, mlp_only_layers: t.mlp_only_layers ?? [], head_dim: tc.kv_channels, moe_grouped_gemm: true, moe_aux_loss_coeff: float(0.001) } : {}),
        hf_text_config: hfConfig(`${name}.configuration_${name}.${variant}TextConfig`, { ...whole(t), ...(moe ? { num_experts: expertsOf(t), num_local_experts: expertsOf(t) } : {}) }),
        vision_config: hfConfig(`${name}.configuration_${name}.${variant}VisionConfig`, { ...wholeVision(v), dtype: dtypeOf(t) })
      }
    ),
    // Three axes of positions, which are one for text.
    forward: forwardOf(t, moe ? { router: softmaxRouter({}, true) } : {}),
    components: COMPONENTS,
    ...zeroBiases(biases)
  })
}

export const qwen3Vl = family({
  name: "qwen3-vl",
  architectures: ["Qwen3VLForConditionalGeneration"],
  mimo: [{ providers: [PROVIDERS.dense], components: COMPONENTS }],
  config: schema.extend({ text_config: text.extend({ num_key_value_heads: size.nullable().default(32), head_dim: size.nullable().default(128), intermediate_size: size }) }),
  layout: (_, headers) => expertLayout(headers, NAMES.model),
  describe: describe(false)
})

export const qwen3VlMoe = family({
  name: "qwen3-vl-moe",
  architectures: ["Qwen3VLMoeForConditionalGeneration"],
  mimo: [{ providers: [PROVIDERS.moe], components: COMPONENTS }],
  config: schema.extend({ text_config: text.extend({ num_key_value_heads: size.nullable().default(16), num_experts_per_tok: size.default(4), moe_intermediate_size: size }) }),
  layout: (_, headers) => expertLayout(headers, NAMES.model),
  describe: describe(true)
})
