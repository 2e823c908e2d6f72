/**
 * A model family, as data: which architectures it answers to, the schema of the config it reads, what the checkpoint's tensors
 * say about its layout, and from these the Megatron model, the mapping rows, the MIMO components and the provider fields.
 * Families live in `routes/`; nothing in `src` knows any of them.
 */
import type { z } from "zod"
import type { JsonValue } from "../document/StrictJson.ts"
import type { Component } from "./Component.ts"
import type { ModelFields } from "./ModelFields.ts"
import { buildModules, type ModelModule, type ModuleSource } from "../model/ModelModule.ts"
import type { Model } from "../model/Parameter.ts"
import type { DType } from "../tensor/DType.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { Row, Spelling } from "./Mapping.ts"
import type { Provider } from "../runconfig/Provider.ts"
import type { PublisherForm } from "./PublisherForm.ts"
import { type Renaming, spellingOf } from "./Spelling.ts"

/**
 * What the headers of an HF checkpoint show. An export from a config alone sees none. A quantised tensor is seen as the BF16
 * tensor that an unquantised checkpoint has, without its scales; `quantized` says what it is stored as.
 */
export interface HfHeaders {
  readonly names: ReadonlyArray<string>
  readonly tensor: (name: string) => { readonly dtype: DType; readonly shape: Shape; readonly quantized?: string } | undefined
  /** The output layer has a matrix of its own (true) or the embedding's (false): known where contents, or a trained checkpoint, show it. */
  readonly ownHead?: boolean
}

/** The two matrices over the vocabulary, by their HF names, and whether they are one. */
export interface Vocabulary {
  readonly embedding: string
  readonly head: string
  readonly tied: boolean
  /** The field of config.json that says so, if it is not `tie_word_embeddings`. */
  readonly flag?: string
  /** What config.json says, filled in by the rule for all families. */
  readonly said?: {
    /** From the outside in. */
    readonly flags: ReadonlyArray<TieFlag>
    /** Any of them says tied, or, where there is none, the model's class does. */
    readonly tied: boolean
  }
}

/** A field of config.json that an export writes otherwise. */
export interface ConfigField {
  /** Names from the outside in, joined by dots. */
  readonly path: string
  readonly value: number | boolean
  /** Where the original has no such field. */
  readonly add?: true
}

/** A flag of config.json, by its path (`text_config.tie_word_embeddings`). */
export interface TieFlag {
  readonly path: string
  readonly tied: boolean
}

/**
 * HF tensors that the trainer's forward pass does not use. Their bytes travel in the checkpoint as `hf_source.<name>` entries, which loaders
 * do not ask for; where a checkpoint lacks them (a trained one), the tensor is written as a copy of `alias`, or left out.
 */
export interface Carried {
  /** HF name, `*` for digits, `**` for anything. */
  readonly pattern: string
  readonly alias?: string
  /** Why it is no part of the trainer's model, as a clause. */
  readonly why: string
}

/** Parameters of rows of kind `zeros`, which HF does not have. */
export interface ZeroFilled {
  /** Why there are any. */
  readonly why: string
  /** Under these fields of config.json the HF model has them too: how an export keeps what training made of them. Empty: it cannot. */
  readonly fields: ReadonlyArray<ConfigField>
}

/** One model as its family describes it, in named slots. */
export interface FamilyDescription {
  /** Language model, towers, projectors, in state-dict order: what each is, its sizes, and what it stores. */
  readonly modules: ReadonlyArray<ModuleSource>
  /** Megatron parameter ⇐ HF tensors; the first row that matches wins. */
  readonly rows: ReadonlyArray<Row>
  /** The trainer's class and its fields, for `run_config.yaml`. */
  readonly provider: Provider
  /** Of an encoder alone: what it is called below the modality of a MIMO model. */
  readonly encoder?: string
  /** What trains under a layout of its own; absent: the family has no MIMO form. */
  readonly components?: ReadonlyArray<Component>
  /** HF tensors that Megatron has no place for. */
  readonly carried?: ReadonlyArray<Carried>
  /** Where rows are of kind `zeros`. */
  readonly zeroFilled?: ZeroFilled
  /** Absent: the model predicts no tokens. */
  readonly vocabulary?: Vocabulary
  /** Paths in config.json that are set to 0 when the MTP layers stay behind. */
  readonly mtpFields?: ReadonlyArray<string>
  /** What the user of an import should know: where a trainer's model cannot be what config.json says. */
  readonly notes?: ReadonlyArray<string>
}

/** Everything a conversion needs to know about one model. */
export interface ModelDescription extends Omit<FamilyDescription, "modules"> {
  readonly modules: ReadonlyArray<ModelModule>
  /** What the modules store, in order. */
  readonly model: Model
  /** Empty: the family has no MIMO form. */
  readonly components: ReadonlyArray<Component>
  readonly carried: ReadonlyArray<Carried>
  readonly mtpFields: ReadonlyArray<string>
}

/** A MIMO form of a family's models, and the standard provider classes that such models have. */
export interface MimoForm {
  readonly providers: ReadonlyArray<string>
  /** Every component that such a model may have; a model without a modality lacks its component. */
  readonly components: ReadonlyArray<Component>
}

/** Fields of a config.json; null where a trainer does not say them. */
export interface ImpliedConfig {
  readonly [field: string]: JsonValue
}

