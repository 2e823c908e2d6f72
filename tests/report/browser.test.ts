import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { renderPage } from "../../src/report/renderPage.ts"
import { samplePage } from "./samples.ts"

const installed = spawnSync("chromium", ["--version"]).status === 0
const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

/** The document after its script ran, and what the console said. */
const open = (html: string) => {
  const directory = mkdtempSync(join(tmpdir(), "report-"))
  try {
    const file = join(directory, "page.html")
    writeFileSync(file, html)
    const run = spawnSync("chromium", [...FLAGS, `--user-data-dir=${join(directory, "profile")}`, "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", `file://${file}`], { encoding: "utf8", timeout: 60_000, maxBuffer: 1 << 28 })
    return { dom: run.stdout, console: run.stderr.split("\n").filter((line) => line.includes("CONSOLE")) }
  } finally {
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

describe.skipIf(!installed)("report in Chromium (skipped: no chromium; tests/report/install.sh installs it)", () => {
  it("draws the lists without a complaint, hostile names included", () => {
    const hostile = "</script><img src=x onerror=document.title=1>"
    const { console, dom } = open(renderPage(samplePage({ layers: 4, perLayer: 8, ranks: 4, names: [hostile] })))
    expect(console).toEqual([])
    expect(dom).toContain("33 rows")
    expect(dom).toContain('role="option"')
    expect(dom).not.toContain("<img")
    expect(dom).toContain("<title>Checkpoint report</title>")
  }, 90_000)

  it("draws no more lines of 100 000 tensors than fit", () => {
    const { console, dom } = open(renderPage(samplePage({ layers: 100, perLayer: 1000, ranks: 16 })))
    expect(console).toEqual([])
    expect(dom.match(/role="option"/g)!.length).toBeLessThan(60)
  }, 120_000)
})
