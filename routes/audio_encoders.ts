/** Audio encoders alone: Whisper's as the reference's example of an audio component builds it, Qwen's as transformers has them. */
import { z } from "zod"
import { type Family, family } from "../src/bridge/Family.ts"
import type { ModuleSource } from "../src/model/ModelModule.ts"
import { dtypeField, size } from "./shared/config.ts"
import { encoderModel } from "./shared/encoderModel.ts"
import { mirrored } from "./shared/multimodal.ts"
import { audioEncoder, audioFields, downsamplingAudioEncoder, projectedAudioEncoder } from "./shared/towers/audio.ts"
import { whisperAudio, whisperFields, whisperRows } from "./shared/towers/whisperAudio.ts"

const DECODER = "writes text; a model that hears has only the encoder"

export const whisper = family({
  name: "whisper",
  architectures: ["WhisperModel", "WhisperForConditionalGeneration"],
  config: () => z.looseObject(whisperFields),
  layout: (_, headers) => (headers.names.some((name) => name.startsWith("encoder.")) ? "" : "model."),
  describe: (a, model) => encoderModel({
    encoder: "whisper",
    tower: whisperAudio("", a),
    rows: whisperRows("", `${model}encoder.`),
    fields: { ...a, activation: a.activation_function, layer_norm_eps: 1e-5 },
    carried: [{ pattern: `${model}decoder.**`, why: DECODER }, { pattern: "proj_out.weight", why: DECODER }],
    notes: ["keys have no bias in this encoder: Megatron's are zeros, and what training makes of them changes no attention weight, so an export leaves them out"]
  })
})

const dtypes = { dtype: dtypeField, torch_dtype: dtypeField }

const taken = <T extends z.ZodRawShape>(name: string, architectures: ReadonlyArray<string>, fields: T, tower: (a: z.infer<z.ZodObject<T>>) => ModuleSource): Family => family({
  name,
  architectures,
  config: () => z.looseObject({ ...fields, ...dtypes }),
  describe: (a) => encoderModel({ encoder: "qwen_audio", tower: tower(a as never), rows: mirrored("", ""), fields: a as never })
})

export const qwen2AudioEncoder = taken("qwen2-audio-encoder", ["Qwen2AudioEncoder"], { ...audioFields, max_source_positions: size.default(1500) }, (a) => audioEncoder("", a as never))
export const qwen2_5AudioEncoder = taken("qwen2.5-audio-encoder", ["Qwen2_5OmniAudioEncoder"], { ...audioFields, output_dim: size.default(3584) }, (a) => projectedAudioEncoder("", a as never))
export const qwen3AudioEncoder = taken("qwen3-audio-encoder", ["Qwen3OmniMoeAudioEncoder"], { ...audioFields, output_dim: size.default(3584), downsample_hidden_size: size.default(480) }, (a) => downsamplingAudioEncoder("", a as never))
