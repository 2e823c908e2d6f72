/**
 * `model.safetensors.index.json`: which shard holds which tensor. Sans-IO.
 *
 * Unlike transformers 5.18, which joins shard names to the directory unseen and initialises tensors that no shard has at
 * random, every name is checked and the index must agree with the headers in both directions.
 */
import { byCodePoint } from "../document/byCodePoint.ts"
import { pythonJson } from "../document/PythonJson.ts"
import { type JsonMap, type JsonTree, parseJsonTree } from "../document/StrictJson.ts"
import { encodeUtf8 } from "../document/utf8.ts"
import { FormatError } from "../FormatError.ts"
import { quote, some } from "../quote.ts"
import { MOST_TENSORS } from "./Header.ts"

/** As for a header: a line of the index is no longer than an entry of a header. */
const LARGEST_INDEX = 100_000_000
/** A tensor takes one value, and the metadata may say two things of each (a version of weights: its sum and its layout). */
const MOST_VALUES = 3 * MOST_TENSORS + 10_000
/** `NAME_MAX` of the usual file systems, in bytes. */
const LONGEST_FILE_NAME = 255
/** In bytes: leaves room for the directory in a `PATH_MAX` of 4096. */
const LONGEST_SHARD_NAME = 2048

/** The index of a model in several files. */
export interface SafetensorsIndex {
  /** Tensor → shard, in the order of the file. */
  readonly weightMap: ReadonlyMap<string, string>
  /** Everything under `metadata`; usually `total_size`, in transformers 5 also `total_parameters`. */
  readonly metadata: JsonMap
}

const wrong = (code: string, problem: string, place: { tensor?: string; field?: string } = {}): never => {
  throw new FormatError(`safetensors/index-${code}`, problem, place)
}

const isMap = (value: JsonTree | undefined): value is Map<string, JsonTree> => value instanceof Map

/** Why a shard name cannot be used, or `undefined`. Names are relative, with `/`, below the directory of the index. */
const shardNameProblem = (name: string, suffix: string): string | undefined => {
  if (!name.endsWith(suffix)) return `does not end in ${suffix}`
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(name)) return "holds a control character"
  if (/[\\:]/.test(name)) return "is not a plain relative path"
  if (encodeUtf8(name).byteLength > LONGEST_SHARD_NAME) return "is longer than paths can be"
  for (const segment of name.split("/")) {
    if (segment === "" || segment === "." || segment === "..") return "is not a plain relative path inside the directory"
    if (encodeUtf8(segment).byteLength > LONGEST_FILE_NAME) return "is longer than file names can be"
  }
  return undefined
}

/**
 * Parse and validate an index: `bytes` is all of the file, `suffix` what the names of shards end in.
 *
 * @throws FormatError `safetensors/index-` + a JSON problem (`syntax`, `duplicate-key`, …), `not-object`, `weight-map`,
 * `metadata` or `shard-name`.
 */
export const parseIndex = (bytes: Uint8Array, suffix = ".safetensors"): SafetensorsIndex => {
  const document = parseJsonTree(bytes, { maxBytes: LARGEST_INDEX, maxValues: MOST_VALUES, codes: "safetensors/index-" })
  if (!isMap(document)) return wrong("not-object", "the index is not a JSON object")
  const entries = document.get("weight_map")
  if (!isMap(entries)) return wrong("weight-map", "weight_map is missing or not an object", { field: "weight_map" })
  if (entries.size === 0) return wrong("weight-map", "weight_map is empty", { field: "weight_map" })
  const metadata = document.get("metadata") ?? new Map<string, JsonTree>()
  if (!isMap(metadata)) return wrong("metadata", "metadata is not an object", { field: "metadata" })
  /** One string per shard instead of one per tensor. */
  const shards = new Map<string, string>()
  for (const [tensor, shard] of entries) {
    if (typeof shard !== "string") return wrong("weight-map", "the shard name is not a string", { tensor })
    let known = shards.get(shard)
    if (known === undefined) {
      const problem = shardNameProblem(shard, suffix)
      if (problem !== undefined) wrong("shard-name", `the shard name "${quote(shard)}" ${problem}`, { tensor })
      shards.set(shard, known = shard)
    }
    entries.set(tensor, known)
  }
  return { weightMap: entries as ReadonlyMap<string, string>, metadata }
}

/** Shard names, each once, in code point order. */
export const shardsOf = ({ weightMap }: SafetensorsIndex): ReadonlyArray<string> => [...new Set(weightMap.values())].sort(byCodePoint)

/** `metadata.total_size` in bytes, if it is there and a number. Some writers of old made it a float. */
export const totalSize = ({ metadata }: SafetensorsIndex): number | undefined => {
  const value = metadata.get("total_size")
  return typeof value === "number" ? value : undefined
}

/**
 * - `transformers`: `json.dumps(index, indent=2, sort_keys=True) + "\n"`, what `save_pretrained` of transformers 5 writes.
 * - `huggingface_hub`: `json.dump(index, indent=2)`, the given order and no newline (`save_torch_state_dict`, 1.33).
 */
export type IndexStyle = "transformers" | "huggingface_hub"

/** The index as UTF-8 bytes (pure ASCII), exactly as the named library writes it. */
export const encodeIndex = ({ metadata, weightMap }: SafetensorsIndex, style: IndexStyle = "transformers"): Uint8Array => {
  const document: JsonMap = new Map<string, JsonTree>([["metadata", metadata], ["weight_map", weightMap]])
  return encodeUtf8(style === "transformers" ? `${pythonJson(document, { sortKeys: true })}\n` : pythonJson(document))
}

/** What an index is compared with: the headers of its shards. */
export interface ListedShard {
  /** The name as in the index. */
  readonly file: string
  readonly tensors: ReadonlyArray<{ readonly name: string }>
}

/** A copy of a tensor in a shard that the index does not name for it. */
export interface StaleCopy {
  readonly name: string
  /** Where it stands. */
  readonly file: string
}

/**
 * Index and headers must tell the same story, but for {@link totalSize}, where a wrong value is common and harmless, and for
 * stale copies: where a tensor stands in several shards, the index says which one counts (a shard may be laid over others that
 * way). Both are the caller's to mention.
 *
 * @throws FormatError `safetensors/index-` + `missing-tensor` (listed, not in its shard) or `unlisted-tensor` (in a shard, not
 * listed).
 */
export const checkIndex = ({ weightMap }: SafetensorsIndex, shards: ReadonlyArray<ListedShard>): ReadonlyArray<StaleCopy> => {
  const count = shards.reduce((sum, { tensors }) => sum + tensors.length, 0)
  if (count === weightMap.size && shards.every(({ file, tensors }) => tensors.every(({ name }) => weightMap.get(name) === file))) return []
  const found = new Set<string>()
  const stale: Array<StaleCopy> = []
  const unlisted: Array<StaleCopy> = []
  for (const { file, tensors } of shards) {
    for (const { name } of tensors) {
      const listed = weightMap.get(name)
      if (listed === file) found.add(name)
      else (listed === undefined ? unlisted : stale).push({ name, file })
    }
  }
  for (const [name, file] of weightMap) {
    if (found.has(name)) continue
    const other = stale.find((copy) => copy.name === name)
    wrong("missing-tensor", `the index places it in ${quote(file)}, which does not hold it${other ? `; ${quote(other.file)} does` : ""}`, { tensor: name })
  }
  const [first] = unlisted
  if (first) {
    wrong("unlisted-tensor", `${quote(first.file)} holds tensors that the index does not list: ${some(unlisted.map(({ name }) => name))}`, { tensor: first.name })
  }
  return stale
}
