/** Reports as the command line writes them, opened in a real browser. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { program } from "../program.ts"
import type { Inspection } from "../../src/inspect/Inspection.ts"
import { renderPage } from "../../src/report/renderPage.ts"
import { writeLarge } from "../inspect/large.ts"
import { installed, type Tab, withTab } from "./chromium.ts"
import { samplePage } from "./samples.ts"

const work = mkdtempSync(join(tmpdir(), "browser-"))
const at = (name: string) => join(work, name)
afterAll(() => rmSync(work, { recursive: true, force: true }))

const command = (...args: ReadonlyArray<string>): string => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8", cwd: work, maxBuffer: 1 << 28 })
  expect(status, stderr).toBeLessThan(2)
  return stdout
}

const inspected = (path: string): Inspection => JSON.parse(command("inspect", path, "--json")) as Inspection

/** Numbers of the document by key. */
const numbers = (tab: Tab): Promise<Record<string, number>> =>
  tab.run("Object.fromEntries([...document.querySelectorAll('data')].map((d) => [d.dataset.key, Number(d.value)]))")

const expectNumbers = (shown: Record<string, number>, subject: number, i: Inspection) => {
  for (const [field, value] of Object.entries(i.totals)) expect(shown[`subjects.${subject}.totals.${field}`], field).toBe(value)
  for (const part of ["components", "dtypes", "layers", "files"] as const) {
    expect(i[part].length).toBeGreaterThan(0)
    for (const [k, row] of i[part].entries()) {
      for (const field of ["bytes", "tensors"] as const) expect(shown[`subjects.${subject}.${part}.${k}.${field}`], `${part} ${k}`).toBe(row[field])
    }
  }
  for (const [k, row] of i.files.entries()) expect([shown[`subjects.${subject}.files.${k}.chunks`], shown[`subjects.${subject}.files.${k}.objects`]]).toEqual([row.chunks, row.objects])
}

const LONG = 240_000

