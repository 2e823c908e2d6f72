/** Qwen3-Omni: a Qwen3-MoE language model behind mirrored vision and audio encoders. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attentionBiases, biasFields, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { dtypeField, many, positions, size } from "./shared/config.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { section, typed, whole, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, dtypeOf, extraOf, transformerOf } from "./shared/llama.ts"
import { moeFields, router, sparseMoe } from "./shared/moe.ts"
import { mirrored, mropeOf, multimodalModel } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { speakers, speaking, THINKER, THINKER_COMPONENTS, thinkerConfig, thinkerIds } from "./shared/thinker.ts"
import { audioFields, downsamplingAudioEncoder } from "./shared/towers/audio.ts"
import { blockVisionFields } from "./shared/towers/blockVision.ts"
import { listVision } from "./shared/towers/listVision.ts"

const PROVIDER = "megatron.bridge.models.qwen_omni.qwen3_omni_provider.Qwen3OmniModelProvider"

export const qwen3Omni = family({
  name: "qwen3-omni",
  architectures: ["Qwen3OmniMoeForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: THINKER_COMPONENTS }],
  config: () => z.looseObject({
    thinker_config: z.looseObject({
      text_config: z.looseObject({
        ...moeFields,
        ...positions(32_768),
        num_key_value_heads: size.nullable().default(4),
        rope_theta: z.number().nullable().default(1e6),
        moe_intermediate_size: size.default(768),
        num_experts_per_tok: size.default(8),
        decoder_sparse_step: size.nullish(),
        mlp_only_layers: z.array(many).nullish()
      }),
      vision_config: z.looseObject({ ...blockVisionFields, deepstack_visual_indexes: z.array(many).default([8, 16, 24]) }),
      audio_config: z.looseObject({ ...audioFields, output_dim: size.default(3584), downsample_hidden_size: size.default(480) }),
      dtype: dtypeField,
      torch_dtype: dtypeField
    }),
    dtype: dtypeField,
    torch_dtype: dtypeField
  }),
  layout: (_, headers) => expertLayout(headers, THINKER.model),
  describe: (top, experts) => {
    const { thinker_config: c } = top
    const { audio_config: a, text_config: t, vision_config: v } = c
    const biases = attentionBiases(t)
    const tc = transformerOf(t, { ...biasFields(biases), qk_layernorm: true, ...sparseMoe(t) })
    const { attention_dropout: _, ...extra } = extraOf(t)
    return multimodalModel({
      tc,
      names: THINKER,
      table: withZeroBiases({
        ...attention,
        ...qkNorm,
        ...denseMlp,
        ...router("mlp.gate.weight"),
        ...routedExperts(tc, experts)
      }, biases),
      towers: [listVision("thinker.visual", v, v.deepstack_visual_indexes.length), downsamplingAudioEncoder("thinker.audio_model", a)],
      rows: [...mirrored("thinker.visual.", "thinker.visual."), ...mirrored("thinker.audio_model.", "thinker.audio_tower.")],
      provider: gptProvider(
        PROVIDER,
        tc,
        { ...commonOf(t), dtype: dtypeOf(c, top) },
        {
          ...extra,
          ...thinkerIds(c),
          ...section(v, ["patch_size", "spatial_merge_size", "temporal_patch_size"]),
          position_embedding_type: "mrope",
          mrope_section: mropeOf(t),
          language_max_sequence_length: t.max_position_embeddings ?? undefined,
          // The auxiliary loss stays the provider's: the reference does not read it.
          thinker_config: thinkerConfig("qwen3_omni_moe.configuration_qwen3_omni_moe.Qwen3OmniMoeThinkerConfig", c, {
            text_config: typed("qwen3_omni_moe_text", whole(t)),
            audio_config: typed("qwen3_omni_moe_audio_encoder", whole(a)),
            vision_config: typed("qwen3_omni_moe_vision_encoder", wholeVision(v))
          }),
          ...speakers(top, {
            talker_config: "qwen3_omni_moe.configuration_qwen3_omni_moe.Qwen3OmniMoeTalkerConfig",
            code2wav_config: "qwen3_omni_moe.configuration_qwen3_omni_moe.Qwen3OmniMoeCode2WavConfig"
          })
        },
        { refuses: ["padded-vocabulary"] }
      ),
      components: THINKER_COMPONENTS,
      carried: speaking("talker", "code2wav"),
      ...zeroBiases(biases)
    })
  }
})
