/** Take the pictures of docs/images anew, of pages about a sample model. Needs Chromium (tests/report/install.sh). */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { launch } from "../tests/report/chromium.ts"
import { PUBLISHED } from "../tests/cost/published.ts"
import { writePages } from "../tests/report/pages.ts"
import { screenshots } from "../tests/report/screenshots.ts"

const bin = new URL("../src/cli/bin.ts", import.meta.url).pathname
const images = new URL("../docs/images/", import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), "screenshots-"))

/** Pages of `layout` for docs/sft.md: a published config, without weights. */
const LAYOUTS: ReadonlyArray<readonly [name: string, flags: string, section: string, height: number]> = [
  ["layout-standard.png", "--nodes 2", "standard", 780],
  ["layout-packed.png", "--nodes 3 -c language=tp=4,pp=2,dp=2 -c images=tp=1 --micro-batch 2", "layout", 980]
]

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
    mkdirSync(join(work, "published"))
    writeFileSync(join(work, "published", "config.json"), JSON.stringify(PUBLISHED["Qwen3.5-27B"]))
    for (const [name, flags, section, height] of LAYOUTS) {
      await command("layout", "--hf-model", "published", "--images", "1*768x768", ...flags.split(" "), "--report", "layout.html")
      await tab.view({ width: 1180, height })
      await tab.open(join(work, "layout.html"))
      await tab.run(`document.getElementById("${section}").scrollIntoView()`)
      writeFileSync(join(images, name), await tab.screenshot())
    }
  } finally {
    await close()
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
