/** Qwen2-Audio: a Qwen2 language model behind a mirrored audio encoder and a linear projector. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { count, many, positions, size } from "./shared/config.ts"
import { forwardOf, tailWindows } from "./shared/forward.ts"
import { hfConfig, typed, whole } from "./shared/hfConfig.ts"
import { commonOf, extraOf, textFields, transformerOf } from "./shared/llama.ts"
import { generationOf, languageAnd, mirrored, multimodalModel, WRAPPED_NAMES } from "./shared/multimodal.ts"
import { linearProjector } from "./shared/projectors.ts"
import { gptProvider } from "./shared/provider.ts"
import { windowedTail, windowFields } from "./shared/slidingTypes.ts"
import { audioEncoder, audioFields } from "./shared/towers/audio.ts"

/** Published text sections leave out what the config class defaults to. */
const text = z.looseObject({
  ...textFields,
  ...positions(32_768),
  ...windowFields,
  num_hidden_layers: many.min(1).default(32),
  hidden_size: size.default(4096),
  intermediate_size: size.default(22016),
  num_attention_heads: size.default(32),
  num_key_value_heads: size.default(32),
  vocab_size: size.default(151936)
})

const PROVIDER = "megatron.bridge.models.qwen_audio.qwen2_audio_provider.Qwen2AudioModelProvider"
const COMPONENTS = languageAnd({ name: "audio", sourcePrefix: "audio_tower.", encoder: "qwen_audio", projectors: ["multi_modal_projector."] })

export const qwen2Audio = family({
  name: "qwen2-audio",
  architectures: ["Qwen2AudioForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: () => z.looseObject({
    text_config: text,
    audio_config: z.looseObject({ ...audioFields, max_source_positions: size.default(1500) }),
    audio_token_index: count.nullish(),
    audio_token_id: count.nullish()
  }),
  spellings: [["^language_model.model.", "^language_model.model.model."]],
  layout: (_, headers) => generationOf(headers, WRAPPED_NAMES),
  describe: (c, { head, model, outer }) => {
    const { audio_config: a, text_config: t } = c
    const tc = transformerOf(t, { add_qkv_bias: true })
    return multimodalModel({
      tc,
      names: { megatron: "language_model.", model, head },
      table: { ...attention, ...denseMlp },
      towers: [
        audioEncoder("audio_tower", a),
        linearProjector("multi_modal_projector", "linear", { input: a.d_model, output: t.hidden_size }, { bias: true })
      ],
      rows: [...mirrored("audio_tower.", `${outer}audio_tower.`), ...mirrored("multi_modal_projector.", `${outer}multi_modal_projector.`)],
      provider: gptProvider(PROVIDER, tc, commonOf(t), {
        ...extraOf(t),
        audio_token_id: c.audio_token_index ?? c.audio_token_id ?? undefined,
        hf_config: hfConfig("qwen2_audio.configuration_qwen2_audio.Qwen2AudioConfig", {
          ...whole(c),
          audio_config: typed("qwen2_audio_encoder", whole(a)),
          text_config: typed("qwen2", { ...whole(t), layer_types: windowedTail(t) })
        })
      }),
      forward: forwardOf(t, { windows: tailWindows(t) }),
      components: COMPONENTS
    })
  }
})
