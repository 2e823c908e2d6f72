/** Gemma 4, dense and MoE: text, and text with vision and audio encoders. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import type { PythonValue } from "../src/runconfig/Provider.ts"
import { count, dtypeField } from "./shared/config.ts"
import { commonOf, dtypeOf, extraOf, vocabularyOf } from "./shared/llama.ts"
import { besides, hfConfig, whole, wholeVision } from "./shared/hfConfig.ts"
import { languageAnd, mirrored, tiedOf, vocabularyMarks } from "./shared/multimodal.ts"
import { linearProjector } from "./shared/projectors.ts"
import { gptProvider, pick } from "./shared/provider.ts"
import {
  slidingGlobalFields, slidingGlobalLayout, slidingGlobalModel, slidingGlobalModule, slidingGlobalRows, type SlidingGlobalText, slidingGlobalText
} from "./shared/slidingGlobal.ts"
import { clippedAudio, clippedAudioFields, clippedVision, clippedVisionFields } from "./shared/towers/clippedTowers.ts"

const provider = (t: SlidingGlobalText, targets: { readonly dense: string; readonly moe: string }, extra: Record<string, PythonValue | undefined> = {}) =>
  gptProvider(
    targets[t.enable_moe_block ? "moe" : "dense"],
    slidingGlobalModel(t).c,
    commonOf({ ...t, hidden_act: "gelu_pytorch_tanh" }),
    { ...extraOf(t), ...slidingGlobalFields(t), ...extra },
    // The dense class pads to its own multiple, whatever tp is, and has a single stage.
    { refuses: t.enable_moe_block ? [] : ["padded-vocabulary", "pipeline"] }
  )

export const gemma4 = family({
  name: "gemma4",
  architectures: ["Gemma4ForCausalLM"],
  config: slidingGlobalText,
  layout: slidingGlobalLayout,
  describe: (t, queriesOnly) => ({
    modules: [slidingGlobalModule("", t)],
    rows: slidingGlobalRows(t, queriesOnly),
    provider: provider(t, {
      dense: "megatron.bridge.models.gemma.gemma4_provider.Gemma4DenseProvider",
      moe: "megatron.bridge.models.gemma.gemma4_provider.Gemma4ModelProvider"
    }),
    vocabulary: vocabularyOf(slidingGlobalModel(t).c)
  })
})

const multimodal = z.looseObject({
  text_config: slidingGlobalText,
  vision_config: clippedVisionFields.nullish(),
  audio_config: clippedAudioFields.nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  dtype: dtypeField,
  torch_dtype: dtypeField,
  image_token_id: count.nullish(),
  video_token_id: count.nullish(),
  audio_token_id: count.nullish()
})

const CONFIGS = "gemma4.configuration_gemma4.Gemma4"
const PREFIXES = { megatron: "language_model.", model: "model.language_model." }

const VL_PROVIDERS = {
  dense: "megatron.bridge.models.gemma_vl.gemma4_vl_provider.Gemma4DenseVLProvider",
  moe: "megatron.bridge.models.gemma_vl.gemma4_vl_provider.Gemma4VLModelProvider"
}
const COMPONENTS = languageAnd(
  { name: "images", sourcePrefix: "vision_tower.", encoder: "gemma_vision", projectors: ["embed_vision."] },
  { name: "audio", sourcePrefix: "audio_tower.", encoder: "gemma_audio", projectors: ["embed_audio."] }
)

const VISION_ROWS = ["vision_tower.", "embed_vision."].flatMap((name) => mirrored(name, `model.${name}`))
const AUDIO_ROWS = ["audio_tower.", "embed_audio."].flatMap((name) => mirrored(name, `model.${name}`))

const describeMultimodal = (c: z.infer<typeof multimodal>, queriesOnly: ReadonlySet<number>) => {
  const { audio_config: audio, vision_config: vision } = c
  const t = { ...c.text_config, tie_word_embeddings: tiedOf(c, true) }
  const projector = (path: string, input: number) => linearProjector(path, "embedding_projection", { input, output: t.hidden_size }, { bias: false })
  return {
    modules: [
      ...(vision ? [clippedVision("vision_tower", vision), projector("embed_vision", vision.hidden_size)] : []),
      ...(audio ? [clippedAudio("audio_tower", audio), projector("embed_audio", audio.output_proj_dims)] : []),
      slidingGlobalModule("language_model", t)
    ],
    // Encoders and projectors keep their names.
    rows: [...(vision ? VISION_ROWS : []), ...(audio ? AUDIO_ROWS : []), ...slidingGlobalRows(t, queriesOnly, PREFIXES)],
    provider: provider(t, VL_PROVIDERS, {
      ...pick(c, ["image_token_id", "video_token_id", "audio_token_id"]),
      text_config: hfConfig(`${CONFIGS}TextConfig`, besides(whole(c.text_config), { global_head_dim: 512, per_layer_config: {} })),
      scatter_embedding_sequence_parallel: true,
      ...vocabularyMarks(c, { bos_token_id: 2, eos_token_id: 1 }),
      ...(vision ? { vision_config: hfConfig(`${CONFIGS}VisionConfig`, wholeVision(vision)) } : {}),
      ...(audio ? { audio_config: hfConfig(`${CONFIGS}AudioConfig`, whole(audio)) } : {})
    }),
    components: COMPONENTS.filter(({ name }) => name === "language" || (name === "images" ? vision : audio)),
    vocabulary: vocabularyOf(slidingGlobalModel(t).c, PREFIXES)
  }
}

export const gemma4Multimodal = family({
  name: "gemma4-multimodal",
  architectures: ["Gemma4ForConditionalGeneration"],
  mimo: [{ providers: Object.values(VL_PROVIDERS), components: COMPONENTS }],
  config: multimodal,
  layout: (c, headers) => slidingGlobalLayout(c.text_config, headers, PREFIXES.model),
  describe: (c, queriesOnly) => describeMultimodal({ ...c, text_config: { ...c.text_config, dtype: dtypeOf(c.text_config, c) } }, queriesOnly)
})
