/** One self-contained HTML page: nothing is loaded, and a content policy forbids it. */
import { createHash } from "node:crypto"
import { cleaned } from "../quote.ts"
import { pageModel, type PageModel } from "./model/PageModel.ts"
import type { Page } from "./PageData.ts"
import { differencesSection, paritySection } from "./render/comparison.ts"
import { conversionSection, coverageSection } from "./render/conversion.ts"
import { className, esc, scriptJson } from "./render/html.ts"
import { ranksSection } from "./render/ranks.ts"
import { subjectSection } from "./render/subject.ts"
import { SCRIPT } from "./script/index.ts"
import { STYLE } from "./style/index.ts"

const sha256 = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

// Only the script and the style sheet of this very page may run, whatever names a file has. Attributes carry widths and tones.
const policy = `default-src 'none'; style-src-elem ${sha256(STYLE)}; style-src-attr 'unsafe-inline'; script-src ${sha256(SCRIPT)}; base-uri 'none'; form-action 'none'`

const madeOf = ({ command, made, seconds, version }: Page): string =>
  [...(made === undefined ? [] : [made]), `megatron-mimo-bridge ${version}`, ...(seconds === undefined ? [] : [`${command} took ${seconds.toFixed(1)} s`])].join(" · ")

/** What has a section, in the order of the page. */
const sectionsOf = (model: PageModel): ReadonlyArray<readonly [id: string, text: string, html: string]> => {
  const { first, page, subjects } = model
  const ranks = ["ranks", first[0]?.map.of === "file" ? "Files" : "Ranks", ranksSection(model)] as const
  const results = [
    ["parity", "Parity", paritySection(model)],
    ["diff", "Differences", differencesSection(model)]
  ] as const
  const sections = [
    ...(page.verify || page.diff ? [...results, ranks] : [ranks, ...results]),
    ["conversion", page.conversion?.direction === "export" ? "Export" : "Import", conversionSection(model)],
    ["coverage", "Mapping", coverageSection(model)],
    ...subjects.map((s) => [`s${s.index}`, s.inspection.path, subjectSection(model, s)] as const)
  ] as const
  return sections.filter(([, , html]) => html !== "")
}

/** Draw a page. Pure: equal pages give equal bytes. */
export const renderPage = (given: Page): string => {
  const model = pageModel(cleaned(given))
  const { data, page, title, verdicts } = model
  const sections = sectionsOf(model)
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${esc(policy)}">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer"><title>${esc(title)}</title><style>${STYLE}</style></head>
<body><header><h1>${className(title)}</h1><p class="soft">${esc(madeOf(page))}</p>
${verdicts.map((v) => `<p class="verdict ${v.good ? "good" : "bad"}">${v.good ? "✓" : "✗"} ${esc(v.text)}</p>`).join("")}
<nav aria-label="Sections"><ul>${sections.map(([id, text]) => `<li><a href="#${id}">${esc(text)}</a></li>`).join("")}</ul></nav></header>
<main>
${sections.map(([, , html]) => html).join("\n")}
</main><footer><p>Numbers of a checkpoint are those of <code>inspect --json</code>; sizes are decimal (1 MB = 1 000 000 bytes). Hold the pointer on a number for its exact value.</p></footer>
<script type="application/json" id="data">${scriptJson(data)}</script><script>${SCRIPT}</script></body></html>
`
}
