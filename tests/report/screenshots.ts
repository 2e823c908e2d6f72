/** The pictures of docs/images: which page, how wide, and what is picked on it. */
import { join } from "node:path"
import type { Tab, View } from "./chromium.ts"
import type { PAGES } from "./pages.ts"

interface Screenshot extends View {
  readonly page: (typeof PAGES)[number]
  /** What is done before: expressions of the page. */
  readonly first: string
}

const pick = (list: string, filter: string): string =>
  `(() => { const root = document.getElementById("${list}"), q = root.querySelector("input"); q.value = "${filter}"; q.dispatchEvent(new Event("input", { bubbles: true })); ` +
  `root.querySelector(".list").dispatchEvent(new KeyboardEvent("keydown", { key: "End", bubbles: true })); root.scrollIntoView() })()`

export const SCREENSHOTS: Readonly<Record<string, Screenshot>> = {
  "ranks.png": { page: "report.html", width: 1280, height: 620, first: `document.querySelector('[data-cell="1,1,1"]').click()` },
  "mapping.png": { page: "report.html", width: 1280, height: 620, first: pick("coverage-list", "layers.3.self_attn") },
  "layers.png": { page: "report.html", width: 1280, height: 470, first: `document.getElementById("s1").scrollIntoView()` },
  "layouts.png": { page: "two.html", width: 1280, height: 580, scheme: "dark", first: `document.querySelectorAll(".terms").forEach((d) => { d.open = false })` },
  "changes.png": { page: "diff.html", width: 1280, height: 560, first: `document.querySelector("#diff ~ h3").scrollIntoView()` },
  "telephone.png": { page: "report.html", width: 390, height: 760, first: `document.querySelector('[data-cell="1,1,0"]').click()` }
}

/** Take them all, of pages in `folder`. */
export const screenshots = async (tab: Tab, folder: string): Promise<ReadonlyMap<string, Buffer>> => {
  const out = new Map<string, Buffer>()
  for (const [name, { first, page, ...view }] of Object.entries(SCREENSHOTS)) {
    await tab.view({ scheme: "light", ...view })
    await tab.open(join(folder, page))
    await tab.run(first)
    await tab.run("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    out.set(name, await tab.screenshot())
  }
  return out
}
