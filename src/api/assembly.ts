/**
 * Models that are put together from checkpoints of their parts: a recipe says which parts there are, the request which checkpoint each
 * comes from. What this gives is named like a model in a directory, wherever one is taken.
 */
import { Effect } from "effect"
import { dirname, isAbsolute, join } from "node:path"
import { z } from "zod"
import { ASSEMBLIES, type AssemblyRecipe, PROJECTOR_LAYERS } from "../../routes/recipes/assembly.ts"
import type { Component } from "../bridge/Component.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import type { ModelModule } from "../model/ModelModule.ts"
import { atPath, decodeWith } from "../document/decode.ts"
import { pythonJson, treeLike } from "../document/PythonJson.ts"
import type { JsonValue } from "../document/StrictJson.ts"
import { PlanRefused, quote, type ReadError, UsageError } from "../errors.ts"
import { checking, named, reading } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { modelDirectory } from "../remote/names.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { parseRunConfig } from "../runconfig/RunConfigFile.ts"
import { type AssemblyPart, pathOfAssembly } from "../space/Assembly.ts"
import { openStoredWeights } from "../space/openStoredWeights.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"
import { describeInitial, type InitialProjector, initialPath } from "../store/generated.ts"
import { readSmall } from "../store/readSmall.ts"
import { TOKENIZER_FILE } from "../convert/tokenizerFiles.ts"
import { type DescribedPart, describedPart, type JsonFields } from "./assembledParts.ts"
import { familiesOf, type WithFamilies } from "./requests.ts"

/** What is put together. */
export interface AssemblyRequest extends WithFamilies {
  /** `llava`, `images`, `audio`, `llava-audio`. */
  readonly recipe: string
  /**
   * A directory or a name on the Hub for each part: `language`, each modality (`images`, `audios`), and the projector of each
   * (`images.projector`; `projector`, where there is one modality): a directory that has one, or `init:SEED` for new values.
   */
  readonly parts: Readonly<Record<string, string>>
  /** An export writes one model of transformers, if the recipe has a class for it, instead of the parts. */
  readonly whole?: boolean
  /** Ids of the tokens that stand for a modality, for the config.json of the whole. */
  readonly tokens?: Readonly<Record<string, number>>
}

/** Names of the recipes. */
export const assemblyRecipes: ReadonlyArray<string> = Object.keys(ASSEMBLIES)

const recipeNamed = (name: string): AssemblyRecipe => {
  if (Object.hasOwn(ASSEMBLIES, name)) return ASSEMBLIES[name]!
  throw new UsageError({ code: "usage/assembly", problem: `--recipe ${quote(name)}: there is no such recipe`, hint: `Known: ${assemblyRecipes.join(", ")}.` })
}

/** The parts that were named, under the names that the recipe has for them. */
const namedParts = (recipe: AssemblyRecipe, given: Readonly<Record<string, string>>): ReadonlyMap<string, string> => {
  const [only, ...more] = recipe.modalities
  const wanted = ["language", ...recipe.modalities.flatMap(({ name }) => [name, `${name}.projector`])]
  const ownName = (name: string): string => (name === "projector" && more.length === 0 ? `${only!.name}.projector` : name)
  const parts = new Map(Object.entries(given).map(([name, path]) => [ownName(name), path]))
  const twice = Object.keys(given).find((name) => ownName(name) !== name && Object.hasOwn(given, ownName(name)))
  const strange = [...parts.keys()].filter((name) => !wanted.includes(name))
  const absent = wanted.filter((name) => !parts.has(name))
  const problem = twice !== undefined ? `${twice} and ${ownName(twice)} are one part, which is named twice` : strange.length > 0 ? `there is no part ${strange.map(quote).join(", ")}` : absent.length > 0 ? `${absent.join(", ")} ${absent.length === 1 ? "is" : "are"} missing` : undefined
  if (problem === undefined) return parts
  throw new UsageError({ code: "usage/assembly", problem: `--hf-model: ${problem}`, hint: `The recipe has the parts ${wanted.join(", ")}: --hf-model PART=DIR for each; a projector may be init:SEED, for new values.` })
}

const INIT = /^init:(\d{1,9})$/

/** The sizes of a projector's layers, by the names that its directory has for them. */
const projectorIn = ({ directory, tensors }: StoredWeights) => {
  for (const layers of PROJECTOR_LAYERS) {
    const [first, second] = layers.map((name) => tensors.get(`${name}.weight`)?.shape)
    if (first?.length !== 2 || second?.length !== 2) continue
    return { layers, input: first[1]!, hidden: first[0]!, output: second[0]!, bias: tensors.has(`${layers[0]}.bias`) }
  }
  throw new PlanRefused({
    code: "plan/missing",
    problem: `${quote(directory)} holds no projector of two layers`,
    names: PROJECTOR_LAYERS.map(([first, second]) => `${first}.weight, ${second}.weight`),
    hint: "One of these pairs of names is looked for; init:SEED makes new values."
  })
}

