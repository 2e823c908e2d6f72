/** Inputs that once crashed, one file each: `regressions/TARGET-HASH`. */
import { createHash } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const FOLDER = new URL("regressions/", import.meta.url).pathname

export interface Regression {
  readonly file: string
  readonly target: string
  readonly input: Uint8Array
}

export const regressions = (): ReadonlyArray<Regression> =>
  readdirSync(FOLDER).sort().map((file) => ({ file, target: file.slice(0, file.lastIndexOf("-")), input: readFileSync(join(FOLDER, file)) }))

/** Where it is kept. */
export const keep = (target: string, input: Uint8Array): string => {
  mkdirSync(FOLDER, { recursive: true })
  const path = join(FOLDER, `${target}-${createHash("sha256").update(input).digest("hex").slice(0, 12)}`)
  writeFileSync(path, input)
  return path
}
