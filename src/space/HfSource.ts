/**
 * A Hugging Face model directory, opened: its config, its tensors' headers, and the names of the small files beside them.
 * Nothing of the data is read.
 */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import { basename, join } from "node:path"
import { architectureOf, type FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import type { HfHeaders } from "../bridge/Family.ts"
import { atPath } from "../document/decode.ts"
import { pythonJson, treeLike } from "../document/PythonJson.ts"
import { type JsonTree, type JsonValue, parseJson, parseJsonTree } from "../document/StrictJson.ts"
import { InvalidFile, type ReadError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import { eachOf } from "../store/eachOf.ts"
import type { Store } from "../store/Store.ts"
import { isNotThere } from "../store/existing.ts"
import { present } from "../store/present.ts"
import { recogniseFiles } from "../recognise/files.ts"
import { type Recognised, refusal } from "../recognise/Recognised.ts"
import { realPathInside } from "../safetensors/locate.ts"
import { openStoredWeights } from "./openStoredWeights.ts"
import { openPublished } from "./publishedWeights.ts"
import { type PartedModel, assemblyAt, type AssemblyPart, assembledConfig, folderOf, configSectionOf } from "./Assembly.ts"
import type { StoredWeights } from "./StoredWeights.ts"
import type { TensorSpace } from "./TensorSpace.ts"
import { refuseOtherThanJson } from "../safetensors/otherFormat.ts"
import { reading } from "../io/attempt.ts"
import { refuseSpecials } from "../store/specials.ts"
import { storeToRead } from "../publish/staging/storeToRead.ts"
import { readSmall } from "../store/readSmall.ts"

/** Published configs have up to a few hundred KB (long `quantization_config` lists). */
const LARGEST_CONFIG = 16 << 20

export interface HfConfig {
  readonly directory: string
  /** Of config.json. */
  readonly path: string
  readonly bytes: Uint8Array
  readonly json: JsonValue
  readonly architecture: string
  /** Content of the file at `path`, where config.json follows from it. */
  readonly derivedFrom?: Uint8Array
  /** Of a model of several checkpoints; it has no config.json of its own. */
  readonly parts?: ReadonlyArray<ConfiguredPart>
}

/** The part of an assembled model, and its config.json as it is there. */
export interface ConfiguredPart {
  readonly part: AssemblyPart
  readonly config: HfConfig
}

export interface HfSource extends HfConfig {
  readonly weights: StoredWeights
}

export const CONFIG = "config.json"

/**
 * Read config.json of a model directory, or what stands for it in a publisher's own form, or in a model of several checkpoints; Python
 * writers leave `Infinity` and `NaN` in it.
 */
export const openHfConfig = Effect.fnUntraced(function*(directory: string, families?: FamilyRegistry): Effect.fn.Return<HfConfig, ReadError, Disk> {
  const assembly = assemblyAt(directory)
  if (assembly) return yield* assembledHfConfig(directory, assembly)
  const published = families && (yield* openPublished(families, directory))
  return published ? published.config : yield* storedConfig(directory)
})

/** The config of an assembled model: those of its parts, and what holds them together. */
const assembledHfConfig = Effect.fnUntraced(function*(path: string, assembly: PartedModel) {
  const parts: Array<ConfiguredPart> = []
  for (const part of assembly.parts) {
    const { config: json, path: directory } = part
    const config = json === undefined ? yield* storedConfig(directory) : { directory, path: directory, bytes: encoded(json), json, architecture: architectureOf(json) }
    parts.push({ part, config })
  }
  const json = assembledConfig(assembly, parts.map(({ config }) => config))
  const like = new Map(parts.map(({ config: { bytes }, part }) => [configSectionOf(part), parseJsonTree(bytes, { allowNonFinite: true, keepFloats: true })]))
  return { directory: path, path, bytes: encoded(json, like), json, architecture: architectureOf(json), parts } satisfies HfConfig
})

const encoded = (json: JsonValue, like?: JsonTree): Uint8Array => Buffer.from(`${pythonJson(treeLike(json, like))}\n`)

const storedConfig = Effect.fnUntraced(function*(directory: string) {
  const store = yield* storeToRead(directory)
  return yield* reading(async (): Promise<HfConfig> => {
    const path = join(directory, CONFIG)
    const real = await realPathInside(store, directory, CONFIG).catch(async (error: unknown): Promise<never> => {
      const found = isNotThere(error) || isNoDirectory(error) ? await recognised(store, directory) : undefined
      throw found ? refusal(directory, found) : error
    })
    const bytes = await readSmall(store, real, path, LARGEST_CONFIG)
    refuseOtherThanJson(path, bytes)
    const json = atPath(path, () => parseJson(bytes, { allowNonFinite: true }))
    return { directory, path, bytes, json, architecture: atPath(path, () => architectureOf(json), bytes) }
  })
})

const isNoDirectory = (error: unknown): boolean => error instanceof InvalidFile && error.code === "safetensors/not-a-directory"

/** What a directory without config.json, or without safetensors, holds instead; what a file is that should be a directory. */
const recognised = async (store: Store, directory: string): Promise<Recognised | undefined> =>
  recogniseFiles((await present(store, directory))?.kind === "directory" ? await store.list(directory) : [basename(directory)])

/** A directory with config.json and weights. Errors: Unsupported for weights in a form that is known by sight only. */
export const openHfSource = Effect.fnUntraced(function*(directory: string, families?: FamilyRegistry) {
  const store = yield* storeInUse
  const published = families && (yield* openPublished(families, directory))
  if (published) return { ...published.config, weights: published.weights } satisfies HfSource
  const config = yield* openHfConfig(directory)
  const weights = yield* openStoredWeights(directory).pipe(Effect.catchIf(
    (error) => error._tag === "InvalidFile" && error.code === "safetensors/no-weights",
    (error) => reading(async (): Promise<never> => {
      const found = await recognised(store, directory)
      throw found ? refusal(directory, found) : error
    })
  ))
  return { ...config, weights } satisfies HfSource
})

/** An HF directory that may hold weights or only a config. */
export const openHfModel = Effect.fnUntraced(function*(directory: string, families?: FamilyRegistry) {
  const published = families && (yield* openPublished(families, directory))
  if (published) return published
  const config = yield* openHfConfig(directory)
  const weights = yield* openStoredWeights(directory).pipe(
    Effect.catchIf((e) => e._tag === "InvalidFile" && e.code === "safetensors/no-weights", () => Effect.succeed(undefined))
  )
  return { config, weights }
})

/** No headers: a config alone. */
export const noHeaders: HfHeaders = { names: [], tensor: () => undefined }

export const headersOf = ({ tensors }: TensorSpace): HfHeaders => ({
  names: [...tensors.keys()],
  tensor: (name) => tensors.get(name)
})

/** Files that belong to a model besides its weights; never weights of another format. */
const SIDE_FILE = /\.(json|jinja|txt|model|tiktoken|py|md|spm|vocab|bpe|yaml|yml)$|^(LICENSE|NOTICE|merges|vocab)/
/** Asked for by name where a model speaks: its voices. */
const VOICES = "spk_dict.pt"
const NOT_A_SIDE_FILE = /\.(safetensors|bin|pt|pth|h5|msgpack|onnx|gguf)(\.index\.json)?$|^\./

/** Bytes of a listed name that are not UTF-8 are shown as this; there is no file by the name that then stands there. */
const NOT_UTF8 = "\ufffd"

/** A small file of a model directory. */
export interface SmallFile {
  readonly name: string
  readonly path: string
  readonly size: number
}

/**
 * Names of the small files of a model directory that conversions copy byte for byte, `config.json` included, as far as `wanted`; of an
 * assembled model those of every part, in the part's folder.
 */
export const sideFiles = Effect.fnUntraced(function*(directory: string, wanted: (name: string) => boolean = () => true): Effect.fn.Return<ReadonlyArray<SmallFile>, ReadError, Disk> {
  const assembly = assemblyAt(directory)
  if (!assembly) return yield* ownSideFiles(directory, wanted)
  const files: Array<SmallFile> = []
  // A part without a config.json of its own is one among other things of its directory.
  for (const part of assembly.parts.filter(({ config, section }) => config === undefined || section)) {
    for (const file of yield* ownSideFiles(part.path, (name) => wanted(name) && (part.section?.beside.test(name) ?? true))) files.push({ ...file, name: `${folderOf(part)}/${file.name}` })
  }
  return files
})

const ownSideFiles = Effect.fnUntraced(function*(directory: string, wanted: (name: string) => boolean) {
  const store = yield* storeInUse
  return yield* reading(async () => {
    const names = (await store.list(directory)).filter((name) => (name === VOICES || (SIDE_FILE.test(name) && !NOT_A_SIDE_FILE.test(name))) && wanted(name))
    await refuseSpecials(store, directory, names, () => false)
    const files = await eachOf(names, async (name): Promise<ReadonlyArray<SmallFile>> => {
      const path = await realPathInside(store, directory, name).catch((error: unknown): never => {
        if (!name.includes(NOT_UTF8) || !isNotThere(error)) throw error
        throw new InvalidFile({
          path: join(directory, name),
          code: "file/name-encoding",
          problem: "has a name that is not UTF-8, so it cannot be copied under it",
          hint: "Rename it, or take it out of the directory."
        })
      })
      const info = await store.stat(path)
      return info.kind === "file" ? [{ name, path, size: info.size }] : []
    })
    return files.flat()
  })
})
