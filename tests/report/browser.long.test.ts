/** Reports as the command line writes them, opened in a real browser. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import type { Inspection } from "../../src/inspect/Inspection.ts"
import { renderPage } from "../../src/report/renderPage.ts"
import { cliIn } from "../cli/run.ts"
import { violations } from "./axe.ts"
import { type Browser, installed, launch, type Tab } from "./chromium.ts"
import { PAGES, writePages } from "./pages.ts"
import { samplePage } from "./samples.ts"
import { screenshots } from "./screenshots.ts"

const docs = new URL("../../docs", import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), "browser-"))
const at = (name: string) => join(work, name)
const run = cliIn(work)

const command = async (...args: ReadonlyArray<string>): Promise<string> => {
  const { code, err, out } = await run(...args)
  expect(code, err).toBeLessThan(2)
  return out
}

const inspected = async (path: string): Promise<Inspection> => JSON.parse(await command("inspect", path, "--json")) as Inspection

let browser: Browser
let tab: Tab

/** Numbers of the document by key. */
const numbers = (): Promise<Record<string, number>> => tab.run("Object.fromEntries([...document.querySelectorAll('data')].map((d) => [d.dataset.key, Number(d.value)]))")
const textOf = (selector: string): Promise<string> => tab.run(`document.querySelector(${JSON.stringify(selector)}).innerText`)
const countOf = (selector: string): Promise<number> => tab.run(`document.querySelectorAll(${JSON.stringify(selector)}).length`)
const press = async (...keys: ReadonlyArray<string>): Promise<void> => { for (const key of keys) await tab.press(key) }
const focus = (selector: string): Promise<void> => tab.run(`document.querySelector(${JSON.stringify(selector)}).focus()`)
const type = (list: string, text: string): Promise<void> =>
  tab.run(`(() => { const q = document.querySelector("#${list} input"); q.value = ${JSON.stringify(text)}; q.dispatchEvent(new Event("input", { bubbles: true })) })()`)

const expectNumbers = (shown: Record<string, number>, subject: number, i: Inspection) => {
  for (const [field, value] of Object.entries(i.totals)) expect(shown[`subjects.${subject}.totals.${field}`], field).toBe(value)
  for (const part of ["components", "dtypes", "files"] as const) {
    expect(i[part].length).toBeGreaterThan(0)
    for (const [k, row] of i[part].entries()) {
      for (const field of ["bytes", "tensors"] as const) expect(shown[`subjects.${subject}.${part}.${k}.${field}`], `${part} ${k}`).toBe(row[field])
    }
  }
  for (const [k, row] of i.files.entries()) expect([shown[`subjects.${subject}.files.${k}.chunks`], shown[`subjects.${subject}.files.${k}.objects`]]).toEqual([row.chunks, row.objects])
}

const HOSTILE = "</script><img src=x onerror=document.title=1>"

