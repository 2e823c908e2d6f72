/**
 * Nemotron Nano VL and Nemotron Omni: the hybrid text model of Nemotron-H with RADIO images and, in Omni, sound. A checkpoint
 * labelled VL whose text model has experts is an Omni model without sound.
 */
import { z } from "zod"
import { family, type FamilyDescription, type HfHeaders, type MimoForm } from "../src/bridge/Family.ts"
import type { PythonValue } from "../src/runconfig/Provider.ts"
import type { Row } from "../src/bridge/Mapping.ts"
import { rows } from "../src/bridge/Registry.ts"
import { mlpProjector, radioVision } from "../src/model/radioVision.ts"
import { count, dtypeField, size } from "./shared/config.ts"
import { section } from "./shared/hfConfig.ts"
import { dtypeOf } from "./shared/llama.ts"
import { languageBelow, mirrored, type Modality } from "./shared/multimodal.ts"
import { hybridDecoder, nemotronHCarried, nemotronHCommon, nemotronHExtra, nemotronHFields, nemotronHLayout, nemotronHModule, nemotronHRows, nemotronHVocabulary } from "./shared/nemotronH.ts"
import { gptProvider } from "./shared/provider.ts"
import { conformer, conformerFields } from "./shared/towers/conformer.ts"
import { radioCarried, radioFields, radioOf, radioRows } from "./shared/towers/radioVision.ts"

/** Sections and token ids by their published names, or by the ones that transformers gave them later. */
const RENAMED = [["text_config", "llm_config"], ["audio_config", "sound_config"], ["image_token_id", "img_context_token_id"], ["audio_token_id", "sound_context_token_id"]] as const

const schema = () => z.preprocess(
  (c) => (typeof c === "object" && c !== null ? { ...Object.fromEntries(RENAMED.flatMap(([later, name]) => (later in c ? [[name, (c as Record<string, unknown>)[later]]] : []))), ...c } : c),
  z.looseObject({
    llm_config: z.looseObject(nemotronHFields),
    vision_config: z.looseObject(radioFields).prefault({}),
    sound_config: z.looseObject({ ...conformerFields, projection_hidden_size: size.default(4096) }).nullish(),
    dtype: dtypeField,
    torch_dtype: dtypeField,
    tie_word_embeddings: z.boolean().nullish(),
    downsample_ratio: z.number().positive().max(1).default(0.5),
    projector_hidden_size: size.default(20480),
    img_context_token_id: count.nullish(),
    img_start_token_id: count.nullish(),
    img_end_token_id: count.nullish(),
    sound_context_token_id: count.nullish()
  })
)
type Config = z.infer<ReturnType<typeof schema>>

const SOUND = [
  "attention_bias", "conv_kernel_size", "convolution_bias", "hidden_size", "intermediate_size", "model_type", "num_attention_heads", "num_hidden_layers",
  "num_mel_bins", "projection_bias", "projection_hidden_size", "sampling_rate", "subsampling_conv_channels", "subsampling_conv_kernel_size",
  "subsampling_conv_stride", "subsampling_factor"
]

const images = (prefix: string): Modality => ({
  name: "images",
  sourcePrefix: `${prefix}vision_model.`,
  encoder: "radio",
  projectors: [`${prefix}vision_projection.`]
})
const audio: Modality = { name: "audio", sourcePrefix: "sound_model.", encoder: "parakeet", projectors: ["sound_projection."] }

const OMNI = { prefix: "", target: "megatron.bridge.models.nemotron_omni.nemotron_omni_provider.NemotronOmniModelProvider" }
const VL = { prefix: "llava_model.", target: "megatron.bridge.models.nemotron_vl.nemotron_vl_provider.NemotronVLModelProvider" }

const componentsOf = ({ prefix }: typeof OMNI) => languageBelow(`${prefix}language_model.`, images(prefix), audio)
const mimoForm = (form: typeof OMNI): MimoForm => ({ providers: [form.target], components: componentsOf(form) })

const soundRows = (prefix: string): ReadonlyArray<Row> => [
  ...rows(`${prefix}sound_projection.encoder.linear_`, "sound_projection.", { "fc1.layer_norm_weight": "norm.weight", "fc1.weight": "linear1.weight", "fc2.weight": "linear2.weight" }),
  ...mirrored(`${prefix}sound_model.encoder.`, "sound_encoder.encoder.")
]

interface Variant {
  /** Prefix of everything in the Megatron model. */
  readonly prefix: string
  readonly target: string
  readonly extra: Readonly<Record<string, PythonValue | undefined>>
}

const MODEL = "language_model.backbone."

/** `classTokens`: of the image encoder, if nothing says. */
const layoutOf = (c: Config, headers: HfHeaders, classTokens: number) =>
  ({ ...nemotronHLayout(headers, { model: MODEL }), vision: radioOf(c.vision_config, headers, classTokens) })

type LayoutFacts = ReturnType<typeof layoutOf>

