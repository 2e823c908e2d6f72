/** The files of a checkpoint folder besides its data and its index: tokenizer, train state, whatever else a trainer put there. */
import { join, relative, sep } from "node:path"
import { InvalidFile } from "../errors.ts"
import { type Store, storedState, type StoredState } from "../store/Store.ts"

export interface SideFile extends StoredState {
  /** Relative to the folder. */
  readonly name: string
  readonly path: string
}

const DEEPEST = 8
const MOST_FILES = 100_000

/**
 * Every regular file below `directory`, and the folders that hold them. Links must stay inside it. Errors: InvalidFile
 * `relabel/too-many-files`, `relabel/link-escapes`; IoError.
 */
export const filesBelow = async (
  store: Store,
  directory: string
): Promise<{ readonly files: ReadonlyArray<SideFile>; readonly folders: ReadonlyArray<string> }> => {
  const root = await store.realpath(directory)
  const files: Array<SideFile> = []
  const folders: Array<string> = []
  const visit = async (folder: string, depth: number): Promise<void> => {
    for (const name of await store.list(folder)) {
      if (files.length + folders.length >= MOST_FILES || depth > DEEPEST) {
        throw new InvalidFile({ path: directory, code: "relabel/too-many-files", problem: "holds too many files or folders in folders" })
      }
      const path = join(folder, name)
      const target = await store.realpath(path)
      if (target !== root && !target.startsWith(root + sep)) {
        throw new InvalidFile({ path, code: "relabel/link-escapes", problem: "is a link that leaves the checkpoint's directory" })
      }
      const info = await store.stat(path)
      if (info.kind === "file") files.push({ name: relative(root, path), path: target, ...storedState(info) })
      else if (info.kind === "directory" && (await store.lstat(path)).kind === "directory") {
        folders.push(relative(root, target))
        await visit(path, depth + 1)
      }
    }
  }
  await visit(root, 0)
  return { files, folders }
}
