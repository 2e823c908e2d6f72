/** Of the declarations that tsc writes, keep those that an entry of the package leads to: users see no others. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { dirname, join, resolve } from "node:path"

const LINK = /(?:from |import\()"(\.[^"]+)"/g

const linked = (file: string): ReadonlyArray<string> =>
  [...readFileSync(file, "utf8").matchAll(LINK)].map(([, path]) => resolve(dirname(file), path!).replace(/\.(js|ts)$/, ".d.ts")).filter((path) => existsSync(path))

/** Remove from `folder` what none of `entries` (paths in it) needs. */
export const keepReachable = (folder: string, entries: ReadonlyArray<string>): void => {
  const kept = new Set<string>()
  const open = entries.map((entry) => join(folder, entry))
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (kept.has(file)) continue
    kept.add(file)
    open.push(...linked(file))
  }
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    if (entry.isFile() && !kept.has(file)) rmSync(file)
  }
}