describe.skipIf(!installed)("a report in Chromium, where there is one (tests/report/install.sh)", () => {
  beforeAll(async () => {
    const started = launch()
    await writePages(work, command)
    browser = await started
    tab = browser.tab
  })
  afterAll(async () => {
    await browser.close()
    rmSync(work, { recursive: true, force: true })
  })
  beforeEach(async () => {
    tab.complaints.length = 0
    await tab.view({ width: 1400, height: 900 })
  })

  it("says the numbers of inspect --json, without a complaint and without a request", async () => {
    await tab.open(at("report.html"))
    const shown = await numbers()
    const [hf, mg] = [await inspected("hf"), await inspected("megatron")]
    expectNumbers(shown, 0, hf)
    expectNumbers(shown, 1, mg)
    for (const [list, tensors] of [["tensors0", hf.tensors], ["tensors1", mg.tensors], ["coverage-list", hf.tensors]] as const) {
      expect(await textOf(`#${list} output`)).toMatch(new RegExp(`^${tensors.length} tensors in \\d+ lines$`))
    }
    expect(tab.complaints).toEqual([])
  })

  it("begins with the map, the detail beside it", async () => {
    await tab.open(at("report.html"))
    const [map, detail] = await tab.run<ReadonlyArray<{ x: number; right: number; bottom: number }>>("['.map', '#map1'].map((s) => document.querySelector(s).getBoundingClientRect().toJSON())")
    expect(map!.bottom).toBeLessThan(900)
    expect(detail!.x).toBeGreaterThanOrEqual(map!.right)
    expect(detail!.right).toBeGreaterThan(1300)
    expect(await tab.run("[...document.querySelectorAll('.map .axis th')].slice(0, 5).map((th) => th.textContent)")).toEqual(["tp", "pp", "dp", "ep", "experts"])
    expect(await textOf(".terms")).toMatch(/tensor parallel[\s\S]*pipeline parallel[\s\S]*data parallel[\s\S]*expert parallel[\s\S]*replica[\s\S]*chunk/)
  })

  it("is walked with the keyboard: the focus shows what the pointer would", async () => {
    await tab.open(at("report.html"))
    const focused = () => tab.run<{ tip: string; detail: string; label: string }>(
      "({ tip: document.getElementById('tip').hidden ? '' : document.getElementById('tip').textContent, detail: document.getElementById('map1').innerText, label: document.activeElement.getAttribute('aria-label') ?? '' })")
    await focus(".map")
    await press("ArrowRight")
    const first = await focused()
    expect(first.tip).toMatch(/^rank 0,2, language, outside layers: 64\.0 KB in 1 chunk$/)
    expect(first.label).toBe(first.tip)
    expect(first.detail).toContain("language_model.embedding.word_embeddings.weight BF16 [0:500, 0:64] of [1000 × 64], __0_0.distcp")
    await press("ArrowRight")
    expect((await focused()).tip).toMatch(/^rank 1,3, /)
    await press("ArrowDown")
    const layer = await focused()
    expect(layer.tip).toMatch(/^rank 1,3, language, decoder\.layers 0,1/)
    expect(layer.detail).toContain("language_model.decoder.layers.{0,1}.mlp.experts.experts.linear_fc1.weight")
    // Kept while the pointer is elsewhere; up, beyond the first row, is the rank itself.
    await press("Enter", "ArrowUp", "ArrowUp")
    expect((await focused()).detail).toMatch(/^ranks 1,3: 2 replicas, which hold the same\s+language · tp 1 · pp 0 · dp 0,1 · ep 1\s+212 KB of weights, 61.4 KB of them experts 2,3/)
    await press("End")
    expect((await focused()).detail).toContain("hf_source")
    expect(tab.complaints).toEqual([])
  })

  it("opens folded lines with the keyboard, and draws the boxes of the tensor that is picked", async () => {
    await tab.open(at("report.html"))
    await type("coverage-list", "layers.3.self_attn.k_proj")
    expect(await textOf("#coverage-list output")).toBe("1 of 124 tensors")
    await focus("#coverage-list .list")
    await press("ArrowDown")
    expect(await textOf("#coverage-list .detail")).toContain("mapping: qkv; dashed: 2 chunks in 2 files")
    expect([await countOf("#coverage-list .band"), await countOf("#coverage-list .cut")]).toEqual([24, 2])
    expect(await tab.run("document.querySelector('#coverage-list .band').getAttribute('aria-label')")).toBe(
      "rows 0–31 of model.language_model.layers.3.self_attn.q_proj.weight become rows 0–31 of language_model.decoder.layers.3.self_attention.linear_qkv.weight")
    // From the stored tensor, too.
    await type("tensors1", "experts.experts.linear_fc2")
    await focus("#tensors1 .list")
    await press("ArrowDown", "ArrowDown")
    expect(await textOf("#tensors1 .detail")).toMatch(/parameter 1 of 4/)
    const first = await textOf("#tensors1 .picture")
    await tab.run("document.querySelectorAll('#tensors1 .steps button')[1].click()")
    expect(await textOf("#tensors1 .picture")).not.toBe(first)
    await type("tensors1", "")
    await focus("#tensors1 .list")
    await press("ArrowDown", "ArrowDown")
    expect(await tab.run("[...document.querySelectorAll('#tensors1 [role=treeitem]')].slice(0, 3).map((e) => e.getAttribute('aria-expanded'))")).toEqual([null, "false", "false"])
    await press("ArrowRight", "ArrowDown")
    expect(await tab.run("[...document.querySelectorAll('#tensors1 [role=treeitem]')].slice(1, 3).map((e) => [e.getAttribute('aria-level'), e.getAttribute('aria-selected')])")).toEqual([["1", "false"], ["2", "true"]])
    expect(await tab.run("document.querySelector('#tensors1 .list').getAttribute('aria-activedescendant')")).toBe("tensors1-box-2")
    expect(await textOf("#tensors1 .detail")).toMatch(/__0_0\.distcp, bytes [\d\u2009]+ to/)
    expect(tab.complaints).toEqual([])
  })

  it("everything that takes the focus can be reached with the tab key, and shows where it is", async () => {
    await tab.open(at("report.html"))
    const seen = new Set<string>()
    for (let k = 0; k < 120; k++) {
      await press("Tab")
      const [label, outline, isBody] = await tab.run<[string, string, boolean]>("(() => { const e = document.activeElement; return [e.getAttribute('aria-label') ?? e.tagName, getComputedStyle(e).outlineStyle, e === document.body] })()")
      if (isBody) break
      seen.add(label)
      expect(outline, label).not.toBe("none")
    }
    for (const label of ["bytes by component", "Which rank holds what", "what the cell holds", "tensors", "source tensors and where they went"]) expect([...seen]).toContain(label)
  })

  it.each([["report.html", 1400, "light"], ["two.html", 400, "dark"], ["diff.html", 800, "light"]] as const)("%s is accessible at %i pixels, %s", async (name, width, scheme) => {
    await tab.view({ width, height: 900, scheme })
    await tab.open(at(name))
    await tab.run("document.querySelectorAll('details').forEach((d) => { d.open = d.querySelectorAll('tr, li').length < 30 })")
    expect(await violations(tab)).toEqual([])
  })

  it("fits every width, in light and dark, and paper", async () => {
    for (const name of PAGES.slice(0, 5)) {
      await tab.open(at(name))
      for (const [width, scheme] of [[1400, "light"], [800, "dark"], [400, "light"], [320, "dark"]] as const) {
        await tab.view({ width, height: 900, scheme })
        const [wide, back, front] = await tab.run<[number, string, string]>("[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
        expect(wide, `${name} at ${width}`).toBeLessThanOrEqual(width)
        const light = (colour: string) => Math.max(...colour.match(/\d+/g)!.map(Number)) > 128
        expect([light(back), light(front)]).toEqual(scheme === "light" ? [true, false] : [false, true])
      }
    }
    await tab.view({ width: 1200, height: 900, scheme: "dark", media: "print" })
    const visible = (selector: string) => tab.run<boolean>(`[...document.querySelectorAll(${JSON.stringify(selector)})].some((e) => e.getClientRects().length > 0)`)
    expect([await visible(".screen"), await visible(".list"), await visible(".paper")]).toEqual([false, false, true])
    expect(await tab.run("getComputedStyle(document.body).backgroundColor")).toMatch(/255, 255, 255|rgba\(0, 0, 0, 0\)/)
    expect((await tab.pdf()).subarray(0, 5).toString()).toBe("%PDF-")
    expect(tab.complaints).toEqual([])
  })

  it("of a conversion, a verification, a diff and a plan say what those found", async () => {
    await tab.open(at("import.html"))
    expect(await numbers()).toMatchObject({ "conversion.sourceTensors": 124, "conversion.targetTensors": 118 })
    await tab.open(at("half.html"))
    expect(await textOf("main")).toMatch(/Values were rounded:[\s\S]*Left behind/)
    await tab.open(at("verify.html"))
    const { "verify.equal": equal, "verify.total": total } = await numbers()
    expect(equal).toBeLessThan(total!)
    expect(await textOf("header .verdict")).toBe(`✗ ${equal} of ${total} tensors equal, bit for bit`)
    await tab.open(at("diff.html"))
    expect(await textOf("header .verdict")).toBe(`✗ ${(await numbers())["diff.equal"]} of ${(await numbers())["diff.total"]} tensors equal, bit for bit`)
    expect(await countOf("[aria-label^='what changed in'] td[data-tip]")).toBeGreaterThan(10)
    await tab.open(at("plan.html"))
    expect(await textOf("h1")).toMatch(/^Plan of an import/)
    expect(await tab.run("[...document.querySelector('.map').querySelectorAll('thead th[data-cell]')].map((th) => th.textContent)")).toEqual(["0,4", "1,5", "2,6", "3,7", "8"])
    expect(tab.complaints).toEqual([])
  })

  it("of two layouts shows them side by side", async () => {
    await tab.open(at("two.html"))
    const boxes = await tab.run<ReadonlyArray<{ x: number; y: number }>>("[...document.querySelectorAll('.map')].map((m) => m.getBoundingClientRect().toJSON())")
    expect(boxes).toHaveLength(2)
    expect(boxes[0]!.y).toBe(boxes[1]!.y)
    expect(boxes[1]!.x).toBeGreaterThan(boxes[0]!.x)
    expect(await textOf("[aria-label='layouts side by side']")).toMatch(/language: tp 2, pp 2, dp 2, ep 2, ranks 0-7[\s\S]*language: pp 4, dp 2, ranks 0-7/)
  })

  it("gives the pictures of the documents: few, small, and all of them are shown", async () => {
    const taken = await screenshots(tab, work)
    const documents = readdirSync(docs).filter((name) => name.endsWith(".md")).map((name) => readFileSync(join(docs, name), "utf8")).join()
    // Those of the planner's page are taken by scripts/screenshots.ts alone: the command is not run here.
    const images = readdirSync(join(docs, "images"))
    expect(images.filter((name) => !name.startsWith("layout-")).sort()).toEqual([...taken.keys()].sort())
    for (const name of images) expect(documents, name).toContain(`images/${name}`)
    for (const [name, png] of taken) {
      expect(png.byteLength, name).toBeGreaterThan(10_000)
      for (const bytes of [png.byteLength, readFileSync(join(docs, "images", name)).byteLength]) expect(bytes, name).toBeLessThan(150_000)
      expect(documents).toMatch(new RegExp(`\\(images/${name}\\)|"images/${name}"`))
    }
    expect(tab.complaints).toEqual([])
  })

  it("of 64 ranks has a column for each", async () => {
    writeFileSync(at("wide.html"), renderPage(samplePage({ layers: 96, perLayer: 4, ranks: 64 })))
    await tab.open(at("wide.html"))
    expect(await countOf(".map thead th")).toBe(65)
    expect(await tab.run("document.documentElement.scrollWidth")).toBeLessThanOrEqual(1400)
    expect(tab.complaints).toEqual([])
  })

  it("of 100 000 tensors is there at once, and finds one of them at once", async () => {
    writeFileSync(at("many.html"), renderPage(samplePage({ layers: 1000, perLayer: 100, ranks: 8 })))
    // Half a second on an idle machine; others may be using this one.
    expect(await tab.open(at("many.html"))).toBeLessThan(20_000)
    expect(await countOf("*")).toBeLessThan(10_000)
    expect(await textOf("#tensors0 output")).toBe("100\u2009000 tensors in 100 lines")
    await type("tensors0", "layers.777.mlp.experts.linear_fc1.weight55")
    expect(await textOf("#tensors0 output")).toBe("1 of 100\u2009000 tensors")
    expect(tab.complaints).toEqual([])
  })

  it("hostile names are text", async () => {
    writeFileSync(at("hostile.html"), renderPage(samplePage({ layers: 4, perLayer: 8, ranks: 4, names: [HOSTILE] })))
    await tab.open(at("hostile.html"))
    expect(await tab.run("document.title")).toBe("Checkpoint report")
    expect(await countOf("img")).toBe(0)
    expect(await textOf("#tensors0 output")).toMatch(/^33 tensors in \d+ lines$/)
    await type("tensors0", "onerror")
    expect(await textOf("#tensors0 [role=treeitem]")).toContain(HOSTILE)
    expect(tab.complaints).toEqual([])
  })
})
