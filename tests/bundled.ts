/** Programs of the tests as one file each: a start from the sources takes a second of the processor's time. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { basename, join } from "node:path"
import { bundlePrograms } from "../scripts/bundle.ts"

const made = new Map<string, Promise<string>>()

const make = async (source: string): Promise<string> => {
  // Below node_modules, where packages that are not carried are found.
  const cache = new URL("../node_modules/.cache", import.meta.url).pathname
  mkdirSync(cache, { recursive: true })
  const dir = mkdtempSync(join(cache, "program-"))
  process.once("exit", () => { rmSync(dir, { recursive: true, force: true }) })
  writeFileSync(join(dir, "package.json"), '{"type":"module"}')
  const name = basename(source, ".ts")
  await bundlePrograms({ [name]: source }, dir)
  return join(dir, `${name}.js`)
}

/** What to start for a program of the tests; made once in this process. */
export const bundled = (source: URL): Promise<string> => {
  const path = source.pathname
  const known = made.get(path) ?? make(path)
  made.set(path, known)
  return known
}