type Of<K extends ModelModule["kind"]> = Extract<ModelModule, { readonly kind: K }>

const languageOf = ({ modules }: ModelDescription) => modules.find((module): module is Of<"language"> => module.kind === "language")

const encoderOf = ({ modules }: ModelDescription) => modules.find((module): module is Of<"vision" | "audio"> => module.kind === "vision" || module.kind === "audio")

const dtypeOf = ({ provider: { fields } }: ModelDescription): "BF16" | "F32" => (fields["bf16"] === true ? "BF16" : "F32")

/** What an assembly says of a part that is a section of a whole model. */
const sectionOf = ({ json, section }: DescribedPart): Pick<AssemblyPart, "names" | "config" | "section"> =>
  section ? { names: section.names, config: json, section: { beside: TOKENIZER_FILE } } : {}

/** A trainer has one dtype. */
const dtypeNotes = (parts: ReadonlyMap<string, DescribedPart>): ReadonlyArray<string> => {
  const dtypes = Array.from(parts, ([name, { dtype }]) => `${name} ${dtype}`)
  return new Set(parts.values().map(({ dtype }) => dtype)).size < 2 ? [] : [`the parts are of several dtypes: ${dtypes.join(", ")}; each keeps its own (--torch-dtype casts all)`]
}

const refuse = (name: string, problem: string, hint: string): never => {
  throw new UsageError({ code: "usage/assembly", problem: `--hf-model ${name}: ${problem}`, hint })
}

/**
 * Put a model together. What it gives stands for a model's directory in every function that takes one: `prepareImport`, `prepareExport`,
 * `verify`. Reads headers only. Errors: UsageError `usage/assembly`, PlanRefused, those of reading.
 */
export const assembleModel = (request: AssemblyRequest): Effect.Effect<string, ReadError | UsageError | PlanRefused, Disk> =>
  Effect.gen(function*() {
    const families = familiesOf(request)
    const store = yield* storeInUse
    const { given, recipe } = yield* checking(() => {
      const recipe = recipeNamed(request.recipe)
      return { recipe, given: namedParts(recipe, request.parts) }
    })
    const directoryOf = (name: string) => named(() => modelDirectory(store, given.get(name)!))
    const languagePath = yield* directoryOf("language")
    const language = yield* describedPart(families, "language", languagePath, {})
    const width: number | undefined = languageOf(language.description)?.config?.hidden_size
    if (width === undefined) return yield* checking(() => refuse("language", "is no language model", "Name a checkpoint of a text model."))
    const parts: Array<AssemblyPart> = [{ name: "language", path: languagePath, ...recipe.language, ...sectionOf(language) }]
    const configs: Record<string, JsonFields> = { language: language.json }
    const described = new Map([["language", language]])
    const notes = ["run_config.yaml cannot rebuild this model: its parts are Python specifications (language_model_spec, modality_submodules_spec), which the trainer's script makes; load the checkpoint into the model of that script"]
    const components: Array<Component> = [{ name: "language", sourcePrefix: recipe.language.megatron, targetModulePath: "language_model" }]
    for (const modality of recipe.modalities) {
      const { name, projector, settings = {}, within } = modality
      const path = yield* directoryOf(name)
      const encoder = yield* describedPart(families, name, path, settings)
      const tower = encoderOf(encoder.description)
      if (!tower || encoder.description.encoder === undefined) return yield* checking(() => refuse(name, "is no encoder alone", "Name the checkpoint of an encoder; a model that has one is converted as a whole."))
      const features = tower.sizes.output
      const hf = modality.hf + (within && encoder.names.some((own) => within[0].test(own)) ? within[1] : "")
      parts.push({ name, path, hf, megatron: modality.megatron, ...(Object.keys(settings).length > 0 ? { settings: settings as JsonFields } : {}), ...sectionOf(encoder) })
      configs[name] = encoder.json
      described.set(name, encoder)
      const own = `${name}.projector`
      const source = given.get(own)!
      const seed = INIT.exec(source)?.[1]
      if (seed === undefined && source.startsWith("init:")) return yield* checking(() => refuse(own, `${quote(source)} is no seed`, "init:SEED takes a whole number, e.g. init:1234."))
      const initial: InitialProjector = { seed: Number(seed ?? 0), dtype: dtypeOf(language.description), input: features, hidden: width, output: width }
      const from: string = seed === undefined ? yield* directoryOf(own) : initialPath(initial)
      const found = yield* Effect.flatMap(openStoredWeights(from), (weights) => checking(() => projectorIn(weights)))
      if (found.input !== features || found.output !== width) {
        return yield* checking(() => refuse(own, `leads from ${found.input} to ${found.output} features, but ${name} gives ${features} and the language model takes ${width}`, "Name the projector of this encoder and this language model, or init:SEED."))
      }
      const config = { architectures: ["MultimodalProjector"], input_size: found.input, hidden_size: found.hidden, output_size: found.output, bias: found.bias, layers: [...found.layers] }
      parts.push({ name: own, path: from, hf: projector.hf, megatron: projector.megatron, names: found.layers.map((layer) => [`${layer}.`, `${layer}.`] as const), config })
      configs[own] = config
      notes.push(seed === undefined ? `${own}: ${found.layers.join(" and ")} of ${quote(from)}; nothing else of it is taken` : `${own}: new, ${describeInitial(initial)}`)
      components.push({
        name,
        sourcePrefix: modality.megatron,
        targetModulePath: `modality_submodules.${name}.encoders.${encoder.description.encoder}`,
        also: [{ sourcePrefix: projector.megatron, targetModulePath: `modality_submodules.${name}.input_projections.0` }]
      })
    }
    notes.push(...[...described.values()].flatMap(({ section }) => section?.note ?? []), ...dtypeNotes(described))
    const whole = request.whole ? yield* checking(() => wholeOf(request, recipe, configs, described, languageOf(language.description)!.config!.vocab_size)) : undefined
    return pathOfAssembly({ recipe: request.recipe, parts, components, notes, ...(whole ? { whole } : {}) })
  })

