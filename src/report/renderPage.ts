/** One self-contained HTML page: nothing is loaded, and a content policy forbids it. */
import { createHash } from "node:crypto"
import { cleaned } from "../quote.ts"
import { conversionSection, conversionTitle, coverageSection, maxDiff, paritySection } from "./conversion.ts"
import { className, esc, scriptJson } from "./html.ts"
import { Names, packCoverage, packTensors } from "./pack.ts"
import type { Page } from "./PageData.ts"
import { rankMap } from "./rankMap.ts"
import { SCRIPT } from "./script.ts"
import { STYLE } from "./style.ts"
import { subjectSection } from "./subject.ts"

// Only the script of this very page may run, whatever names a file has.
const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${createHash("sha256").update(SCRIPT).digest("base64")}'; base-uri 'none'; form-action 'none'`

const titleOf = ({ command, conversion, subjects, verify }: Page): string => {
  const model = conversion?.architecture ?? subjects.find((s) => s.model.name !== undefined)?.model.name
  const what = conversion ? conversionTitle(conversion, command === "plan") : verify ? "Verification" : command === "report" ? "Checkpoint report" : command
  return model === undefined ? what : `${what}: ${model}`
}

/** Draw a page. Pure: equal pages give equal bytes. */
export const renderPage = (given: Page): string => {
  const page = cleaned(given)
  const names = new Names()
  const maps = page.subjects.map((i) => rankMap(i))
  const { conversion, coverage, coverageNote, verify } = page
  const data = {
    subjects: page.subjects.map((i, k) => packTensors(i, maps[k]!, names)),
    ...(coverage ? { coverage: packCoverage(coverage, names) } : {}),
    ...(verify ? {
      verify: verify.tensors.map((t) => [
        t.status, t.name, t.detail ?? "", t.elements ?? null, t.differing ?? null, maxDiff(t),
        t.firstDifference ? `element ${t.firstDifference.element}: ${t.firstDifference.assembled} and ${t.firstDifference.stored}` : ""
      ])
    } : {}),
    names: names.patterns
  }
  const title = titleOf(page)
  const links = [
    ...(verify ? [["parity", "Parity"]] : []),
    ...(conversion ? [["conversion", conversionTitle(conversion, page.command === "plan")]] : []),
    ...(coverage ? [["coverage", "Coverage"]] : []),
    ...page.subjects.map((i, k) => [`s${k}`, i.path])
  ]
  const made = [...(page.made === undefined ? [] : [page.made]), `megatron-mimo-bridge ${page.version}`, ...(page.seconds === undefined ? [] : [`${page.command} took ${page.seconds.toFixed(1)} s`])]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${esc(policy)}">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer"><title>${esc(title)}</title><style>${STYLE}</style></head>
<body><header><h1>${className(title)}</h1><p class="soft">${esc(made.join(" · "))}</p>
<nav aria-label="Sections"><ul>${links.map(([id, text]) => `<li><a href="#${id}">${esc(text!)}</a></li>`).join("")}</ul></nav></header>
<main>
${verify ? paritySection(verify) : ""}
${conversion ? conversionSection(conversion, page.command === "plan") : ""}
${coverage ? coverageSection(coverage) : coverageNote === undefined ? "" : `<section><h2>Coverage</h2><p>${esc(coverageNote)}</p></section>`}
${page.subjects.map((i, k) => subjectSection(k, i, maps[k]!)).join("\n")}
</main><footer>Every number is that of <code>inspect --json</code>; sizes are decimal (1 MB = 1 000 000 bytes). Hold the pointer on a number for its exact value.</footer>
<script type="application/json" id="data">${scriptJson(data)}</script><script>${SCRIPT}</script></body></html>
`
}
