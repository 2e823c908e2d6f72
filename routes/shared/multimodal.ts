/** What models of several modalities have in common: tie flags, token ids, components, generations of names. */
import { z } from "zod"
import type { Component } from "../../src/bridge/Component.ts"
import type { Carried, FamilyDescription, HfHeaders, Vocabulary, ZeroFilled } from "../../src/bridge/Family.ts"
import type { Row } from "../../src/bridge/Mapping.ts"
import type { Provider, PythonValue } from "../../src/runconfig/Provider.ts"
import { rows, type Table } from "../../src/bridge/Registry.ts"
import { FormatError, some } from "../../src/errors.ts"
import { gpt, type GptOptions } from "../../src/model/gpt.ts"
import type { Scope } from "../../src/model/Scope.ts"
import type { ModuleSource } from "../../src/model/ModelModule.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"
import type { ForwardFacts } from "../../src/model/Forward.ts"
import { count } from "./config.ts"
import { frameRows, type TextConfig, type TextPrefixes, vocabularyOf } from "./llama.ts"

/** The flag, wherever it stands (`tie.ts` sets all that contradict one another), or the default of the model's class. */
export const tiedOf = (
  c: { readonly tie_word_embeddings?: boolean | null | undefined; readonly text_config: Pick<TextConfig, "tie_word_embeddings"> },
  byDefault = false
): boolean => c.tie_word_embeddings ?? c.text_config.tie_word_embeddings ?? byDefault

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

/**
 * Ids that begin and end a text, where the provider holds them: those of a section, else what its config class has (undefined:
 * nothing that differs from the provider's own). A list of ends stays a list.
 */
export const vocabularyMarks = (section: Readonly<Record<string, unknown>>, absent: Readonly<Record<string, number | null | undefined>>): Readonly<Record<string, PythonValue | undefined>> => {
  const id = z.union([count, z.array(count).max(1000)])
  return Object.fromEntries(Object.entries(absent).map(([field, otherwise]) => [field, id.safeParse(section[field]).data ?? otherwise]))
}

/** An encoder and what leads from it to the language model. */
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

/**
 * Plain wrappers around a language model. Published checkpoints hold it as a causal LM of its own, with its head inside; newer
 * libraries also write the head, and everything else, outside.
 */
export const WRAPPED_NAMES = [
  { signs: ["language_model."], model: "language_model.model.", head: "language_model.", outer: "" },
  { signs: ["model.", "lm_head."], model: "model.language_model.", head: "", outer: "model." }
] as const

/** What the trainer mirrors keeps its names below the two prefixes. */
export const mirrored = (megatron: string, hf: string): ReadonlyArray<Row> => rows(megatron, hf, { "**": "**" })

/** Older configs have the text fields beside the section of the encoder instead of in one of their own. */
export const sectioned = <T>(name: string, schema: z.ZodType<T>): z.ZodType<T> =>
  z.preprocess((c) => (typeof c === "object" && c !== null && !(name in c) ? { ...c, [name]: c } : c), schema)

/** Rotary sections for time, height and width, where the config has them. */
export const mropeOf = (t: TextConfig): ReadonlyArray<number> | undefined => {
  const old = z.looseObject({ mrope_section: z.array(count) }).safeParse(t.rope_scaling)
  return t.rope_parameters?.mrope_section ?? (old.success ? old.data.mrope_section : undefined)
}

/** What a multimodal model is: a language model, towers in front of it, rows, components. */
export interface MultimodalModel {
  readonly tc: TransformerConfig
  readonly names: Required<TextPrefixes>
  /** Rows of one decoder layer. */
  readonly table: Table
  /** What stands in front of the language model. */
  readonly towers: ReadonlyArray<ModuleSource>
  /** Its rows, and rows that win over the language model's. */
  readonly rows: ReadonlyArray<Row>
  readonly gpt?: GptOptions
  /** Instead of a plain GPT. */
  readonly build?: (s: Scope) => void
  /** What stands behind the language model. */
  readonly behind?: ReadonlyArray<ModuleSource>
  readonly provider: Provider
  /** What the language model computes with text alone, if the forward check knows all of it. */
  readonly forward?: ForwardFacts | undefined
  readonly components: ReadonlyArray<Component>
  readonly carried?: ReadonlyArray<Carried>
  /** Where embedding and head are not called `embed_tokens` and `lm_head`. */
  readonly vocabulary?: Vocabulary
  readonly mtpFields?: ReadonlyArray<string>
  readonly zeroFilled?: ZeroFilled
  readonly notes?: ReadonlyArray<string>
}

/** The description of a language model with towers. */
export const multimodalModel = ({ behind = [], build, forward, gpt: options, names, rows: own, table, tc, towers, vocabulary, ...slots }: MultimodalModel): FamilyDescription => ({
  ...slots,
  modules: [
    ...towers,
    { kind: "language", path: names.megatron.slice(0, -1), config: tc, ...(forward ? { forward } : {}), build: build ?? ((s) => gpt(s, tc, options)) },
    ...behind
  ],
  rows: [...own, ...frameRows(names), ...rows(`${names.megatron}decoder.layers.*.`, `${names.model}layers.*.`, table)],
  vocabulary: vocabulary ?? vocabularyOf(tc, names)
})
