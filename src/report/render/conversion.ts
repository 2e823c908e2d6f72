/** The sections about a conversion: what was done or is planned, and where every source tensor went. */
import { runsText } from "../../cluster/rankRuns.ts"
import type { ConversionReport, ProcessPlan } from "../../plan/Report.ts"
import { bytesDatum, code, countDatum, esc, htmlTable } from "./html.ts"
import { limited, listFigure } from "./lists.ts"
import { FATES, type PageModel } from "../model/PageModel.ts"
import type { ModelCoverage, Fate } from "../PageData.ts"
import { countText, sizeText } from "../numbers.ts"

type Changes = ConversionReport["dtypeChanges"]

const number = true as const

/** Sums first; the tensors whose values changed before those that were only written otherwise. */
const dtypeChanges = (changes: Changes): string => {
  const rounded = (own: Changes) => own.reduce((n, c) => n + (c.changedElements ?? 0), 0)
  const sums = [...Map.groupBy(changes, (c) => `${c.from}\u0000${c.to}`).values()].map((own) =>
    [own[0]!.from, own[0]!.to, countDatum(`conversion.dtypeChanges.${own[0]!.from}.${own[0]!.to}.tensors`, own.length), countText(own.filter((c) => (c.changedElements ?? 0) > 0).length), countText(rounded(own))])
  const columns = [{ head: "tensor" }, { head: "from" }, { head: "to" }, { head: "values rounded", number }]
  const each = (own: Changes, caption: string) => limited(own, (shown) => htmlTable(caption, columns,
    shown.map((c) => [code(c.tensor), c.from, c.to, c.changedElements === undefined ? "" : countText(c.changedElements)])), "tensors")
  const lossy = changes.filter((c) => (c.changedElements ?? 0) > 0)
  const exact = changes.filter((c) => (c.changedElements ?? 0) === 0)
  return `<h3>Dtype changes</h3>${htmlTable("dtype changes", [{ head: "from" }, { head: "to" }, { head: "tensors", number }, { head: "with rounded values", number }, { head: "values rounded", number }], sums)}` +
    (lossy.length === 0 ? "" : `<p class="warn">Values were rounded:</p>${each(lossy, "tensors whose values were rounded")}`) +
    (exact.length === 0 ? "" : `<details><summary>${countText(exact.length)} tensors ${lossy.length === 0 && changes.every((c) => c.changedElements === undefined) ? "of another dtype" : "whose values are the same in the other dtype"}</summary>${each(exact, "tensors of another dtype with equal values")}</details>`)
}

const components = (r: ConversionReport): string => {
  const laidOut = r.components.some((c) => c.layout)
  const axes = ["tp", "pp", "dp", "cp", "ep", "etp"] as const
  return htmlTable("components", [{ head: "component" }, ...(laidOut ? [...axes.map((head) => ({ head, number })), { head: "ranks", number }] : []), { head: "tensors", number }, { head: "size", number }],
    r.components.map((c) => [esc(c.name), ...(laidOut ? [...axes.map((axis) => String(c.layout?.[axis] ?? "")), esc(c.layout?.ranks ?? "")] : []), countText(c.tensors), sizeText(c.bytes)]))
}

const processes = ({ each, memoryInAll, memoryOfEach }: NonNullable<ConversionReport["processes"]>): string => {
  const grouped = each.some(({ groups }) => groups !== undefined)
  const groups = (own: ProcessPlan["groups"] = {}) => Object.entries(own).map(([kind, runs]) => `${kind} ${runsText(runs)}`).join("; ")
  const columns = [{ head: "rank", number }, { head: "component" }, { head: "files", number }, { head: "size", number }, ...(grouped ? [{ head: "process groups" }] : [])]
  return `<h3>Who writes what</h3><p>${countText(each.length)} processes, with at most ${sizeText(memoryOfEach)} of memory each, ${sizeText(memoryInAll)} in all.</p>` +
    limited(each, (shown) => htmlTable("processes", columns, shown.map((p) =>
      [String(p.rank), esc(p.components.join(", ")), countText(p.files.length), sizeText(p.bytes), ...(grouped ? [esc(groups(p.groups))] : [])])), "processes")
}

