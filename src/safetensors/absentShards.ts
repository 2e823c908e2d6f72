/** Which shards of an index are not there, from one listing of each folder that is, however many the index names. */
import { dirname, join } from "node:path"
import type { Store } from "../store/Store.ts"
import { isNotThere } from "../store/existing.ts"

/** `files`: relative names as in an index. */
export const absentShards = async (store: Store, directory: string, files: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const folders = new Map<string, ReadonlySet<string>>()
  const namesIn = async (folder: string): Promise<ReadonlySet<string>> => {
    const known = folders.get(folder)
    if (known) return known
    const parent = dirname(folder)
    // A folder that its parent does not list is not looked for.
    const exists = folder === "." || (await namesIn(parent)).has(folder.slice(parent === "." ? 0 : parent.length + 1))
    const names = exists ? await store.list(join(directory, folder)).catch(nothing) : []
    const found = new Set(names)
    folders.set(folder, found)
    return found
  }
  const absent: Array<string> = []
  for (const file of files) {
    const folder = dirname(file)
    if (!(await namesIn(folder)).has(file.slice(folder === "." ? 0 : folder.length + 1))) absent.push(file)
  }
  return absent
}

/** Not a folder, or gone since its parent was listed. */
const nothing = (error: unknown): ReadonlyArray<string> => {
  if (isNotThere(error)) return []
  throw error
}
