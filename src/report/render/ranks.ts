/** The first section: which rank holds what, what that takes, and two layouts side by side. */
import type { LayoutFigures } from "../model/layoutComparison.ts"
import type { PageModel, SubjectModel } from "../model/PageModel.ts"
import type { Cell } from "../model/places.ts"
import type { MapRow, RankMap } from "../model/rankMap.ts"
import { type Term, TERMS } from "../model/terms.ts"
import { countText, sizeText } from "../numbers.ts"
import { componentInk, type Ink, legend } from "./figures.ts"
import { code, esc, htmlTable } from "./html.ts"

/** More columns than this have no room for numbers. */
const ROOMY = 16

const WHY = {
  "no layout": "No run configuration says which ranks there are",
  "too many ranks": "The run configuration has more ranks than can be drawn",
  "saved under another layout": "The files are of other ranks than those of the run configuration"
} as const

export const QUESTIONS = { rank: "Which rank holds what", writer: "Which rank wrote what", file: "Which file holds what" } as const

const headOf = (map: RankMap): string => (map.of === "file" ? "file" : "rank")

const rowLabel = ({ equal, label, layers }: MapRow): string =>
  `${esc(label)}${layers > 1 ? ` <span class="soft">${equal ? `${countText(layers)} equal` : `${countText(layers)} layers`}</span>` : ""}`

const cellText = (map: RankMap, row: MapRow, column: number, { bytes, chunks }: Cell): string =>
  `${headOf(map)} ${map.columns[column]!.label}, ${row.component}, ${row.label}: ${sizeText(bytes)} in ${countText(chunks)} chunk${chunks === 1 ? "" : "s"}${row.beside && map.of === "rank" ? ", in files only" : ""}`

/** The map as a grid; the script fills the detail box of the cell that has the focus. */
const grid = ({ index, map }: SubjectModel, inkOf: (component: string) => Ink): string => {
  const most = Math.max(1, ...map.cells.flatMap((row) => row.map((c) => c?.bytes ?? 0)))
  const fullest = Math.max(1, ...map.columns.map((c) => c.bytes))
  const roomy = map.columns.length <= ROOMY
  const line = (head: string, cells: ReadonlyArray<string>, kind = "") => `<tr${kind}><th scope="row">${head}</th>${cells.join("")}</tr>`
  const labels = map.columns.map((c, k) =>
    `<th scope="col" tabindex="-1" data-tip data-cell="${index},-1,${k}" aria-label="${esc(`${headOf(map)} ${c.label}: ${sizeText(c.bytes)}`)}"><span>${esc(c.label)}</span></th>`).join("")
  const axes = map.axes.map((axis) => line(`<abbr title="${esc(TERMS[axis])}">${axis}</abbr>`, map.columns.map((c) => `<td>${esc(c.at[axis] ?? "")}</td>`), ' class="axis"'))
  const what = map.of === "rank" ? "weights" : "bytes"
  const weights = line(what, map.columns.map((c) => `<td>${roomy ? esc(sizeText(c.bytes)) : ""}<i style="--w:${((c.bytes / fullest) * 100).toFixed(1)}%"></i></td>`), ' class="weights"')
  const experts = map.columns.some((c) => c.experts !== "") && roomy ? line("experts", map.columns.map((c) => `<td>${esc(c.experts || "–")}</td>`), ' class="axis"') : ""
  let before = ""
  const body = map.rows.map((row, r) => {
    const first = row.component !== before
    before = row.component
    const cells = map.columns.map((_, c) => {
      const cell = map.cells[r]![c]
      if (!cell) return "<td></td>"
      const weight = 25 + Math.round(75 * Math.sqrt(cell.bytes / most))
      return `<td tabindex="-1" class="${inkOf(row.component)}${row.beside ? " beside" : ""}" style="--w:${weight}%" data-cell="${index},${r},${c}" data-tip aria-label="${esc(cellText(map, row, c, cell))}"></td>`
    })
    return line(`<b>${first ? esc(row.component) : `<span class="hidden">${esc(row.component)}</span>`}</b> ${rowLabel(row)}`, cells, first ? ' class="first"' : "")
  }).join("\n")
  return `<div class="scroll"><table class="map${roomy ? " roomy" : ""}" style="--n:${map.columns.length}" role="grid" data-rove tabindex="0" aria-label="${QUESTIONS[map.of]}">` +
    `<thead><tr><th scope="col">${map.of === "file" ? "layers \\ file" : "layers \\ rank"}</th>${labels}</tr></thead><tbody>${axes.join("")}${weights}${experts}\n${body}\n</tbody></table></div>`
}

/** The map and, beside it, what has the pointer or the focus. */
export const mapFigure = (subject: SubjectModel, inkOf: (component: string) => Ink): string => {
  const { index, map } = subject
  if (map.columns.length === 0) return "<p>There is no tensor in it.</p>"
  const facts = (subject.facts[0] ?? []).map((f, k) => `<p class="${k === 0 ? "what" : "soft"}">${esc(f)}</p>`).join("")
  return `<div class="beside-detail"><div>${grid(subject, inkOf)}</div>` +
    `<div class="detail" id="map${index}" role="status" tabindex="0" aria-label="what the cell holds"><p>Point at a cell, or focus the map and walk with the arrow keys: what it holds is listed here. A click or Enter keeps it.</p>${facts}</div></div>`
}

