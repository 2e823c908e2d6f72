import { describe, expect, it } from "vitest"
import type { Inspection } from "../../src/inspect/Inspection.ts"
import { layoutWarnings } from "../../src/report/model/layoutWarnings.ts"
import { renderPage } from "../../src/report/renderPage.ts"
import { inspectedSpace, samplePage, sampleSpace } from "./samples.ts"

const one = { tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 }

/** Files of this many ranks, under a configuration. */
const laidOut = (ranks: number, layout: Inspection["model"]["layout"], vocabulary?: number): Inspection => {
  const i = inspectedSpace(sampleSpace({ layers: 4, perLayer: 2, ranks }))
  return { ...i, model: { ...i.model, layout, ...(vocabulary === undefined ? {} : { vocabulary }) } }
}

describe("layout warnings", () => {
  it("none where the ranks that wrote are those of the configuration", () => {
    expect(layoutWarnings(laidOut(3, [{ ...one, component: "language", tp: 2 }, { ...one, component: "images", rankOffset: 2 }], 1000))).toEqual([])
  })

  it.each([
    ["components on the same ranks", laidOut(3, [{ ...one, component: "language", tp: 2 }, { ...one, component: "images", rankOffset: 1 }]), "language and images share ranks"],
    ["ranks of nobody", laidOut(4, [{ ...one, component: "language", tp: 2 }, { ...one, component: "images", rankOffset: 3 }]), "ranks 2 to 2 belong to no component"],
    ["a vocabulary that does not divide", laidOut(3, [{ ...one, component: "model", tp: 3 }], 1000), "does not divide by tp=3"],
    ["files of other ranks", laidOut(4, [{ ...one, component: "model", tp: 2 }]), "files of the ranks 2,3 are there"],
    ["ranks without a file", laidOut(2, [{ ...one, component: "model", tp: 4 }]), "no file is of the ranks 2,3"]
  ])("%s", (_, i, text) => {
    expect(layoutWarnings(i).join("\n")).toContain(text)
    expect(renderPage(samplePage({ layers: 1, perLayer: 1, ranks: 1 }, { subjects: [i] }))).toContain("Layout</strong>")
  })

  it("replicas write nothing, and that is no warning", () => {
    expect(layoutWarnings(laidOut(2, [{ ...one, component: "model", tp: 2, dp: 4 }]))).toEqual([])
  })
})