const describe = (c: Config, layout: LayoutFacts, { extra, prefix, target }: Variant): FamilyDescription => {
  const t = c.llm_config
  const text = hybridDecoder(t, c.tie_word_embeddings ?? t.tie_word_embeddings ?? false, false)
  const { tc } = text
  const names = { megatron: `${prefix}language_model.`, model: MODEL, head: "language_model." }
  const { vision } = layout
  const sound = c.sound_config
  const merge = Math.round(1 / c.downsample_ratio)
  return {
    modules: [
      radioVision(`${prefix}vision_model`, vision, merge),
      mlpProjector(`${prefix}vision_projection`, { input: vision.transformer.hidden_size * merge ** 2, hidden: c.projector_hidden_size, output: tc.hidden_size }, tc.normalization),
      ...(sound
        ? [
          conformer(`${prefix}sound_model.encoder`, sound),
          mlpProjector(`${prefix}sound_projection`, { input: sound.hidden_size, hidden: sound.projection_hidden_size, output: tc.hidden_size }, tc.normalization)
        ]
        : []),
      nemotronHModule(`${prefix}language_model`, t, text)
    ],
    rows: [
      ...radioRows(`${prefix}vision_model.`),
      ...rows(`${prefix}vision_projection.encoder.linear_`, "mlp1.", { "fc1.layer_norm_weight": "0.weight", "fc1.weight": "1.weight", "fc2.weight": "3.weight" }),
      ...(sound ? soundRows(prefix) : []),
      ...nemotronHRows(text, layout, names)
    ],
    provider: gptProvider(target, tc, { ...nemotronHCommon(t), dtype: dtypeOf(t, c) }, { ...nemotronHExtra(t, text), vision_model_type: "radio", ...extra }, { refuses: ["padded-vocabulary"] }),
    components: componentsOf({ prefix, target }).filter(({ name }) => name !== "audio" || sound),
    carried: [
      ...radioCarried,
      ...["fb", "window"].map((name) => ({ pattern: `sound_encoder.encoder.feature_extractor.featurizer.${name}`, why: "buffers of the sound features, which the processor computes" })),
      ...nemotronHCarried(text, layout, names)
    ],
    vocabulary: nemotronHVocabulary(text, names),
    mtpFields: ["llm_config.num_nextn_predict_layers"]
  }
}

/** What a text model inside leaves to the class around it. */
const AROUND = { attention_softmax_in_fp32: true, keep_mtp_spec_in_bf16: false, mtp_loss_scaling_factor: undefined }

/** Ids of the tokens that begin and end an image in the published tokenizer. */
const IMAGE_ENDS = { img_start_token_id: 21, img_end_token_id: 22 }

/** The same in the older one, whose config.json may say others. */
const olderImageEnds = (c: Config) => ({ img_start_token_id: c.img_start_token_id || 19, img_end_token_id: c.img_end_token_id || 20 })

const omni = (c: Config, layout: LayoutFacts, ends: typeof IMAGE_ENDS = IMAGE_ENDS): FamilyDescription => {
  const { vision } = layout
  return describe(c, layout, {
    ...OMNI,
    extra: {
      ...AROUND,
      ...ends,
      use_vision_backbone_fp8_arch: false,
      language_model_type: "nemotron6-moe",
      tokenizer_type: "nemotron6-moe",
      nemotron_omni_contract: "expanded_sequence_v1",
      image_token_index: c.img_context_token_id ?? 18,
      vision_class_token_len: vision.classTokens,
      vision_proj_ffn_hidden_size: c.projector_hidden_size,
      ...(vision.videoFrames > 0 ? { separate_video_embedder: true, temporal_patch_dim: vision.videoFrames, temporal_ckpt_compat: true } : {}),
      has_sound: Boolean(c.sound_config),
      ...(c.sound_config
        ? {
          sound_model_type: "parakeet",
          sound_hidden_size: c.sound_config.hidden_size,
          sound_projection_hidden_size: c.sound_config.projection_hidden_size,
          sound_context_token_id: c.sound_context_token_id ?? undefined,
          sound_config: section(c.sound_config, SOUND)
        }
        : {})
    }
  })
}

export const nemotronVl = family({
  name: "nemotron-vl",
  architectures: ["NemotronH_Nano_VL_V2"],
  mimo: [OMNI, VL].map(mimoForm),
  config: schema,
  layout: (c, headers) => layoutOf(c, headers, c.llm_config.n_routed_experts ? 10 : 8),
  describe: (c, layout) =>
    c.llm_config.n_routed_experts
      ? omni(c, layout, olderImageEnds(c))
      : describe(c, layout, {
        ...VL,
        extra: { ...AROUND, language_model_type: "nemotron5-hybrid-12b" }
      })
})

export const nemotronOmni = family({
  name: "nemotron-omni",
  architectures: ["NemotronH_Nano_Omni_Reasoning_V3", "NemotronH_Super_Omni_Reasoning_V3"],
  mimo: [mimoForm(OMNI)],
  config: schema,
  layout: (c, headers) => layoutOf(c, headers, 10),
  describe: (c, layout) => omni(c, layout)
})
