/**
 * Safetensors files of a model directory that are not part of its model. The rule: the index, or `model.safetensors`, says which
 * files are the model, and
 *
 * - both at once, the index not listing the file, are two models: transformers loads the file, vLLM the index. Refused.
 * - a file with tensors of names that the model has too, or `consolidated*`, is another copy of the model: said, and left out of
 *   an export, where it would be stale.
 * - any other file (a draft model, multi-token prediction, an adapter) is side weights: said, and copied by an export as it is.
 * - folders are never looked into for weights: said, where they hold some.
 */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import { join } from "node:path"
import { InvalidFile, quote } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import type { Store } from "../store/Store.ts"
import { present } from "../store/present.ts"
import { INDEX_NAME, realPathInside, SINGLE_NAME } from "../safetensors/locate.ts"
import { type HfTensors, openSafetensors, type Shard } from "../safetensors/SafetensorsDirectory.ts"

/** A file that an export copies. */
export type SideWeights = Pick<Shard, "file" | "path" | "size" | "identity" | "stamp">

export interface BesideModel {
  readonly copied: ReadonlyArray<SideWeights>
  /** What an import, or an export, says of the files. */
  readonly notes: (verb: "import" | "export") => ReadonlyArray<string>
}

/** InvalidFile `safetensors/two-models` where loaders do not agree which of two models the directory holds. */
const refuseTwoModels = ({ directory, indexFile, otherFiles }: HfTensors): void => {
  if (indexFile !== INDEX_NAME || !otherFiles.includes(SINGLE_NAME)) return
  throw new InvalidFile({
    path: directory,
    code: "safetensors/two-models",
    problem: `holds two models: ${INDEX_NAME} names other files than the ${SINGLE_NAME} beside it, and loaders do not agree which of the two to take`,
    hint: `Move ${SINGLE_NAME} away if the shards are the model, or the index and its shards if ${SINGLE_NAME} is.`
  })
}

const OTHER_COPY = /^consolidated/
/** Folders have no suffix; more than these are not looked at. */
const MOST_FOLDERS = 100

/** Folders directly below `directory` that hold safetensors files. */
const weightFolders = async (store: Store, directory: string): Promise<ReadonlyArray<string>> => {
  const found: Array<string> = []
  for (const name of (await store.list(directory)).filter((n) => !n.includes(".")).slice(0, MOST_FOLDERS)) {
    const path = join(directory, name)
    if ((await present(store, path))?.kind !== "directory") continue
    if ((await store.list(path)).some((n) => n.endsWith(".safetensors"))) found.push(name)
  }
  return found
}

/** What lies beside the model of a directory. Headers only. */
export const besideModel = Effect.fnUntraced(function*(model: HfTensors) {
  const store = yield* storeInUse
  yield* reading(() => refuseTwoModels(model))
  const copied: Array<SideWeights> = []
  const side: Array<string> = []
  const others: Array<string> = []
  const unread: Array<string> = []
  for (const file of model.otherFiles) {
    const opened = yield* reading(() => realPathInside(store, model.directory, file)).pipe(
      Effect.flatMap(() => openSafetensors(join(model.directory, file))),
      Effect.catchTag("InvalidFile", (error) => Effect.succeed(error))
    )
    if (opened instanceof InvalidFile) {
      unread.push(`${quote(file)} lies beside the model and cannot be read (${opened.problem})`)
      continue
    }
    const count = opened.tensors.size
    const what = `${quote(file)} (${count} tensor${count === 1 ? "" : "s"}, ${opened.shards[0]!.size} bytes)`
    if (OTHER_COPY.test(file) || opened.tensors.keys().some((name) => model.tensors.has(name))) others.push(what)
    else {
      side.push(what)
      copied.push(opened.shards[0]!)
    }
  }
  const folders = yield* reading(() => weightFolders(store, model.directory))
  const notes = (verb: "import" | "export"): ReadonlyArray<string> => [
    ...side.map((what) => `${what} is not part of the model and ${verb === "import" ? "is not converted; an export with this directory copies it" : "is copied from --hf-model as it is"}`),
    ...others.map((what) => `${what} is another copy of the model, or of parts of it, and is left out`),
    ...unread.map((what) => `${what}; it is left out`),
    ...folders.map((name) => `the folder ${quote(name)} holds safetensors files, which are no part of the model; it is left out`)
  ]
  return { copied, notes } satisfies BesideModel
})