export const conversionSection = ({ page: { conversion: r, planned } }: PageModel): string => {
  if (!r) return ""
  const bytes = r.files.reduce((n, f) => n + f.bytes, 0)
  const parts = [
    `<dl><dt>model</dt><dd>${esc(r.architecture)} (${esc(r.family)}, ${r.form === "mimo" ? "MegatronMIMO" : "standard"})</dd><dt>from</dt><dd>${code(r.source)}</dd>` +
    `<dt>${planned ? "to read" : "read"}</dt><dd>${countDatum("conversion.sourceTensors", r.sourceTensors)} tensors, ${bytesDatum("conversion.sourceBytes", r.sourceBytes)}</dd>` +
    `<dt>${planned ? "to write" : "written"}</dt><dd>${countDatum("conversion.targetTensors", r.targetTensors)} tensors, ${bytesDatum("conversion.targetBytes", r.targetBytes)}, in ${countText(r.files.length)} ${r.files.length === 1 ? "file" : "files"} of ${sizeText(bytes)}</dd></dl>`,
    components(r)
  ]
  if (r.processes) parts.push(processes(r.processes))
  if (r.dtypeChanges.length > 0) parts.push(dtypeChanges(r.dtypeChanges))
  if (r.leftBehind.length > 0) {
    parts.push(`<h3>Left behind</h3>${limited(r.leftBehind, (shown) => htmlTable("left behind", [{ head: "tensor" }, { head: "size", number }, { head: "reason" }],
      shown.map((l) => [code(l.tensor), sizeText(l.bytes), esc(l.reason)])), "tensors")}`)
  }
  if (r.quantized) {
    parts.push(`<h3>Quantised weights</h3><ul>${r.quantized.forms.map((f) => `<li>${countText(f.tensors)} as ${esc(f.form)}</li>`).join("")}` +
      `<li>written as values: ${countText(r.quantized.dequantized.length)}</li><li>written as the original's codes: ${countText(r.quantized.restored.length)}</li></ul>`)
  }
  if (r.notes.length > 0) parts.push(`<h3>Notes</h3><ul>${r.notes.map((n) => `<li>${esc(n)}</li>`).join("")}</ul>`)
  const what = r.direction === "import" ? "Import" : "Export"
  return `<section aria-labelledby="conversion"><h2 id="conversion">${planned ? `${what}, as planned` : what}</h2>${parts.join("")}</section>`
}

const MOST_NAMES = 300

const unclaimed = ({ unclaimed: names }: ModelCoverage): string =>
  names.length === 0 ? "" : `<details><summary>${countText(names.length)} stored tensors that no source tensor is mapped to</summary><ul>${names.slice(0, MOST_NAMES).map((k) => `<li>${code(k)}</li>`).join("")}</ul></details>`

export const coverageSection = ({ coverage: list, page: { coverage: c, coverageNote } }: PageModel): string => {
  if (!c || !list) return coverageNote === undefined ? "" : `<section aria-labelledby="coverage"><h2 id="coverage">Where every tensor goes</h2><p>${esc(coverageNote)}</p></section>`
  const sums = Map.groupBy(c.rows, (r) => r.fate)
  const rows = (Object.keys(FATES) as ReadonlyArray<Fate>).filter((f) => sums.has(f)).map((f) => [
    esc(FATES[f]), countDatum(`coverage.${f}.tensors`, sums.get(f)!.length), bytesDatum(`coverage.${f}.bytes`, sums.get(f)!.reduce((n, r) => n + r.bytes, 0))
  ])
  return `<section aria-labelledby="coverage"><h2 id="coverage">Where every tensor goes</h2><p class="soft">Where every Hugging Face tensor is in the Megatron checkpoint. Of the one that is picked, the boxes are drawn that become boxes of stored tensors, and the cuts between ranks.</p>` +
    `<div class="narrow">${htmlTable("coverage", [{ head: "fate" }, { head: "tensors", number }, { head: "size", number }], rows)}</div>` + unclaimed(c) +
    listFigure(list, "Pick a tensor: its boxes are drawn here.") + "</section>"
}
