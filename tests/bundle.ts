/** Before the suite: the command line is bundled as it is published, so that each of the hundreds of processes starts fast. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { bundleCommand } from "../scripts/bundle.ts"

export default async (): Promise<() => void> => {
  const dir = mkdtempSync(join(tmpdir(), "bundle-"))
  writeFileSync(join(dir, "package.json"), '{"type":"module"}')
  await bundleCommand(dir)
  process.env["COMMAND_UNDER_TEST"] = join(dir, "bin.js")
  return () => rmSync(dir, { recursive: true, force: true })
}
