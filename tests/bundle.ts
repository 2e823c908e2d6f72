/** Before the suite: the command line is bundled as it is published, so that each of the hundreds of processes starts fast. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { bundleCommand } from "../scripts/bundle.ts"

export default async (): Promise<() => void> => {
  // Below node_modules, where it finds the packages that it does not carry.
  const cache = new URL("../node_modules/.cache", import.meta.url).pathname
  mkdirSync(cache, { recursive: true })
  const dir = mkdtempSync(join(cache, "bundle-"))
  writeFileSync(join(dir, "package.json"), '{"type":"module"}')
  await bundleCommand(dir)
  process.env["COMMAND_UNDER_TEST"] = join(dir, "bin.js")
  return () => rmSync(dir, { recursive: true, force: true })
}