describe.skipIf(!installed)("a report in Chromium, where there is one (tests/report/install.sh)", () => {
  beforeAll(() => {
    command("sample", "hf", "-q")
    command("import", "--hf-model", "hf", "--megatron-path", "mg", "-c", "language=tp=2", "-c", "images=tp=1", "--report", "import.html", "-q")
    command("report", "hf", "mg", "-o", "report.html", "-q")
  }, LONG)

  it("says the numbers of inspect --json, without a complaint and without a request", () => withTab(async (tab) => {
    await tab.view({ width: 1200, height: 900 })
    await tab.open(at("report.html"))
    const shown = await numbers(tab)
    const [hf, mg] = [inspected("hf"), inspected("mg")]
    expectNumbers(shown, 0, hf)
    expectNumbers(shown, 1, mg)
    expect(await tab.run("[...document.querySelectorAll('#tensors0 output, #tensors1 output')].map((o) => o.textContent)")).toEqual([`${hf.tensors.length} rows`, `${mg.tensors.length} rows`])
    expect(await tab.run("document.querySelector('#coverage-list output').textContent")).toBe(`${hf.tensors.length} rows`)
    expect(tab.complaints).toEqual([])
  }), LONG)

  it("is walked with the keyboard: the focus shows what the pointer would", () => withTab(async (tab) => {
    await tab.view({ width: 1200, height: 900 })
    await tab.open(at("report.html"))
    const focused = () => tab.run<{ tip: string; detail: string; label: string }>(
      "({ tip: document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent, detail: document.getElementById('map1').innerText, label: document.activeElement.getAttribute('aria-label') ?? '' })")
    await tab.run("document.querySelector('#map1').previousElementSibling.querySelector('table').focus()")
    await tab.press("ArrowRight")
    const first = await focused()
    expect(first.tip).toMatch(/^rank 0, language, outside layers: .* in \d+ chunks$/)
    expect(first.label).toBe(first.tip)
    expect(first.detail).toContain("language_model.embedding.word_embeddings.weight BF16 [0:500, 0:64] of [1000 × 64], __0_0.distcp")
    await tab.press("ArrowRight")
    expect((await focused()).tip).toMatch(/^rank 1, /)
    await tab.press("ArrowDown")
    expect((await focused()).tip).toMatch(/^rank 1, language, decoder\.layers 0/)
    await tab.press("End")
    expect((await focused()).detail).toMatch(/hf_source|images/)
    await tab.run("document.querySelector('#tensors1 .list').focus()")
    await tab.press("ArrowDown")
    const picked = await tab.run<string>("document.querySelector('#tensors1 .detail').innerText")
    expect(picked).toContain(inspected("mg").tensors[0]!.name)
    expect(picked).toMatch(/__0_0\.distcp, bytes [\d\u2009]+ to/)
    expect(await tab.run("document.querySelector('#tensors1 .list').getAttribute('aria-activedescendant')")).toBe("tensors1-box-0")
    expect(tab.complaints).toEqual([])
  }), LONG)

  it("everything that takes the focus can be reached with the tab key, and shows where it is", () => withTab(async (tab) => {
    await tab.view({ width: 1200, height: 900 })
    await tab.open(at("report.html"))
    const seen = new Set<string>()
    for (let k = 0; k < 120; k++) {
      await tab.press("Tab")
      seen.add(await tab.run<string>("document.activeElement.getAttribute('aria-label') ?? document.activeElement.tagName"))
      if (await tab.run<boolean>("document.activeElement === document.body")) break
      expect(await tab.run<string>("getComputedStyle(document.activeElement).outlineStyle")).not.toBe("none")
    }
    for (const label of ["bytes by component", "which rank holds what", "tensors", "files"]) expect([...seen]).toContain(label)
  }), LONG)

  it("fits a telephone, in light and dark, and paper", () => withTab(async (tab) => {
    for (const scheme of ["light", "dark"] as const) {
      for (const [width, height] of [[1200, 900], [390, 844]] as const) {
        await tab.view({ width, height, scheme })
        await tab.open(at("report.html"))
        expect(await tab.run("document.documentElement.scrollWidth")).toBeLessThanOrEqual(width)
        const [back, front] = await tab.run<[string, string]>("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
        const light = (colour: string) => Math.max(...colour.match(/\d+/g)!.map(Number)) > 128
        expect([light(back), light(front)]).toEqual(scheme === "light" ? [true, false] : [false, true])
        expect((await tab.screenshot()).byteLength).toBeGreaterThan(10_000)
      }
    }
    await tab.view({ width: 1200, height: 900, scheme: "dark", media: "print" })
    const visible = (selector: string) => tab.run<boolean>(`[...document.querySelectorAll(${JSON.stringify(selector)})].some((e) => e.getClientRects().length > 0)`)
    expect([await visible(".screen"), await visible(".list"), await visible(".paper")]).toEqual([false, false, true])
    expect(await tab.run("getComputedStyle(document.body).backgroundColor")).toMatch(/255, 255, 255|rgba\(0, 0, 0, 0\)/)
    expect((await tab.pdf()).subarray(0, 5).toString()).toBe("%PDF-")
    expect(tab.complaints).toEqual([])
  }), LONG)

  it("of a conversion and of a verification say what those found", () => withTab(async (tab) => {
    await tab.open(at("import.html"))
    expect(await numbers(tab)).toMatchObject({ "conversion.sourceTensors": 104, "conversion.targetTensors": 98 })
    command("import", "--hf-model", "hf", "--megatron-path", "half", "--torch-dtype", "float16", "--mtp", "drop", "--report", "half.html", "-q")
    command("verify", "hf", "half", "--report", "verify.html", "-q")
    await tab.open(at("half.html"))
    expect(await tab.run("document.querySelector('main').innerText")).toMatch(/Values were rounded:[\s\S]*Left behind/)
    await tab.open(at("verify.html"))
    const { "verify.equal": equal, "verify.total": total } = await numbers(tab)
    expect(equal).toBeLessThan(total!)
    expect(tab.complaints).toEqual([])
  }), LONG)

  it("of 64 ranks has a column for each", () => withTab(async (tab) => {
    writeLarge(at("wide"), { layers: 96, perLayer: 4, shape: [1024, 1024], ranks: 64 })
    command("report", "wide", "-o", "wide.html", "-q")
    await tab.view({ width: 1200, height: 900 })
    await tab.open(at("wide.html"))
    expect(await tab.run("document.querySelectorAll('.map thead th').length")).toBe(65)
    expect(await tab.run("document.documentElement.scrollWidth")).toBeLessThanOrEqual(1200)
    expectNumbers(await numbers(tab), 0, inspected("wide"))
    expect(tab.complaints).toEqual([])
  }), LONG)

  it("of 100 000 tensors is there at once, and finds one of them at once", () => withTab(async (tab) => {
    writeLarge(at("many"), { layers: 1000, perLayer: 100, shape: [64, 64], ranks: 8 })
    command("report", "many", "-o", "many.html", "-q")
    expect(existsSync(at("many.html"))).toBe(true)
    await tab.view({ width: 1200, height: 900 })
    // A second on an idle machine; others may be using this one.
    expect(await tab.open(at("many.html"))).toBeLessThan(20_000)
    expect(await tab.run("document.querySelectorAll('#tensors0 [role=option]').length")).toBeLessThan(60)
    const [ms, said] = await tab.run<[number, string]>(`(() => {
      const q = document.querySelector("#tensors0 input"), from = performance.now()
      q.value = "layers.777.mlp.part55."; q.dispatchEvent(new Event("input", { bubbles: true }))
      return [performance.now() - from, document.querySelector("#tensors0 output").textContent]
    })()`)
    expect(said).toBe("1 of 100\u2009000 rows")
    expect(ms).toBeLessThan(3000)
    expect(tab.complaints).toEqual([])
  }), LONG)

  it("hostile names are text", () => withTab(async (tab) => {
    const hostile = "</script><img src=x onerror=document.title=1>"
    writeFileSync(at("hostile.html"), renderPage(samplePage({ layers: 4, perLayer: 8, ranks: 4, names: [hostile] })))
    await tab.open(at("hostile.html"))
    expect(await tab.run("document.title")).toBe("Checkpoint report")
    expect(await tab.run("document.querySelectorAll('img').length")).toBe(0)
    expect(await tab.run("document.querySelector('#tensors0 output').textContent")).toBe("33 rows")
    expect(tab.complaints).toEqual([])
  }), LONG)
})
