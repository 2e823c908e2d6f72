/** Qwen2.5-Omni: a Qwen2 language model behind mirrored vision and audio encoders. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { defaulted, dtypeField, size } from "./shared/config.ts"
import { typed, whole, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, denseFields, dtypeOf, extraOf, transformerOf } from "./shared/llama.ts"
import { mirrored, mropeOf, multimodalModel } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { windowedTail, windowFields } from "./shared/slidingTypes.ts"
import { speakers, speaking, THINKER, THINKER_COMPONENTS, thinkerConfig, thinkerIds } from "./shared/thinker.ts"
import { audioFields, projectedAudioEncoder } from "./shared/towers/audio.ts"
import { windowVision, windowVisionFields } from "./shared/towers/windowVision.ts"

const PROVIDER = "megatron.bridge.models.qwen_omni.qwen25_omni_provider.Qwen25OmniModelProvider"

export const qwen2_5Omni = family({
  name: "qwen2.5-omni",
  architectures: ["Qwen2_5OmniForConditionalGeneration", "Qwen2_5OmniModel"],
  mimo: [{ providers: [PROVIDER], components: THINKER_COMPONENTS }],
  config: () => z.looseObject({
    thinker_config: z.looseObject({
      text_config: defaulted({ num_key_value_heads: 4, rope_theta: 1e6, max_position_embeddings: 32_768 }, z.looseObject({ ...denseFields, ...windowFields })),
      vision_config: z.looseObject(windowVisionFields),
      audio_config: z.looseObject({ ...audioFields, output_dim: size.default(3584) }),
      dtype: dtypeField,
      torch_dtype: dtypeField
    })
  }),
  describe: (top) => {
    const { thinker_config: c } = top
    const { audio_config: a, text_config: t, vision_config: v } = c
    const tc = transformerOf(t, { add_qkv_bias: true })
    return multimodalModel({
      tc,
      names: THINKER,
      table: { ...attention, ...denseMlp },
      towers: [windowVision("thinker.visual", v, { qkv: "three" }), projectedAudioEncoder("thinker.audio_model", a)],
      rows: [...mirrored("thinker.visual.", "thinker.visual."), ...mirrored("thinker.audio_model.", "thinker.audio_tower.")],
      provider: gptProvider(PROVIDER, tc, { ...commonOf(t), dtype: dtypeOf(c) }, {
        ...extraOf(t),
        ...thinkerIds(c),
        head_dim: tc.kv_channels,
        position_embedding_type: "mrope",
        mrope_section: mropeOf(t),
        thinker_config: thinkerConfig("qwen2_5_omni.configuration_qwen2_5_omni.Qwen2_5OmniThinkerConfig", c, {
          text_config: typed("qwen2_5_omni_text", { ...whole(t), layer_types: windowedTail(t) }),
          audio_config: typed("qwen2_5_omni_audio_encoder", whole(a)),
          vision_config: typed("qwen2_5_omni_vision_encoder", wholeVision(v))
        }),
        ...speakers(top, {
          talker_config: "qwen2_5_omni.configuration_qwen2_5_omni.Qwen2_5OmniTalkerConfig",
          token2wav_config: "qwen2_5_omni.configuration_qwen2_5_omni.Qwen2_5OmniToken2WavConfig"
        })
      }, { refuses: ["padded-vocabulary"] }),
      components: THINKER_COMPONENTS,
      carried: speaking("talker", "token2wav")
    })
  }
})
