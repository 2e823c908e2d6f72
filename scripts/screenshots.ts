/** Take the pictures of docs/images anew, of pages about a sample model. Needs Chromium (tests/report/install.sh). */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { launch } from "../tests/report/chromium.ts"
import { writePages } from "../tests/report/pages.ts"
import { screenshots } from "../tests/report/screenshots.ts"

const bin = new URL("../src/cli/bin.ts", import.meta.url).pathname
const images = new URL("../docs/images/", import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), "screenshots-"))

/** `verify` and `diff` of models that differ end with 1. */
const command = async (...args: ReadonlyArray<string>): Promise<void> => {
  try {
    execFileSync(process.execPath, [bin, ...args], { cwd: work, stdio: ["ignore", "ignore", "inherit"] })
  } catch (error) {
    if ((error as { readonly status?: number }).status !== 1) throw error
  }
}

try {
  await writePages(work, command)
  const { close, tab } = await launch()
  try {
    mkdirSync(images, { recursive: true })
    for (const [name, png] of await screenshots(tab, work)) {
      writeFileSync(join(images, name), png)
      console.log(`docs/images/${name}: ${Math.round(png.byteLength / 1000)} kB`)
    }
  } finally {
    await close()
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
