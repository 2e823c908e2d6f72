/** Qwen3-ASR: a Qwen3 language model behind a mirrored audio encoder; as published, or as transformers names its parts. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { dtypeField, size } from "./shared/config.ts"
import { commonOf, denseFields, dtypeOf, extraOf, transformerOf } from "./shared/llama.ts"
import { generationOf, languageBelow, mirrored, mropeOf, multimodalModel, sectioned, tiedOf } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { THINKER, thinkerIds } from "./shared/thinker.ts"
import { audioFields, downsamplingAudioEncoder } from "./shared/towers/audio.ts"

const GENERATIONS = [
  { signs: ["thinker."], names: THINKER, audio: "thinker.audio_tower.", projector: undefined },
  {
    signs: ["model.", "lm_head."],
    names: { megatron: THINKER.megatron, model: "model.language_model.", head: "" },
    audio: "model.audio_tower.",
    projector: "model.multi_modal_projector."
  }
]

const PROVIDER = "megatron.bridge.models.qwen3_asr.qwen3_asr_provider.Qwen3ASRModelProvider"
const COMPONENTS = languageBelow("thinker.language_model.", { name: "audio", sourcePrefix: "thinker.audio_model.", encoder: "qwen_audio" })

export const qwen3Asr = family({
  name: "qwen3-asr",
  architectures: ["Qwen3ASRForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: sectioned("thinker_config", z.looseObject({
    thinker_config: z.looseObject({
      text_config: z.looseObject(denseFields),
      audio_config: z.looseObject({ ...audioFields, output_dim: size.default(3584), downsample_hidden_size: size.default(480) }),
      dtype: dtypeField,
      torch_dtype: dtypeField,
      tie_word_embeddings: z.boolean().nullish()
    })
  })),
  layout: (_, headers) => generationOf(headers, GENERATIONS),
  describe: ({ thinker_config: c }, { audio, names, projector }) => {
    const { audio_config: a, text_config: t } = c
    const tc = transformerOf(t, { qk_layernorm: true, share_embeddings_and_output_weights: tiedOf(c, true) })
    return multimodalModel({
      tc,
      names,
      table: { ...attention, ...qkNorm, ...denseMlp },
      towers: [downsamplingAudioEncoder("thinker.audio_model", a)],
      rows: [
        ...(projector === undefined
          ? []
          : [1, 2].flatMap((i) => mirrored(`thinker.audio_model.proj${i}.`, `${projector}linear_${i}.`))),
        ...mirrored("thinker.audio_model.", audio)
      ],
      provider: gptProvider(PROVIDER, tc, { ...commonOf(t), dtype: dtypeOf(c, t) }, {
        ...extraOf(t),
        ...thinkerIds(c),
        position_embedding_type: "mrope",
        mrope_section: mropeOf(t)
      }, { refuses: ["padded-vocabulary"] }),
      components: COMPONENTS
    })
  }
})
