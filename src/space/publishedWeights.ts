/**
 * Weights in their publisher's own form, `consolidated.safetensors` (or several files and their index) with `params.json`, seen as those
 * of transformers: names, order of rows and config.json as the family's public conversion has them. Nothing is guessed: a parameter
 * or a tensor that it does not know is an error that names it.
 */
import { Effect } from "effect"
import { join } from "node:path"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import type { PublishedModel } from "../bridge/PublisherForm.ts"
import { atPath, decodeWith } from "../document/decode.ts"
import { type JsonValue, parseJson } from "../document/StrictJson.ts"
import { InvalidFile, quote, some, Unsupported } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { CONSOLIDATED } from "../recognise/files.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { realPathInside } from "../safetensors/locate.ts"
import { openSafetensors } from "../safetensors/SafetensorsDirectory.ts"
import { present } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import type { Store } from "../store/Store.ts"
import { readFrom } from "../tensor/Copy.ts"
import { storedWeights, type StoredWeights } from "./StoredWeights.ts"
import { type ComposedPlace, isIn, type RangePlace, rangeArray, type SpaceTensor } from "./TensorSpace.ts"

export const PARAMS = "params.json"
const SINGLE = "consolidated.safetensors"
const INDEX = "consolidated.safetensors.index.json"
/** Published ones have less than a KB. */
const LARGEST_PARAMS = 1 << 20

/** What to open of a directory with these names: weights in the publisher's form and none in that of transformers. */
export const publishedEntry = (names: ReadonlyArray<string>): string | undefined => {
  const others = names.some((name) => name === "config.json" || (/\.safetensors(\.index\.json)?$|^pytorch_model.*\.bin/.test(name) && !name.startsWith("consolidated")))
  return others || !names.includes(PARAMS) ? undefined : [INDEX, SINGLE].find((name) => names.includes(name))
}

/** A model's directory in its publisher's form. */
export interface PublishedSource {
  /** As a config.json that is read; `path` and `derivedFrom`: the file that it follows from. */
  readonly config: { readonly directory: string; readonly path: string; readonly bytes: Uint8Array; readonly json: JsonValue; readonly architecture: string; readonly derivedFrom: Uint8Array }
  readonly weights: StoredWeights
}

const seen = ({ directory, tensors, ...weights }: StoredWeights, path: string, model: PublishedModel): StoredWeights => {
  const renamed = new Map<string, SpaceTensor<RangePlace | ComposedPlace>>()
  const unknown: Array<string> = []
  for (const tensor of tensors.values()) {
    const own = isIn("range")(tensor) ? tensor : undefined
    const found = own && atPath(path, () => model.tensor(tensor.name, tensor.shape))
    if (!own || !found) unknown.push(tensor.name)
    else {
      const place = found.copy ? { kind: "composed" as const, directory, file: own.place.file, offset: own.place.offset, length: own.place.length, copy: readFrom(found.copy, () => rangeArray(own)) } : own.place
      renamed.set(found.name, { ...own, name: found.name, place })
    }
  }
  if (unknown.length > 0) {
    throw new Unsupported({
      code: "unsupported/publisher-form",
      what: path,
      problem: `${unknown.length === 1 ? "one tensor is" : `${unknown.length} tensors are`} not among those whose place in transformers is public for ${model.architecture}: ${some(unknown, 3)}`,
      hint: CONSOLIDATED
    })
  }
  const { safetensors: _, ...rest } = weights
  return { ...rest, directory, tensors: renamed, warnings: [...weights.warnings, `${quote(path.slice(directory.length + 1))} and ${PARAMS} are read as ${model.architecture} of transformers: names, rows of queries and keys, config.json`, ...model.assumed] }
}

const TORCH: Readonly<Record<string, string>> = { BF16: "bfloat16", F16: "float16", F32: "float32" }

const modelOf = (families: FamilyRegistry, path: string, bytes: Uint8Array): PublishedModel => {
  const params = atPath(path, () => parseJson(bytes), bytes)
  if (typeof params !== "object" || params === null || Array.isArray(params)) throw new InvalidFile({ path, code: "document/shape", problem: "is no JSON object" })
  const fields = params as { readonly [field: string]: JsonValue }
  const form = families.families.flatMap(({ publisher }) => publisher ?? []).find((own) => own.applies(fields))
  if (!form) {
    throw new Unsupported({
      code: "unsupported/publisher-form",
      what: path,
      problem: `these parameters (${some(Object.keys(fields), 12)}) are those of no family whose way from consolidated weights to transformers is public`,
      hint: CONSOLIDATED
    })
  }
  return form.model(decodeWith(form.schema, path, params, bytes))
}

const opened = async (store: Store, families: FamilyRegistry, directory: string, entry: string, stored: StoredWeights): Promise<PublishedSource> => {
  const path = join(directory, PARAMS)
  const bytes = await readSmall(store, await realPathInside(store, directory, PARAMS), path, LARGEST_PARAMS)
  const model = modelOf(families, path, bytes)
  const weights = seen(stored, join(directory, entry), model)
  const dtype = TORCH[weights.tensors.values().next().value?.dtype ?? ""]
  const json = { architectures: [model.architecture], ...model.config, ...(dtype === undefined ? {} : { torch_dtype: dtype }) }
  const text = Buffer.from(`${JSON.stringify(json, null, 2)}\n`)
  return { config: { directory, path, bytes: text, json, architecture: model.architecture, derivedFrom: bytes }, weights }
}

/** Undefined for a directory that has weights in another form. Errors: those of `openSafetensors`; Unsupported `unsupported/publisher-form`, InvalidFile. */
export const openPublished = Effect.fnUntraced(function*(families: FamilyRegistry, directory: string) {
  const store = yield* storeInUse
  const entry = yield* reading(async () => ((await present(store, directory))?.kind === "directory" ? publishedEntry(await store.list(directory)) : undefined))
  if (entry === undefined) return undefined
  const stored = storedWeights(yield* openSafetensors(join(directory, entry)))
  return yield* reading(() => opened(store, families, directory, entry, stored))
})
