import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import type { VerifyReport } from "../../src/verify/pairing.ts"
import { verificationCard } from "../../src/report/card.ts"
import type { ModelCoverage } from "../../src/report/PageData.ts"
import { renderPage } from "../../src/report/renderPage.ts"
import { cpuMs } from "../measure/cpu.ts"
import { samplePage } from "./samples.ts"

const HOSTILE = [`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onfocus='alert(1)`, "<!--<script>", "\u202Egpj.exe", "a\u0000b\u2028c.0.d", "__proto__"]

/** Values of the page by key. */
const numbers = (html: string) => new Map([...html.matchAll(/<data data-key="([^"]+)" value="([^"]+)"/g)].map((m) => [m[1]!, Number(m[2])]))

const dataOf = (html: string) => JSON.parse(/<script type="application\/json" id="data">(.*?)<\/script>/s.exec(html)![1]!)

const verify: VerifyReport = {
  left: "a", right: "b", equal: 1, total: 2, bytes: 10, notes: [],
  tensors: [{ name: "x", status: "equal" }, { name: HOSTILE[0]!, status: "different", elements: 4, differing: 1, maxAbsDiff: Infinity }]
}
const coverage: ModelCoverage = {
  hf: "hf", megatron: "meg", unclaimed: ["extra.key"], made: [], pictures: [],
  rows: [
    { name: "model.layers.0.q.weight", bytes: 8, fate: "converted", how: "qkv", keys: ["decoder.layers.0.qkv.weight"] },
    { name: HOSTILE[1]!, bytes: 4, fate: "unmapped", how: "no mapping row", keys: [] }
  ]
}

describe("report page", () => {
  it("shows the numbers of the inspection", () => {
    const page = samplePage({ layers: 3, perLayer: 4, ranks: 2 })
    const [i] = page.subjects
    const shown = numbers(renderPage(page))
    for (const [field, value] of Object.entries(i!.totals)) expect(shown.get(`subjects.0.totals.${field}`)).toBe(value)
    for (const part of ["components", "dtypes", "files"] as const) {
      for (const [k, row] of i![part].entries()) {
        expect(shown.get(`subjects.0.${part}.${k}.bytes`)).toBe(row.bytes)
        expect(shown.get(`subjects.0.${part}.${k}.tensors`)).toBe(row.tensors)
      }
    }
    // Equal layers are one line.
    expect(shown.get("subjects.0.layers.0.bytes")).toBe(i!.layers[0]!.bytes)
    expect([...shown.keys()].filter((key) => /layers\.\d+\.bytes/.test(key))).toHaveLength(1)
  })

  it("gives every tensor and chunk to the script", () => {
    const page = samplePage({ layers: 2, perLayer: 2, ranks: 2 })
    const { lists, names, subjects: [s] } = dataOf(renderPage(page))
    const read = (row: ReadonlyArray<number>) => names[row[3]!].reduce((text: string, piece: string, k: number) => text + (k === 0 ? "" : row[3 + k]) + piece, "")
    expect(s.t.map(read)).toEqual(page.subjects[0]!.tensors.map((t) => t.name))
    expect(s.b[0].length).toBe(2 * 6)
    expect(s.boxes).toEqual(["0:4, 0:8", "4:8, 0:8"])
    expect(lists.tensors0.groups).toEqual([0, 1].map((k) => [
      `language_model.decoder.layers.{0,1}.mlp.experts.linear_fc1.weight${k}`, ["BF16", "8 × 8", "256 B", "language", "2 files"], [k, 2, 2]
    ]))
  })

  it("hostile names are text, in markup and in data", () => {
    const html = renderPage(samplePage({ layers: 1, perLayer: 1, ranks: 1, names: HOSTILE }, { verify, coverage }))
    expect(html.match(/<script/g)).toHaveLength(2)
    expect(html.match(/<\/script/g)).toHaveLength(2)
    expect(html).not.toMatch(/<img|<!--/)
    // eslint-disable-next-line no-control-regex
    expect(html.replace(/<script>.*<\/script>/s, "")).not.toMatch(/[\u0000\u202e\u2028]/)
    expect(dataOf(html).verify[1][0]).toBe(HOSTILE[0])
  })

  it("loads nothing", () => {
    const html = renderPage(samplePage({ layers: 1, perLayer: 1, ranks: 1 }))
    expect(html).toContain("default-src &#39;none&#39;")
    // The name of SVG is no address that anything is loaded from.
    expect(html.replaceAll("http://www.w3.org/2000/svg", "")).not.toMatch(/https?:|@import|url\(|<link/)
  })

  it("says what is not equal and what is not accounted for", () => {
    const html = renderPage(samplePage({ layers: 1, perLayer: 1, ranks: 1 }, { verify, coverage }))
    expect(numbers(html).get("verify.equal")).toBe(1)
    expect(numbers(html).get("coverage.unmapped.tensors")).toBe(1)
    expect(html).toContain("2 tensors are not accounted for")
    expect(html).toContain("not a number")
  })

  it("holds 100 000 tensors in less than 15 MB, drawn in less than 15 s of the processor", () => {
    const page = samplePage({ layers: 100, perLayer: 1000, ranks: 16 })
    const rows = page.subjects[0]!.tensors.map((t) => ({ name: `model.${t.name}`, bytes: t.bytes, fate: "converted" as const, how: "direct", keys: [t.name] }))
    let html = ""
    expect(cpuMs(() => { html = renderPage({ ...page, coverage: { hf: "hf", megatron: "meg", rows, unclaimed: [], made: [], pictures: [] } }) })).toBeLessThan(15_000)
    expect(html.length).toBeLessThan(15e6)
  })
})

describe("verification card", () => {
  it("is YAML with the counts of the page", () => {
    const page = samplePage({ layers: 2, perLayer: 2, ranks: 2, names: HOSTILE }, { verify, coverage, seconds: 1.23456 })
    const card = parse(verificationCard(page, { node: "24.0.0", hashes: [{ path: "a", bytes: 1, sha256: "00" }] }))
    expect(card).toMatchObject({
      verification_card: 1,
      timings: { seconds: 1.235 },
      parity: { verdict: "different", equal: 1, total: 2, not_equal: [{ tensor: HOSTILE[0], status: "different" }] },
      coverage: { source_tensors: 2, converted: 1, unmapped: 1, unclaimed: 1, not_accounted_for: [HOSTILE[1]] },
      checkpoints: [{ tensors: page.subjects[0]!.totals.tensors, bytes: page.subjects[0]!.totals.bytes }]
    })
  })
})
