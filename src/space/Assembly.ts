/**
 * A model of several checkpoints, as a value: which part comes from where, and where it stands in both tensor spaces. It has a path like a
 * model in a directory, under which it is opened: nothing is at that path but what is noted here.
 */
import { join } from "node:path"
import { ASSEMBLED, type AssemblySection } from "../bridge/assembled.ts"
import type { Component } from "../bridge/Component.ts"
import type { JsonValue } from "../document/StrictJson.ts"
import { UsageError } from "../errors.ts"

/** One part of a model. */
export interface AssemblyPart {
  /** `language`, a modality, or `<modality>.projector`. */
  readonly name: string
  /** Its directory. */
  readonly path: string
  /** What its tensors' names begin with in the whole, ending in a dot, and its parameters in the standard Megatron model. */
  readonly hf: string
  readonly megatron: string
  /** Of the directory's tensors, only those whose names begin with one of these, and what they begin with in the part. Default: all, as they are. */
  readonly names?: ReadonlyArray<readonly [directory: string, part: string]>
  /** It is a section of the model in its directory: an export writes it as a model by itself, with those of the small files. */
  readonly section?: { readonly beside: RegExp }
  /** In place of a config.json of its own. */
  readonly config?: JsonValue
  /** What the whole says of it besides its config.json. */
  readonly settings?: { readonly [field: string]: JsonValue }
}

export interface PartedModel {
  readonly recipe: string
  /** The language model first. */
  readonly parts: ReadonlyArray<AssemblyPart>
  readonly components: ReadonlyArray<Component>
  readonly notes: ReadonlyArray<string>
  /** The whole as one model of transformers: its config.json. An export writes that one instead of the parts. */
  readonly whole?: { readonly architecture: string; readonly config: JsonValue; readonly bytes: Uint8Array }
}

const SCHEME = "assembly:"
const known = new Map<string, PartedModel>()

/** The path of an assembly. */
export const pathOfAssembly = (assembly: PartedModel): string => {
  const text = `${SCHEME}${assembly.recipe}${assembly.whole ? " as one" : ""} ${assembly.parts.map(({ name, path }) => `${name}=${path}`).join(" ")}`
  known.set(text, assembly)
  return text
}

/** What a path stands for, if it is that of an assembly. */
export const assemblyAt = (path: string): PartedModel | undefined => {
  if (!path.startsWith(SCHEME)) return undefined
  const found = known.get(path)
  if (!found) throw new UsageError({ problem: "an assembly is named by its parts, not by the text that stands for it" })
  return found
}

/** The directory that a path is about, where there must be one: that of an assembly's language model. */
export const mainDirectory = (path: string): string => assemblyAt(path)?.parts[0]!.path ?? path

/** Directories that are read. */
export const directoriesOf = (path: string): ReadonlyArray<string> => assemblyAt(path)?.parts.map((part) => part.path) ?? [path]

/** The section of the whole's config that is a part's config.json. */
export const configSectionOf = ({ name }: Pick<AssemblyPart, "name">): string => `${name.replaceAll(".", "_")}_config`

/** The folder of a part in an export. */
export const folderOf = ({ name }: Pick<AssemblyPart, "name">): string => name.replaceAll(".", "-")

/** The same model, of the parts that an export of it wrote below a directory: a section is a model by itself there. */
export const exportedParts = ({ components, notes, parts, recipe }: PartedModel, directory: string): PartedModel => ({
  recipe,
  components,
  notes,
  parts: parts.map((part) => {
    const path = join(directory, folderOf(part))
    const { hf, megatron, name, settings } = part
    return part.section ? { name, path, hf, megatron, ...(settings ? { settings } : {}) } : { ...part, path }
  })
})

/** The config of the whole, from those of its parts, in their order. */
export const assembledConfig = (assembly: PartedModel, configs: ReadonlyArray<{ readonly path: string; readonly json: JsonValue }>): JsonValue => ({
  architectures: [ASSEMBLED],
  assembly: {
    recipe: assembly.recipe,
    parts: assembly.parts.map((part, i) => ({ name: part.name, path: configs[i]!.path, section: configSectionOf(part), hf: part.hf, megatron: part.megatron })),
    components: assembly.components.map(({ also, ...own }) => ({ ...own, ...(also ? { also: also.map((r) => ({ ...r })) } : {}) })),
    notes: [...assembly.notes]
  } satisfies AssemblySection as unknown as JsonValue,
  ...Object.fromEntries(assembly.parts.map((part, i) => [configSectionOf(part), { ...(configs[i]!.json as object), ...part.settings }]))
})
