/**
 * A model that is put together from several checkpoints: each part is described by its own family and stands below a prefix of both
 * tensor spaces. Nothing else is known of it; what parts there are, and which trains where, its config says.
 */
import { z } from "zod"
import { decodeWith } from "../document/decode.ts"
import { FormatError } from "../errors.ts"
import type { ModelModule } from "../model/ModelModule.ts"
import { reroot } from "../model/reroot.ts"
import { type Family, type HfHeaders, type ModelDescription, routed } from "./Family.ts"
import type { Row } from "./Mapping.ts"

/** `architectures[0]` of the config of such a model. */
export const ASSEMBLED = "AssembledModel"

const route = { sourcePrefix: z.string(), targetModulePath: z.string() }
const part = z.strictObject({
  name: z.string(),
  /** Where the part's config.json was, for messages. */
  path: z.string(),
  /** The section of the config that is the part's config.json. */
  section: z.string(),
  /** What its tensors' names begin with, in the Hugging Face space and in the standard Megatron model; empty or ending in a dot. */
  hf: z.string(),
  megatron: z.string()
})
const schema = z.looseObject({
  assembly: z.strictObject({
    recipe: z.string(),
    parts: z.array(part).min(1).max(100),
    components: z.array(z.strictObject({ name: z.string(), ...route, also: z.array(z.strictObject(route)).optional() })).max(100),
    notes: z.array(z.string())
  })
})

/** The section `assembly` of the config of such a model. */
export type AssemblySection = z.infer<typeof schema>["assembly"]
type Part = z.infer<typeof part>

/** The headers of one part, by its own names. */
const headersBelow = (headers: HfHeaders, prefix: string): HfHeaders => ({
  ...headers,
  names: headers.names.flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : [])),
  tensor: (name) => headers.tensor(prefix + name)
})

const movedRow = (row: Row, { hf, megatron }: Part): Row => {
  const { spelling } = row
  const within = (spell: (name: string) => string) => (name: string) => hf + spell(name.slice(hf.length))
  return {
    ...row,
    megatron: megatron + row.megatron,
    hf: row.hf.map((name) => hf + name),
    ...(spelling ? { spelling: { published: within(spelling.published), stored: within(spelling.stored) } } : {})
  }
}

const movedModule = (module: ModelModule, { megatron }: Part): ModelModule => ({
  ...module,
  path: module.path === "" ? megatron.slice(0, -1) : megatron + module.path,
  blocks: module.blocks.map((block) => ({ ...block, path: megatron + block.path })),
  entries: module.entries.map((entry) => reroot(entry, "", megatron))
})

/** The description of a part as that of a part of the whole. */
const moved = (description: ModelDescription, own: Part): ModelDescription => {
  const { carried, modules, mtpFields, rows, vocabulary, zeroFilled } = description
  const field = (path: string) => `${own.section}.${path}`
  return {
    ...description,
    modules: modules.map((module) => movedModule(module, own)),
    model: description.model.map((entry) => reroot(entry, "", own.megatron)),
    rows: rows.map((row) => movedRow(row, own)),
    carried: carried.map(({ alias, pattern, why }) => ({ pattern: own.hf + pattern, why, ...(alias === undefined ? {} : { alias: own.hf + alias }) })),
    mtpFields: mtpFields.map(field),
    ...(zeroFilled ? { zeroFilled: { ...zeroFilled, fields: zeroFilled.fields.map((f) => ({ ...f, path: field(f.path) })) } } : {}),
    ...(vocabulary ? {
      vocabulary: {
        ...vocabulary,
        embedding: own.hf + vocabulary.embedding,
        head: own.hf + vocabulary.head,
        flag: field(vocabulary.flag ?? "tie_word_embeddings"),
        ...(vocabulary.said ? { said: { ...vocabulary.said, flags: vocabulary.said.flags.map(({ path, tied }) => ({ path: field(path), tied })) } } : {})
      }
    } : {})
  }
}

const described = (find: (config: unknown, path?: string) => Family, config: z.infer<typeof schema>, headers: HfHeaders): ModelDescription => {
  const { components, notes, parts } = config.assembly
  const all = parts.map((own) => {
    const json = config[own.section]
    const family = find(json, own.path)
    const description = family.describe(decodeWith(family.schema, own.path, json), headersBelow(headers, own.hf))
    if (description.components.length > 0) {
      throw new FormatError("config/assembly", `${own.name} is a model of several components itself (${family.name}); name a checkpoint of one part`, { field: own.section })
    }
    return { own, family, description: moved(description, own) }
  })
  const language = all.find(({ description }) => description.vocabulary)
  if (!language) throw new FormatError("config/assembly", "none of the parts is a language model", { field: "assembly" })
  const { provider, vocabulary } = language.description
  const zeroFilled = all.map(({ description }) => description.zeroFilled).find((filled) => filled !== undefined)
  return routed({
    modules: all.flatMap(({ description }) => description.modules),
    model: all.flatMap(({ description }) => description.model),
    rows: all.flatMap(({ description }) => description.rows),
    carried: all.flatMap(({ description }) => description.carried),
    mtpFields: language.description.mtpFields,
    // The model is built by the trainer's script, whatever provider its run configuration names.
    provider: { ...provider, mimo: true },
    ...(vocabulary ? { vocabulary } : {}),
    ...(zeroFilled ? { zeroFilled } : {}),
    components: [],
    notes: [...all.flatMap(({ description, family, own }) => [`${own.name}: ${family.name}`, ...(description.notes ?? [])]), ...notes]
  }, components.map(({ also, ...component }) => ({ ...component, ...(also ? { also } : {}) })))
}

/** The family of such models. `find`: the family of a part. */
export const assembledFamily = (find: (config: unknown, path?: string) => Family): Family => ({
  name: "assembled",
  architectures: [ASSEMBLED],
  schema,
  describe: (config, headers) => described(find, config as z.infer<typeof schema>, headers)
})
