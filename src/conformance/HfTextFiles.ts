/** The documents beside the weights of a regenerated Hugging Face checkpoint, as `save_pretrained` spells them. */
import { tokenizerConfig, tokenizerJson } from "./ByteTokenizer.ts"
import type { ConformanceCase } from "./Case.ts"

type Json = { readonly [key: string]: unknown }

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

const document = (value: Json): string => `${JSON.stringify(value, undefined, 2)}\n`

/** What transformers derives from a config that says nothing else about generation. */
const generationConfig = (config: Json): Json => {
  const owner = isObject(config["text_config"]) ? config["text_config"] : config
  const tokens = ["bos_token_id", "eos_token_id", "pad_token_id"].filter((name) => typeof owner[name] === "number")
  return {
    _from_model_config: true,
    ...Object.fromEntries(tokens.map((name) => [name, owner[name]])),
    transformers_version: "5.18.0"
  }
}

/** A plausible one; no tensor depends on it. */
const preprocessorConfig = (vision: Json): Json => ({
  do_convert_rgb: true,
  do_normalize: true,
  do_rescale: true,
  do_resize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
  merge_size: vision["spatial_merge_size"] ?? 2,
  patch_size: vision["patch_size"] ?? 14,
  resample: 3,
  rescale_factor: 1 / 255,
  size: { longest_edge: 1048576, shortest_edge: 3136 },
  temporal_patch_size: vision["temporal_patch_size"] ?? 2
})

/** File name → text of everything but weights and index. */
export const textFiles = ({ config, configText }: Pick<ConformanceCase["hf"], "config" | "configText">): Map<string, string> => {
  const thinker = config["thinker_config"]
  const vision = config["vision_config"] ?? (isObject(thinker) ? thinker["vision_config"] : undefined)
  return new Map([
    ["config.json", configText],
    ["generation_config.json", document(generationConfig(config))],
    ["tokenizer.json", tokenizerJson()],
    ["tokenizer_config.json", document(tokenizerConfig)],
    ...(isObject(vision) ? [["preprocessor_config.json", document(preprocessorConfig(vision))] as const] : [])
  ])
}
