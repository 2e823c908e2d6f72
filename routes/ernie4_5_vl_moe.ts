/** ERNIE 4.5 VL MoE: one set of routed experts for text tokens, one for vision tokens, shared experts for both; a mirrored tower. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { direct, gatedMlp, packedExpertOf } from "../src/bridge/kinds.ts"
import { laterExperts } from "../src/bridge/kinds/experts.ts"
import { sliceOf, transposedOf } from "../src/bridge/kinds/elementary.ts"
import { from } from "../src/bridge/Mapping.ts"
import { float, pythonName } from "../src/runconfig/Provider.ts"
import { rows, type Table } from "../src/bridge/Registry.ts"
import { dualMoeLayer } from "../src/model/dualMoe.ts"
import { gpt, transformerLayer } from "../src/model/gpt.ts"
import { isMoe } from "../src/model/TransformerConfig.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { count, size } from "./shared/config.ts"
import { ernieFields, ernieTransformer, paddleMtp } from "./shared/ernie.ts"
import { hfConfig, typed, whole, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, frameRows, vocabularyOf } from "./shared/llama.ts"
import { sharedExperts } from "./shared/moe.ts"
import { languageAnd, mropeOf, tiedOf } from "./shared/multimodal.ts"
import { gptProvider, pick } from "./shared/provider.ts"
import { resampledVision, resampledVisionFields, resampler, resamplerRows } from "./shared/towers/resampledVision.ts"

const MODELS = "megatron.bridge.models.ernie_vl"

const CONFIGS = "ernie4_5_vl_moe.configuration_ernie4_5_vl_moe.Ernie4_5_VLMoe"

const token = count.nullish()
const tokens = {
  image_start_token_id: token,
  image_end_token_id: token,
  image_token_id: token,
  video_start_token_id: token,
  video_end_token_id: token,
  video_token_id: token
}

/** Router and experts of set number `set`; the file numbers the second set's experts behind the first's. */
const numberedSet = (name: string, set: 0 | 1, before: number, gate: string): Table => ({
  [`mlp.${name}.router.weight`]: transposedOf(gate),
  [`mlp.${name}.router.expert_bias`]: sliceOf(set, 2, "mlp.moe_statics.e_score_correction_bias"),
  [`mlp.${name}.experts.linear_fc1.weight*`]: from(laterExperts(before, gatedMlp))("mlp.experts.*.{gate,up}_proj.weight"),
  [`mlp.${name}.experts.linear_fc2.weight*`]: from(laterExperts(before, direct))("mlp.experts.*.down_proj.weight")
})

const PROVIDER = `${MODELS}.ernie45_vl_provider.Ernie45VLModelProvider`
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_tower.", encoder: "ernie_visual", projectors: ["resampler_model."] })

/** The same where each set is a module of its own. */
const ownSet = (name: string, experts: number, hf: string): Table => ({
  [`mlp.${name}.router.weight`]: `${hf}.gate.weight`,
  [`mlp.${name}.router.expert_bias`]: sliceOf(0, 1, `${hf}.gate.moe_statics.e_score_correction_bias`),
  [`mlp.${name}.experts.linear_fc1.weight*`]: packedExpertOf({ experts, transposed: false }, `${hf}.experts.gate_up_proj`),
  [`mlp.${name}.experts.linear_fc2.weight*`]: packedExpertOf({ experts, transposed: false }, `${hf}.experts.down_proj`)
})

export const ernie4_5VlMoe = family({
  name: "ernie4.5-vl-moe",
  architectures: ["Ernie4_5_VLMoeForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: () => z.looseObject({
    text_config: z.looseObject({ ...ernieFields, moe_intermediate_size: z.tuple([size, size]) }),
    vision_config: z.looseObject(resampledVisionFields),
    tie_word_embeddings: z.boolean().nullish(),
    ...tokens
  }),
  spellings: [
    ["^model.vision_model.", "^model.vision_tower."],
    ["^model.embed_tokens.", "^model.language_model.embed_tokens."],
    ["^model.layers.", "^model.language_model.layers."],
    ["^model.norm.", "^model.language_model.norm."],
    [".spatial_linear.0.", ".spatial_linear.fc1."],
    [".spatial_linear.2.", ".spatial_linear.fc2."],
    [".spatial_linear.3.", ".spatial_linear.ln."],
    [".temporal_linear.0.", ".temporal_linear.fc1."],
    [".temporal_linear.2.", ".temporal_linear.fc2."],
    [".temporal_linear.3.", ".temporal_linear.ln."]
  ],
  layout: (_, headers) => ({ setsApart: headers.names.some((name) => name.includes(".mlp.text_moe.")) }),
  describe: (c, { setsApart }) => {
    const t = c.text_config
    const v = c.vision_config
    const [textFfn, visionFfn] = t.moe_intermediate_size
    const tc = ernieTransformer(t, textFfn, tiedOf(c, true))
    const sets = [
      { name: "text_moe_layer", experts: t.moe_num_experts, ffn: textFfn },
      { name: "vision_moe_layer", experts: t.moe_num_experts, ffn: visionFfn }
    ]
    return {
      modules: [
        resampledVision("vision_tower", v),
        resampler("resampler_model", v, t.hidden_size),
        {
          kind: "language",
          path: "language_model",
          config: tc,
          build: (s) =>
            gpt(s, tc, { layer: (layer, i) => (isMoe(tc, i) ? dualMoeLayer(layer, tc, sets) : transformerLayer(layer, tc, { linearAttention: false, moe: false })) })
        }
      ],
      rows: [
        ...frameRows({ megatron: "language_model." }),
        ...rows("language_model.decoder.layers.*.", "model.layers.*.", {
          ...attention,
          ...denseMlp,
          "pre_mlp_layernorm.weight": "post_attention_layernorm.weight",
          ...(setsApart
            ? { ...ownSet("text_moe_layer", t.moe_num_experts, "mlp.text_moe"), ...ownSet("vision_moe_layer", t.moe_num_experts, "mlp.vision_moe") }
            : { ...numberedSet("text_moe_layer", 0, 0, "mlp.gate.weight"), ...numberedSet("vision_moe_layer", 1, t.moe_num_experts, "mlp.gate.weight_1") }),
          ...sharedExperts()
        }),
        ...rows("vision_tower.", "model.vision_model.", { "**": "**" }),
        ...resamplerRows("resampler_model.", "model.resampler_model.")
      ],
      provider: gptProvider(PROVIDER, tc, commonOf(t), {
        gradient_accumulation_fusion: false,
        hf_config: hfConfig(`${CONFIGS}Config`, { ...whole(c), text_config: typed("ernie4_5_vl_moe_text", whole(t)), vision_config: typed("ernie4_5_vl_moe_vision", wholeVision(v)) }),
        vision_config: hfConfig(`${CONFIGS}VisionConfig`, wholeVision(v)),
        ...pick(c, Object.keys(tokens) as Array<keyof typeof tokens>),
        transformer_layer_spec: pythonName(`${MODELS}.modeling_ernie45_vl.ernie_decoder_layer_spec.get_ernie45_vl_decoder_block_spec`),
        hidden_dropout: float(0),
        position_embedding_type: "mrope",
        mrope_section: mropeOf(t),
        rotary_interleaved: true,
        moe_intermediate_size: [textFfn, visionFfn],
        moe_router_dtype: "fp32",
        moe_router_score_function: "sigmoid",
        moe_token_dispatcher_type: "alltoall",
        moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001)
      }),
      components: COMPONENTS,
      carried: paddleMtp,
      vocabulary: vocabularyOf(tc)
    }
  }
})
