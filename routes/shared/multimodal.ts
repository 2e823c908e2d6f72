/** What models of several modalities have in common: tied heads, token ids, components, generations of names. */
import type { Component } from "../../src/bridge/Component.ts"
import type { HfHeaders } from "../../src/bridge/Family.ts"
import { FormatError, some } from "../../src/errors.ts"
import { count } from "./config.ts"
import type { TextConfig } from "./llama.ts"

/** The whole model's flag decides; a text section's where the whole says nothing. */
export const tiedOf = (c: { readonly tie_word_embeddings?: boolean | null | undefined; readonly text_config: Pick<TextConfig, "tie_word_embeddings"> }): boolean =>
  c.tie_word_embeddings ?? c.text_config.tie_word_embeddings ?? false

const VISION_TOKENS = ["image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"] as const

/** Schema of the token ids that stand for images and videos. */
export const visionTokens = {
  image_token_id: count.nullish(),
  video_token_id: count.nullish(),
  vision_start_token_id: count.nullish(),
  vision_end_token_id: count.nullish()
}

/** Their provider fields, as far as the config has them. */
export const tokenIds = (c: Partial<Record<(typeof VISION_TOKENS)[number], number | null | undefined>>): Record<string, number> =>
  Object.fromEntries(VISION_TOKENS.flatMap((field) => (typeof c[field] === "number" ? [[field, c[field]]] : [])))

export interface Modality {
  /** `images`, `audio` … */
  readonly name: string
  readonly sourcePrefix: string
  readonly encoder: string
  /** Prefixes of what leads from the encoder to the language model, in order. */
  readonly projectors?: ReadonlyArray<string>
}

/** The components of a language model with encoders: each encoder trains with its projectors. */
export const languageAnd = (...modalities: ReadonlyArray<Modality>): ReadonlyArray<Component> => languageBelow("language_model.", ...modalities)

/** The same where the language model has another prefix. */
export const languageBelow = (languagePrefix: string, ...modalities: ReadonlyArray<Modality>): ReadonlyArray<Component> => [
  { name: "language", sourcePrefix: languagePrefix, targetModulePath: "language_model" },
  ...modalities.map(({ encoder, name, projectors = [], sourcePrefix }) => ({
    name,
    sourcePrefix,
    targetModulePath: `modality_submodules.${name}.encoders.${encoder}`,
    also: projectors.map((prefix, i) => ({ sourcePrefix: prefix, targetModulePath: `modality_submodules.${name}.input_projections.${i}` }))
  }))
]

/**
 * Libraries renamed the parts of these models over time. `generations` lists what each calls its parts, the published names
 * first; a generation is recognised by tensors below any of its `signs`. Both in one checkpoint is an error.
 */
export const generationOf = <T extends { readonly signs: ReadonlyArray<string> }>(headers: HfHeaders, generations: ReadonlyArray<T>): T => {
  const found = generations
    .map((generation) => ({ generation, names: headers.names.filter((name) => generation.signs.some((sign) => name.startsWith(sign))) }))
    .filter(({ names }) => names.length > 0)
  if (found.length > 1) {
    throw new FormatError(
      "config/mixed-names",
      `tensors follow different naming conventions: ${found.map(({ names }) => some(names, 3)).join(" and ")}`,
      { tensor: found[1]!.names[0] }
    )
  }
  return found[0]?.generation ?? generations[0]!
}

/** Plain multimodal wrappers: before transformers 4.52 the language model was a causal LM of its own, inside; since then its head is outside. */
export const WRAPPED_NAMES = [
  { signs: ["language_model."], model: "language_model.model.", head: "language_model.", outer: "" },
  { signs: ["model."], model: "model.language_model.", head: "", outer: "model." }
] as const
