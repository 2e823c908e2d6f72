import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

/** Files of a checkpoint by name; checksums say of what it was made, too. */
export const filesIn = (directory: string): ReadonlyMap<string, Buffer> =>
  new Map(readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== ".checksums.json")
    .map((entry) => [join(entry.parentPath, entry.name).slice(directory.length), readFileSync(join(entry.parentPath, entry.name))]))
