/** The sections about two sides held against each other: a verification, and the differences of a `diff`. */
import { bytesDatum, code, countDatum, esc, htmlTable } from "./html.ts"
import { limited, listFigure } from "./lists.ts"
import { type ModuleChange, type ChangeMap, type Differences, KINDS } from "../model/differences.ts"
import { figure, maxDiff, type PageModel } from "../model/PageModel.ts"
import { countText } from "../numbers.ts"
import { legend } from "./figures.ts"

const number = true as const

const notesOf = (notes: ReadonlyArray<string>): string => notes.map((n) => `<p><strong class="warn">Note</strong> ${esc(n)}</p>`).join("")

export const paritySection = ({ page: { verify: v }, verify: list }: PageModel): string => {
  if (!v || !list) return ""
  const off = v.tensors.filter((t) => t.status !== "equal")
  const columns = [{ head: "tensor" }, { head: "status" }, { head: "elements", number }, { head: "differing", number }, { head: "by at most", number }, { head: "detail" }]
  const unequal = off.length === 0 ? "" : limited(off, (shown) => htmlTable("tensors that are not equal", columns, shown.map((t) => [
    code(t.name), `<span class="bad">${t.status}</span>`, t.elements === undefined ? "" : countText(t.elements), t.differing === undefined ? "" : countText(t.differing), maxDiff(t), esc(t.detail ?? "")
  ])), "tensors")
  return `<section aria-labelledby="parity"><h2 id="parity">Parity</h2>` +
    `<dl><dt>left</dt><dd>${code(v.left)}</dd><dt>right</dt><dd>${code(v.right)}</dd><dt>equal</dt><dd>${countDatum("verify.equal", v.equal)} of ${countDatum("verify.total", v.total)} tensors</dd><dt>compared</dt><dd>${bytesDatum("verify.bytes", v.bytes)}</dd></dl>` +
    notesOf(v.notes) + unequal + listFigure(list) + "</section>"
}

/** Steps of ten: what is below the smallest is as good as nothing. */
const SMALLEST = 1e-6

const weightOf = (relative: number): number => Math.round(15 + 85 * Math.min(1, Math.max(0, 1 - Math.log10(Math.min(1, relative)) / Math.log10(SMALLEST))))

const cellOf = (label: string, column: string, c: ModuleChange): string => {
  const text = `${label}, layer ${column}: changed by ${figure(c.relative)} of its size${c.tensors > 1 ? ` at most, ${countText(c.tensors)} tensors` : ""}`
  return `<td tabindex="-1" class="h1" style="--w:${weightOf(c.relative)}%" data-tip aria-label="${esc(text)}"></td>`
}

const changeMap = (m: ChangeMap): string => {
  const head = m.columns.map((c) => `<th scope="col"><span>${esc(c)}</span></th>`).join("")
  const rows = m.rows.map((r) => `<tr><th scope="row"><code>${esc(r.label)}</code></th>${r.cells.map((c, k) => (c ? cellOf(r.label, m.columns[k]!, c) : "<td></td>")).join("")}</tr>`).join("\n")
  return `<div class="scroll"><table class="map" style="--n:${m.columns.length}" role="grid" data-rove tabindex="0" aria-label="${esc(`what changed in ${m.stack}`)}"><thead><tr><th scope="col">${esc(m.stack)}</th>${head}</tr></thead><tbody>\n${rows}\n</tbody></table></div>` +
    (m.left > 0 ? `<p class="soft">${countText(m.left)} modules that changed less are not drawn.</p>` : "")
}

const changes = ({ components, maps }: Differences): string =>
  htmlTable("differences by component", [{ head: "component" }, ...KINDS.map((head) => ({ head, number }))], components.map((c) => [esc(c.component), ...KINDS.map((k) => countText(c.counts[k]))])) +
  (maps.length === 0 ? "" : `<h3>Which modules changed, layer by layer</h3><p class="soft">‖a − b‖ / ‖a‖ of every module: the stronger the colour, the further apart, in steps of ten from 1e-6 to 1.</p>${maps.map(changeMap).join("")}${legend([{ label: "changed", ink: "h1" }, { label: "equal", ink: "empty" }])}`)

export const differencesSection = ({ diff: list, differences, page: { diff: d } }: PageModel): string => {
  if (!d || !list || !differences) return ""
  return `<section aria-labelledby="diff"><h2 id="diff">Differences</h2>` +
    `<dl><dt>left</dt><dd>${code(d.left)}</dd><dt>right</dt><dd>${code(d.right)}</dd><dt>${d.compared ? "equal" : "alike"}</dt><dd>${countDatum("diff.equal", d.equal)} of ${countDatum("diff.total", d.total)} tensors${d.compared ? ", bit for bit" : ", headers only: no values were compared"}</dd></dl>` +
    notesOf(d.notes) + (d.tensors.length === 0 ? "" : changes(differences) + listFigure(list)) + "</section>"
}
