/** The sections about a conversion: what was done, where every source tensor went, and whether both sides are equal. */
import type { ConversionReport } from "../plan/Report.ts"
import type { TensorVerdict, VerifyReport } from "../verify/verify.ts"
import { bytesDatum, code, count, countDatum, esc, size, table } from "./html.ts"
import type { Coverage, CoverageRow, Fate } from "./PageData.ts"
import { listShell, select } from "./subject.ts"

const MOST_ROWS = 300

const limited = <T>(items: ReadonlyArray<T>, draw: (shown: ReadonlyArray<T>) => string, noun: string): string =>
  draw(items.slice(0, MOST_ROWS)) + (items.length > MOST_ROWS ? `<p>… ${count(items.length)} ${noun} in all.</p>` : "")

type Changes = ConversionReport["dtypeChanges"]

/** Sums first; the tensors whose values changed before those that were only written otherwise. */
const dtypeChanges = (changes: Changes): string => {
  const rounded = (own: Changes) => own.reduce((n, c) => n + (c.changedElements ?? 0), 0)
  const sums = [...Map.groupBy(changes, (c) => `${c.from}\u0000${c.to}`).values()].map((own) =>
    [own[0]!.from, own[0]!.to, countDatum(`conversion.dtypeChanges.${own[0]!.from}.${own[0]!.to}.tensors`, own.length), count(own.filter((c) => (c.changedElements ?? 0) > 0).length), count(rounded(own))])
  const number = true as const
  const columns = [{ head: "tensor" }, { head: "from" }, { head: "to" }, { head: "values rounded", number }]
  const each = (own: Changes, caption: string) => limited(own, (shown) => table(caption, columns,
    shown.map((c) => [code(c.tensor), c.from, c.to, c.changedElements === undefined ? "" : count(c.changedElements)])), "tensors")
  const lossy = changes.filter((c) => (c.changedElements ?? 0) > 0)
  const exact = changes.filter((c) => (c.changedElements ?? 0) === 0)
  return `<h3>Dtype changes</h3>${table("dtype changes", [{ head: "from" }, { head: "to" }, { head: "tensors", number }, { head: "with rounded values", number }, { head: "values rounded", number }], sums)}` +
    (lossy.length === 0 ? "" : `<p class="warn">Values were rounded:</p>${each(lossy, "tensors whose values were rounded")}`) +
    (exact.length === 0 ? "" : `<details><summary>${count(exact.length)} tensors whose values are the same in the other dtype</summary>${each(exact, "tensors of another dtype with equal values")}</details>`)
}

export const conversionTitle = ({ direction }: ConversionReport, planned: boolean): string =>
  `${direction === "import" ? "Import" : "Export"}${planned ? ", as planned" : ""}`

/** `planned`: nothing was written yet. */
export const conversionSection = (r: ConversionReport, planned: boolean): string => {
  const bytes = r.files.reduce((n, f) => n + f.bytes, 0)
  const parts = [
    `<dl><dt>model</dt><dd>${esc(r.architecture)} (${esc(r.family)}, ${r.form === "mimo" ? "MegatronMIMO" : "standard"})</dd><dt>from</dt><dd>${code(r.source)}</dd>` +
    `<dt>${planned ? "will be read" : "read"}</dt><dd>${countDatum("conversion.sourceTensors", r.sourceTensors)} tensors, ${bytesDatum("conversion.sourceBytes", r.sourceBytes)}</dd>` +
    `<dt>${planned ? "will be written" : "written"}</dt><dd>${countDatum("conversion.targetTensors", r.targetTensors)} tensors, ${bytesDatum("conversion.targetBytes", r.targetBytes)}, in ${count(r.files.length)} ${r.files.length === 1 ? "file" : "files"} of ${size(bytes)}</dd></dl>`
  ]
  if (r.dtypeChanges.length > 0) parts.push(dtypeChanges(r.dtypeChanges))
  if (r.leftBehind.length > 0) {
    parts.push(`<h3>Left behind</h3>${limited(r.leftBehind, (shown) => table("left behind", [{ head: "tensor" }, { head: "size", number: true }, { head: "reason" }],
      shown.map((l) => [code(l.tensor), size(l.bytes), esc(l.reason)])), "tensors")}`)
  }
  if (r.quantized) {
    parts.push(`<h3>Quantised weights</h3><ul>${r.quantized.forms.map((f) => `<li>${count(f.tensors)} as ${esc(f.form)}</li>`).join("")}` +
      `<li>written as values: ${count(r.quantized.dequantized.length)}</li><li>written as the original's codes: ${count(r.quantized.restored.length)}</li></ul>`)
  }
  if (r.notes.length > 0) parts.push(`<h3>Notes</h3><ul>${r.notes.map((n) => `<li>${esc(n)}</li>`).join("")}</ul>`)
  return `<section aria-labelledby="conversion"><h2 id="conversion">${conversionTitle(r, planned)}</h2>${parts.join("")}</section>`
}

