/**
 * Which files make up a checkpoint, and where they really are. A directory from a stranger may hold links that point
 * anywhere and FIFOs that block for ever; only regular files inside it are opened.
 */
import { basename, dirname, join } from "node:path"
import { InvalidFile, quote, some } from "../errors.ts"
import type { Store, StoredFile } from "../store/Store.ts"
import { existing, realPathOf } from "../store/existing.ts"
import { isInside } from "../store/inside.ts"
import { recogniseFiles } from "../recognise/files.ts"
import { described } from "../recognise/Recognised.ts"

export const INDEX_NAME = "model.safetensors.index.json"
export const SINGLE_NAME = "model.safetensors"
const INDEX_SUFFIX = ".safetensors.index.json"
const WEIGHTS_SUFFIX = ".safetensors"

export const isWeightsName = (name: string): boolean => name.endsWith(WEIGHTS_SUFFIX)

/** What to open first. Names are relative to `directory`. */
export interface WeightsEntry {
  readonly directory: string
  readonly kind: "index" | "single"
  readonly file: string
  /** The user named the file itself, so where it links to is the user's business. */
  readonly named: boolean
  /** Every `*.safetensors` beside it. */
  readonly weights: ReadonlyArray<string>
  /** Everything beside it that is not hidden. */
  readonly names: ReadonlyArray<string>
}

const refuse = (path: string, code: string, problem: string, hint?: string): never => {
  throw new InvalidFile({ path, code: `safetensors/${code}`, problem, ...(hint ? { hint } : {}) })
}

/**
 * `path` is a directory, a safetensors file or an `*.safetensors.index.json`. In a directory: `model.safetensors.index.json`,
 * else `model.safetensors`, else the only index, else the only `*.safetensors` file.
 *
 * @throws InvalidFile `safetensors/` + `no-weights` or `ambiguous`, `file/missing` …; IoError.
 */
export const locate = async (store: Store, path: string): Promise<WeightsEntry> => {
  const { kind } = await existing(store, path)
  if (kind !== "directory") {
    const indexed = path.endsWith(INDEX_SUFFIX)
    return { directory: dirname(path), kind: indexed ? "index" : "single", file: basename(path), named: true, weights: [], names: [] }
  }
  // Hidden files are leftovers of tools and of other systems (`._model.safetensors`), never what a publisher means.
  const names = (await store.list(path)).filter((name) => !name.startsWith("."))
  const weights = names.filter(isWeightsName)
  const indexes = names.filter((name) => name.endsWith(INDEX_SUFFIX))
  const found = { directory: path, named: false, weights, names }
  if (indexes.includes(INDEX_NAME)) return { ...found, kind: "index", file: INDEX_NAME }
  if (weights.includes(SINGLE_NAME)) return { ...found, kind: "single", file: SINGLE_NAME }
  const candidates = indexes.length > 0 ? indexes : weights
  if (candidates.length === 1) return { ...found, kind: indexes.length > 0 ? "index" : "single", file: candidates[0]! }
  if (candidates.length > 1) {
    return refuse(path, "ambiguous", `several files could be the checkpoint: ${some(candidates)}`,
      indexes.length > 0 ? "Name the index instead of the directory." : `A sharded checkpoint needs a ${INDEX_NAME}.`)
  }
  const other = recogniseFiles(names)
  return refuse(path, "no-weights", `holds no safetensors weights${other ? `: ${described(other)}` : ""}`, other?.next)
}

/**
 * The real path of `file` in `directory`. Links may stay inside the directory or, from a snapshot of a Hugging Face cache,
 * lead to a blob of the same repository (`../../blobs/<hash>`).
 *
 * @throws InvalidFile `safetensors/link-escapes`, `safetensors/not-a-directory`, `file/missing`, `file/dangling-link` …; IoError.
 */
export const realPathInside = async (store: Store, directory: string, file: string): Promise<string> => {
  const root = await realPathOf(store, directory)
  if ((await store.stat(root)).kind !== "directory") return refuse(directory, "not-a-directory", "is not a directory")
  const target = await realPathOf(store, join(root, file), join(directory, file))
  if (isInside(root, target)) return target
  return refuse(join(directory, file), "link-escapes", `is a link to ${quote(target)}, outside its directory`,
    "Only links inside the directory, or into the blobs of a Hugging Face cache, are followed. Put the file itself, or a hard link, in its place.")
}

/**
 * Open a regular file for reading, whatever the name promises. `shown` is the path for messages.
 *
 * @throws InvalidFile `safetensors/not-a-file`; IoError.
 */
export const openRegular = async (store: Store, realPath: string, shown: string): Promise<StoredFile> => {
  // Looked at before opening: opening a device can have effects of its own.
  if ((await existing(store, realPath, shown)).kind !== "file") return refuse(shown, "not-a-file", "is not a regular file")
  return store.open(realPath, "read")
}