const wholeOf = ({ recipe: name, tokens: said = {} }: AssemblyRequest, { whole }: AssemblyRecipe, configs: Readonly<Record<string, JsonFields>>, described: ReadonlyMap<string, DescribedPart>, vocabulary: number) => {
  if (!whole) throw new UsageError({ code: "usage/assembly", problem: `--whole: transformers has no class for the recipe ${quote(name)}`, hint: "Without it an export writes the parts." })
  for (const [part, { hidden_size: inside, output_size: out }] of Object.entries(configs).filter(([part]) => part.endsWith(".projector"))) {
    if (inside !== out) throw new UsageError({ code: "usage/assembly", problem: `--whole: ${part} has ${String(inside)} features inside; that of ${whole.architecture} has as many as the language model, ${String(out)}`, hint: "Without --whole an export writes the parts." })
  }
  const tokens = { ...whole.tokens, ...said }
  for (const [modality, id] of Object.entries(tokens)) {
    if (!Object.hasOwn(whole.tokens, modality)) throw new UsageError({ code: "usage/assembly", problem: `--token ${quote(modality)}: the recipe has no such modality` })
    if (id < vocabulary) continue
    throw new UsageError({ code: "usage/assembly", problem: `token ${id}, which stands for ${modality}, is not among the ${vocabulary} of the language model`, hint: `--token ${modality}=ID names one that is.` })
  }
  const config = whole.config(configs as never, tokens) as JsonValue
  const like = new Map(Object.entries(whole.sections).map(([section, part]) => {
    const { tree } = described.get(part)!
    return [section, tree instanceof Map && tree.get(section) instanceof Map ? tree.get(section)! : tree]
  }))
  return { architecture: whole.architecture, config, bytes: Buffer.from(`${pythonJson(treeLike(config, like))}\n`) }
}

const text = z.string().min(1).max(4096)
const document = z.strictObject({
  recipe: text,
  models: z.record(z.string().max(100), z.union([text, z.strictObject({ model: text })])),
  tokens: z.record(z.string().max(100), z.int().min(0).max(2 ** 24)).optional()
})

const LARGEST_DOCUMENT = 1 << 20

/** Is it the name of a file that {@link assemblyFile} reads? */
export const isAssemblyFile = (path: string): boolean => /\.ya?ml$/.test(path)

/** What a YAML file says is to be put together. Paths that begin with a dot are relative to the file. Errors: InvalidFile. */
export const assemblyFile = (path: string): Effect.Effect<AssemblyRequest, ReadError, Disk> =>
  Effect.flatMap(storeInUse, (store) => reading(async () => {
    const bytes = await readSmall(store, path, path, LARGEST_DOCUMENT)
    const { models, recipe, tokens } = decodeWith(document, path, atPath(path, () => parseRunConfig(bytes)))
    const place = (model: string): string => (/^\.{1,2}\//.test(model) && !isAbsolute(model) ? join(dirname(path), model) : model)
    return { recipe, parts: Object.fromEntries(Object.entries(models).map(([name, model]) => [name, place(typeof model === "string" ? model : model.model)])), ...(tokens ? { tokens } : {}) }
  }))