/** A family as its file writes it, slot by slot, from which {@link family} makes one. */
export interface FamilySource<Config, Layout = undefined> {
  readonly name: string
  readonly architectures: ReadonlyArray<string>
  /** The schema of config.json, or what makes it: of a family that nobody asks for it is then never made. */
  readonly config: z.ZodType<Config> | (() => z.ZodType<Config>)
  /** By these a checkpoint is recognised that has no config.json: the tables from which {@link ModelDescription.components} are taken. */
  readonly mimo?: ReadonlyArray<MimoForm>
  /** Other names that checkpoints of these models have, in the order in which they are turned into the published ones. */
  readonly spellings?: ReadonlyArray<Renaming>
  /** What the tensors show that config.json does not say: packed or single experts, a generation of names. FormatError where they show two things. */
  readonly layout?: (config: Config, headers: HfHeaders) => Layout
  /** The model that both mean. FormatError where config.json contradicts itself. */
  readonly describe: (config: Config, layout: Layout) => FamilyDescription
  /**
   * The way back from the fields of {@link FamilyDescription.provider} to config.json, without `architectures`, dtype and token ids;
   * undefined for fields that no model of the family has. What it says is described again and must give the same fields.
   */
  readonly impliedConfig?: (fields: ModelFields) => ImpliedConfig | undefined
  /** The publisher's own forms of such models, where it is public how they become that of transformers. */
  readonly publisher?: ReadonlyArray<PublisherForm>
}

/** A family with its config type closed over: `read` validates config.json and describes the model. */
export interface Family {
  readonly name: string
  readonly architectures: ReadonlyArray<string>
  readonly schema: z.ZodType
  readonly mimo?: ReadonlyArray<MimoForm>
  readonly describe: (config: unknown, headers: HfHeaders) => ModelDescription
  readonly impliedConfig?: (fields: ModelFields) => ImpliedConfig | undefined
  readonly publisher?: ReadonlyArray<PublisherForm>
}

/** The headers under the published names. */
const publishedHeaders = (headers: HfHeaders, { published, stored }: Spelling): HfHeaders => ({
  names: headers.names.map(published),
  tensor: (name) => headers.tensor(stored(name)),
  ...(headers.ownHead === undefined ? {} : { ownHead: headers.ownHead })
})

/** A description in published names, of a checkpoint that has others. */
const spelled = (description: ModelDescription, spelling: Spelling): ModelDescription => ({
  ...description,
  rows: description.rows.map((row) => ({ ...row, spelling })),
  carried: description.carried.map(({ alias, pattern, why }) => ({
    why,
    pattern: spelling.stored(pattern),
    ...(alias === undefined ? {} : { alias: spelling.stored(alias) })
  })),
  ...(description.vocabulary ? { vocabulary: spelledVocabulary(description.vocabulary, spelling) } : {})
})

const spelledVocabulary = (vocabulary: Vocabulary, { stored }: Spelling): Vocabulary =>
  ({ ...vocabulary, embedding: stored(vocabulary.embedding), head: stored(vocabulary.head) })

/** The one component of a model without a MIMO form. */
const WHOLE = "language"

/** The component that a module trains with; undefined where its routes divide it. */
const componentOf = (components: ReadonlyArray<Component>, path: string): string | undefined =>
  components.length === 0 ? WHOLE : components.find((c) => [c, ...(c.also ?? [])].some(({ sourcePrefix }) => `${path}.`.startsWith(sourcePrefix)))?.name

/** The same model under other routes. */
export const routed = (description: ModelDescription, components: ReadonlyArray<Component>): ModelDescription => ({
  ...description,
  components,
  modules: description.modules.map((module) => ({ ...module, component: componentOf(components, module.path) }))
})

/** Build what a family describes. */
const built = (description: FamilyDescription): ModelDescription => {
  const { carried = [], components = [], modules: sources, mtpFields = [] } = description
  const modules = buildModules(sources).map((module) => ({ ...module, component: componentOf(components, module.path) }))
  return { ...description, components, carried, mtpFields, modules, model: modules.flatMap(({ entries }) => entries) }
}

/** The same family, described further. Its slots are taken over as they are, so that its schema is not made by this. */
export const redescribed = (family: Family, describe: Family["describe"]): Family =>
  Object.defineProperties({} as Family, { ...Object.getOwnPropertyDescriptors(family), describe: { value: describe, enumerable: true } })

/** A family from its parts. */
export const family = <Config, Layout = undefined>(source: FamilySource<Config, Layout>): Family => {
  let schema: z.ZodType<Config> | undefined
  const described = (config: Config, headers: HfHeaders): ModelDescription => built(source.describe(config, source.layout?.(config, headers) as Layout))
  return {
    name: source.name,
    architectures: source.architectures,
    get schema() {
      return schema ??= typeof source.config === "function" ? source.config() : source.config
    },
    ...(source.mimo ? { mimo: source.mimo } : {}),
    ...(source.impliedConfig ? { impliedConfig: source.impliedConfig } : {}),
    ...(source.publisher ? { publisher: source.publisher } : {}),
    describe: (config, headers) => {
      const spelling = spellingOf(headers.names, source.spellings ?? [])
      return spelling ? spelled(described(config as Config, publishedHeaders(headers, spelling)), spelling) : described(config as Config, headers)
    }
  }
}