export const FATES: Readonly<Record<Fate, string>> = {
  converted: "converted",
  kept: "kept byte for byte beside the model",
  left: "not stored, on purpose",
  missing: "mapped, but absent",
  unmapped: "not mapped"
}

const masked = (name: string): string => name.replace(/(?<=\.)\d+(?=\.)/g, "#")

/** Rows that differ in their numbers only. */
const groups = (rows: ReadonlyArray<CoverageRow>): ReadonlyArray<ReadonlyArray<string>> =>
  [...Map.groupBy(rows, (r) => `${r.fate}\u0000${r.how}\u0000${masked(r.name)}\u0000${[...new Set(r.keys.map(masked))].join("\u0000")}`).values()].map((own) => {
    const [first] = own as unknown as [CoverageRow]
    const keys = [...new Set(own.slice(0, 1).flatMap((r) => r.keys.map(masked)))]
    return [
      code(masked(first.name)), count(own.length), size(own.reduce((n, r) => n + r.bytes, 0)), `${first.fate}${first.how ? `, ${esc(first.how)}` : ""}`,
      keys.length === 0 ? "—" : keys.slice(0, 4).map(code).join("<br>") + (keys.length > 4 ? `<br>… ${keys.length} in all` : "")
    ]
  })

const grouped = (c: Coverage): string =>
  limited(groups(c.rows), (shown) => table("coverage by pattern", [{ head: "source" }, { head: "tensors", number: true }, { head: "size", number: true }, { head: "fate" }, { head: "stored as" }], shown), "patterns")

export const coverageSection = (c: Coverage): string => {
  const byPattern = grouped(c)
  const sums = Map.groupBy(c.rows, (r) => r.fate)
  const lost = (sums.get("missing")?.length ?? 0) + (sums.get("unmapped")?.length ?? 0) + c.unclaimed.length
  const verdict = lost === 0
    ? `<p class="verdict good">✓ Every one of ${count(c.rows.length)} source tensors is accounted for</p>`
    : `<p class="verdict bad">✗ ${count(lost)} ${lost === 1 ? "tensor is" : "tensors are"} not accounted for</p>`
  const rows = (Object.keys(FATES) as ReadonlyArray<Fate>).filter((f) => sums.has(f)).map((f) => [
    esc(FATES[f]), countDatum(`coverage.${f}.tensors`, sums.get(f)!.length), bytesDatum(`coverage.${f}.bytes`, sums.get(f)!.reduce((n, r) => n + r.bytes, 0))
  ])
  return `<section aria-labelledby="coverage"><h2 id="coverage">Coverage</h2><p class="soft">Where every Hugging Face tensor is in the Megatron checkpoint.</p>${verdict}` +
    table("coverage", [{ head: "fate" }, { head: "tensors", number: true }, { head: "size", number: true }], rows) +
    (c.unclaimed.length === 0 ? "" : `<details><summary>${count(c.unclaimed.length)} stored tensors that no source tensor is mapped to</summary><ul>${c.unclaimed.slice(0, MOST_ROWS).map((k) => `<li>${code(k)}</li>`).join("")}</ul></details>`) +
    listShell("coverage-list", "source tensors and where they went", select("fate", "Fate", [...sums.keys()])) +
    `<details class="screen"><summary>Coverage by pattern</summary>${byPattern}</details><div class="paper">${byPattern}</div></section>`
}

export const maxDiff = (t: TensorVerdict): string =>
  t.maxAbsDiff === undefined ? "" : Number.isFinite(t.maxAbsDiff) ? String(Number(t.maxAbsDiff.toPrecision(4))) : "not a number"

export const paritySection = (v: VerifyReport): string => {
  const off = v.tensors.filter((t) => t.status !== "equal")
  const equal = v.equal === v.total
  const columns = [{ head: "tensor" }, { head: "status" }, { head: "elements", number: true as const }, { head: "differing", number: true as const }, { head: "by at most", number: true as const }, { head: "detail" }]
  const table_ = off.length === 0 ? "" : limited(off, (shown) => table("tensors that are not equal", columns, shown.map((t) => [
    code(t.name), `<span class="bad">${t.status}</span>`, t.elements === undefined ? "" : count(t.elements), t.differing === undefined ? "" : count(t.differing), maxDiff(t), esc(t.detail ?? "")
  ])), "tensors")
  return `<section aria-labelledby="parity"><h2 id="parity">Parity</h2><p class="verdict ${equal ? "good" : "bad"}">${equal ? "✓" : "✗"} ${countDatum("verify.equal", v.equal)} of ${countDatum("verify.total", v.total)} tensors equal, bit for bit</p>` +
    `<dl><dt>left</dt><dd>${code(v.left)}</dd><dt>right</dt><dd>${code(v.right)}</dd><dt>compared</dt><dd>${bytesDatum("verify.bytes", v.bytes)}</dd></dl>` +
    v.notes.map((n) => `<p><strong class="warn">Note</strong> ${esc(n)}</p>`).join("") + table_ +
    listShell("verify-list", "tensors of both sides", select("fate", "Status", [...new Set(v.tensors.map((t) => t.status))])) + "</section>"
}
