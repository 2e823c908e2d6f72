/**
 * Omni models hold their language model, vision and audio encoders in a `thinker`; what speaks (talker, vocoder) stands beside
 * it, and the trainer has no module for it.
 */
import type { Carried } from "../../src/bridge/Family.ts"
import type { PythonValue } from "../../src/runconfig/Provider.ts"
import { hfConfig, section, whole } from "./hfConfig.ts"
import type { TextConfig } from "./llama.ts"
import { languageBelow } from "./multimodal.ts"

/** The parts of a thinker as MIMO components. */
export const THINKER_COMPONENTS = languageBelow(
  "thinker.language_model.",
  { name: "images", sourcePrefix: "thinker.visual.", encoder: "qwen_visual" },
  { name: "audio", sourcePrefix: "thinker.audio_model.", encoder: "qwen_audio" }
)

export const THINKER = { megatron: "thinker.language_model.", model: "thinker.model.", head: "thinker." }

/** Parts that speak: their tensors travel along as they are. */
export const speaking = (...parts: ReadonlyArray<string>): ReadonlyArray<Carried> => parts.map((part) => ({ pattern: `${part}.**`, why: "the trainer builds nothing of what speaks" }))

export interface ThinkerConfig {
  readonly text_config: TextConfig
  readonly [field: string]: unknown
}

const IDS = [
  "audio_start_token_id", "audio_end_token_id", "vision_start_token_id", "vision_end_token_id", "position_id_per_seconds", "seconds_per_chunk"
]
const MODALITIES = ["image", "video", "audio"]

/** Token ids, `<modality>_token_id` or, in older files, `<modality>_token_index`, and timing. */
export const thinkerIds = (c: ThinkerConfig): Readonly<Record<string, PythonValue>> => ({
  ...section(c, IDS),
  ...section(Object.fromEntries(MODALITIES.map((m) => [`${m}_token_id`, c[`${m}_token_id`] ?? c[`${m}_token_index`]])), MODALITIES.map((m) => `${m}_token_id`))
})

/** The provider's `thinker_config`, from which it builds the encoders. */
export const thinkerConfig = (target: string, c: ThinkerConfig, sections: Readonly<Record<string, PythonValue>>) =>
  hfConfig(target, { ...whole(c), ...sections })

/** What speaks, as its config classes see it: the trainer builds none of it, but its provider holds their configurations. */
export const speakers = (top: Readonly<Record<string, unknown>>, classes: Readonly<Record<string, string>>): Readonly<Record<string, PythonValue>> =>
  Object.fromEntries(Object.entries(classes).map(([field, target]) => [field, hfConfig(target, whole((top[field] ?? {}) as Readonly<Record<string, unknown>>))]))
