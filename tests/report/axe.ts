/** What axe-core finds on a page: roles, names, contrast, order. */
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import type { Tab } from "./chromium.ts"

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")

/** `rule: what is wrong (first element, how many)`, none if nothing is. */
export const violations = async (tab: Tab): Promise<ReadonlyArray<string>> => {
  await tab.run(`(() => {${source}\n})()`)
  return tab.run(`axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], resultTypes: ["violations"] })
    .then((r) => r.violations.map((v) => v.id + ": " + v.help + " (" + v.nodes[0].target.join(" ") + (v.nodes[0].any[0] ? ", " + v.nodes[0].any[0].message : "") + ", " + v.nodes.length + ")"))`)
}