const RANKS = "Weights that a rank has in memory once this is loaded; gradients, optimizer and activations come on top. The stronger the colour of a cell, the more bytes. Ranks that hold the same are one column, layers that hold the same are one row."

const notes = ({ inspection, map, warnings }: SubjectModel): string => {
  const { training } = inspection
  const said = [
    ...(map.of === "rank" ? [] : [`The stronger the colour of a cell, the more bytes of the layer are in the ${map.of === "writer" ? "files of that rank" : "file"}.`]),
    ...(map.of !== "rank" && inspection.kind === "megatron" ? [`${WHY[map.noRanks ?? "no layout"]}: the map shows which rank wrote what.`] : []),
    ...(map.dpInferred ? ["The run configuration of a standard checkpoint does not record the data-parallel size: it is taken as the smallest that the experts and the files allow."] : []),
    ...(map.columns.some((c) => c.contents > 1 && c.alike) ? ["Ranks whose contents differ and have the same sizes, layer by layer, are one column here; what is listed is the first one's."] : []),
    ...(map.tied ? ["The embedding counts on the last pipeline stage, too, where it is the head."] : []),
    ...(map.of === "rank" && training.tensors > 0 ? [`${countText(training.tensors)} tensors of training state (${sizeText(training.bytes)}) are not in the map.`] : [])
  ]
  return (said.length === 0 ? "" : `<p class="soft">${said.map(esc).join(" ")}</p>`) + warnings.map((text) => `<p><strong class="warn">Layout</strong> ${esc(text)}</p>`).join("")
}

/** Column by column: position, layers, experts, memory. */
const rankTable = ({ map }: SubjectModel): string => {
  if (map.of !== "rank") return ""
  const fullest = Math.max(1, ...map.columns.map((c) => c.bytes))
  const experts = map.columns.some((c) => c.experts !== "")
  const columns = [
    { head: "ranks" }, { head: "component" }, ...map.axes.map((head) => ({ head, number: true as const })), { head: "layers" },
    ...(experts ? [{ head: "experts" }, { head: "experts, size", number: true as const }] : []), { head: "weights", number: true as const }, { head: "share of the fullest" }, { head: "replicas", number: true as const }
  ]
  return `<details class="wide"><summary>Rank by rank: memory, experts, layers</summary>${htmlTable("ranks", columns, map.columns.map((c) => [
    esc(c.label), esc(c.components.join(", ")), ...map.axes.map((axis) => esc(c.at[axis] ?? "")), c.layers.map(esc).join("<br>") || "–",
    ...(experts ? [esc(c.experts || "–"), c.expertBytes > 0 ? esc(sizeText(c.expertBytes)) : "–"] : []), esc(sizeText(c.bytes)),
    `<i class="gauge" style="--w:${((c.bytes / fullest) * 100).toFixed(1)}%"></i> ${((c.bytes / fullest) * 100).toFixed(0)} %`, countText(c.ranks.length)
  ]))}</details>`
}

const comparison = (layouts: ReadonlyArray<LayoutFigures>): string => {
  if (layouts.length < 2) return ""
  const row = (head: string, of: (l: LayoutFigures) => string) => [esc(head), ...layouts.map(of)]
  return `<h3>Layouts side by side</h3>${htmlTable("layouts side by side", [{ head: "what" }, ...layouts.map((l) => ({ head: l.path }))], [
    row("layout", (l) => l.components.map(esc).join("<br>")),
    row("ranks", (l) => countText(l.ranks)),
    row("weights of the fullest rank", (l) => `${esc(sizeText(l.most))} <span class="soft">rank ${esc(l.fullest)}</span>`),
    row("weights of a rank, on average", (l) => esc(sizeText(l.mean))),
    row("weights of the emptiest rank", (l) => esc(sizeText(l.least))),
    row("experts of a layer in a rank", (l) => countText(l.expertsPerRank)),
    row("ranks that hold the same as another", (l) => countText(l.replicas)),
    row("files", (l) => countText(l.files)),
    row("chunks", (l) => countText(l.chunks))
  ])}`
}

export const terms = (all: ReadonlyArray<Term>): string =>
  `<details class="terms" open><summary>What the words mean</summary><dl>${all.map((term) => `<div><dt>${esc(term)}</dt><dd>${esc(TERMS[term])}</dd></div>`).join("")}</dl></details>`

export const ranksSection = ({ components, first, layouts, terms: words }: PageModel): string => {
  if (first.length === 0) return ""
  const inkOf = (component: string) => componentInk(components, component)
  const used = [...new Set(first.flatMap((s) => s.map.rows.map((r) => r.component)))]
  const several = first.length > 1
  const beside = first.some((s) => s.map.of === "rank" && s.map.rows.some((r) => r.beside))
  const of = first[0]!.map.of
  return `<section aria-labelledby="ranks"><h2 id="ranks">${QUESTIONS[of]}</h2>${legend([...used.map((c) => ({ label: c, ink: inkOf(c) })), ...(beside ? [{ label: "in files only, in nobody's memory", ink: "h7 beside" }] : [])])}` +
    `<div class="maps${several ? " several" : ""}">${first.map((s) => `<div>${several ? `<h3>${code(s.inspection.path)}</h3>` : ""}${mapFigure(s, inkOf)}${notes(s)}${rankTable(s)}</div>`).join("")}</div>` +
    (first.some((s) => s.map.of === "rank") ? `<p class="soft">${esc(RANKS)}</p>` : "") +
    `${comparison(layouts)}${terms(words)}</section>`
}
