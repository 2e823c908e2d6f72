/** The section about one checkpoint; every number is one of its inspection. */
import type { FileRow, Inspection } from "../../inspect/Inspection.ts"
import { ranges } from "../../inspect/tree.ts"
import { bar, componentInk, dtypeInk, type Ink, plot, strip } from "./figures.ts"
import { adapterSection } from "./adapter.ts"
import { bytesDatum, className, code, countDatum, esc, htmlTable } from "./html.ts"
import { listFigure } from "./lists.ts"
import { isPlanned, type PageModel, type SubjectModel } from "../model/PageModel.ts"
import { recordedRanks } from "../model/ranksOf.ts"
import { type PlacedChunk, segmentsOf, stepsOf } from "../model/segments.ts"
import { countText, sizeText } from "../numbers.ts"
import { mapFigure, QUESTIONS } from "./ranks.ts"

const KINDS = { safetensors: "Hugging Face safetensors", megatron: "Megatron checkpoint", items: "data file of a Megatron checkpoint", archive: "torch.save file" } as const

const kindOf = (i: Inspection, planned: boolean): string => `${KINDS[i.kind]}${i.form ? `, ${i.form === "mimo" ? "MegatronMIMO" : "standard"}` : ""}${planned ? ", planned" : ""}`

const number = true as const

const card = (value: string, what: string): string => `<li><b>${value}</b><span>${what}</span></li>`

const facts = (i: Inspection): string => {
  const rows = [...i.model.fields, ...i.common.filter(([k]) => /^(iteration|checkpoint_version)$/.test(k))]
  return `<dl class="facts"><div><dt>path</dt><dd>${code(i.kind === "megatron" ? i.directory : i.path)}</dd></div>${i.model.name ? `<div><dt>model</dt><dd>${className(i.model.name)}</dd></div>` : ""}` +
    rows.map(([field, value]) => `<div><dt>${esc(field)}</dt><dd>${esc(value.length > 200 ? `${value.slice(0, 200)}…` : value)}</dd></div>`).join("") + "</dl>"
}

const totals = (key: string, i: Inspection): string => {
  const t = i.totals
  return `<ul class="cards">${[
    card(bytesDatum(`${key}.totals.bytes`, t.bytes), "in tensors"),
    card(countDatum(`${key}.totals.tensors`, t.tensors), "tensors"),
    card(countDatum(`${key}.totals.elements`, t.elements), "elements"),
    card(countDatum(`${key}.totals.chunks`, t.chunks), "chunks"),
    card(countDatum(`${key}.totals.objects`, t.objects), "objects"),
    card(countDatum(`${key}.totals.files`, t.files), `${t.files === 1 ? "file" : "files"}, ${bytesDatum(`${key}.totals.fileBytes`, t.fileBytes)}`)
  ].join("")}</ul>`
}

const layout = (i: Inspection): string => {
  const { layout: own } = recordedRanks(i)
  return own.length === 0 ? "" : `<h3>Layout it was written for</h3>${htmlTable("layout", [{ head: "component" }, ...["tp", "pp", "dp", "cp", "ep", "etp", "first rank"].map((head) => ({ head, number }))],
    own.map((l) => [esc(l.component), ...[l.tp, l.pp, l.dp, l.cp, l.ep, l.etp, l.rankOffset].map(String)]))}`
}

const MOST_NAMES = 200

const findings = (i: Inspection): string => {
  const points = i.findings.map((f) =>
    f.names.length === 0
      ? `<li>${esc(f.text)}</li>`
      : `<li><details><summary>${esc(f.text)}</summary><ul>${f.names.slice(0, MOST_NAMES).map((n) => `<li>${code(n)}</li>`).join("")}` +
        `${f.names.length > MOST_NAMES ? `<li>… ${countText(f.names.length)} in all</li>` : ""}</ul></details></li>`)
  const notes = i.notes.map((note) => `<li><strong class="warn">Note</strong> ${esc(note)}</li>`)
  const both = [...notes, ...points]
  return `<h3>Worth knowing</h3>${both.length === 0 ? "<p>Nothing out of the ordinary.</p>" : `<ul>${both.join("")}</ul>`}`
}

const SUM_COLUMNS = [{ head: "tensors", number }, { head: "elements", number }, { head: "size", number }]

const sums = (key: string, i: Inspection, inkOf: (component: string) => Ink): string => {
  const row = (path: string, s: { tensors: number; elements: number; bytes: number }) =>
    [countDatum(`${path}.tensors`, s.tensors), countDatum(`${path}.elements`, s.elements), bytesDatum(`${path}.bytes`, s.bytes)]
  return `<div class="pair"><div><h3>Bytes by component</h3>${bar("bytes by component", i.components.map((c) => ({ label: c.name, bytes: c.bytes, ink: inkOf(c.name) })))}` +
    htmlTable("components", [{ head: "component" }, ...SUM_COLUMNS, { head: "dtypes" }], i.components.map((c, k) => [esc(c.name), ...row(`${key}.components.${k}`, c), esc(c.dtypes.join(" "))])) +
    `</div><div><h3>Bytes by dtype</h3>${bar("bytes by dtype", i.dtypes.map((d, k) => ({ label: d.dtype, bytes: d.bytes, ink: dtypeInk(k) })))}` +
    htmlTable("dtypes", [{ head: "dtype" }, ...SUM_COLUMNS], i.dtypes.map((d, k) => [esc(d.dtype), ...row(`${key}.dtypes.${k}`, d)])) + "</div></div>" +
    (i.training.tensors === 0 ? "" : `<p>Besides the model: ${countDatum(`${key}.training.tensors`, i.training.tensors)} tensors of training state, ${bytesDatum(`${key}.training.bytes`, i.training.bytes)}.</p>`)
}

/** The plot; and a table in which layers of equal sizes are one line. */
const layers = (key: string, { inspection: i, plot: sizes }: SubjectModel, inkOf: (component: string) => Ink): string => {
  if (i.layers.length === 0) return ""
  const equal = Map.groupBy(i.layers.map((l, k) => ({ ...l, k })), (l) => `${l.stack}\u0000${l.tensors}\u0000${l.bytes}`)
  const rows = [...equal.values()].map((own) => {
    const [l] = own as [(typeof own)[number]]
    return [code(l.stack), esc(ranges(own.map((o) => o.layer))), countText(own.length), countDatum(`${key}.layers.${l.k}.tensors`, l.tensors), bytesDatum(`${key}.layers.${l.k}.bytes`, l.bytes), sizeText(l.bytes * own.length)]
  })
  return `<h3>Sizes by layer</h3>${plot(sizes, inkOf)}` +
    `<details><summary>Layer by layer, equal ones folded</summary>${htmlTable("layers", [{ head: "list" }, { head: "layers" }, { head: "number", number }, { head: "tensors of each", number }, { head: "size of each", number }, { head: "in all", number }], rows)}</details>`
}

/** Strips cost some 100 bytes for each segment; the table has every file. */
const MOST_STRIPS = 64
const MOST_FILES = 2000
/** A longer table begins closed. */
const MOST_OPEN = 24

const files = (key: string, i: Inspection, inkOf: (component: string) => Ink): string => {
  const shown = i.files.slice(0, MOST_FILES)
  const drawn = new Set(i.files.filter((f) => f.chunks > 0).slice(0, MOST_STRIPS).map((f) => f.name))
  const chunks = new Map([...drawn].map((name) => [name, [] as Array<PlacedChunk>]))
  for (const { boxes, component, name } of i.tensors) for (const c of boxes ?? []) chunks.get(c.file)?.push({ offset: c.offset, length: c.length, component, name })
  const cell = (f: FileRow): string => (drawn.has(f.name) ? strip(f, segmentsOf(chunks.get(f.name)!, f.bytes, stepsOf(drawn.size)), inkOf) : "")
  const columns = [{ head: "file" }, ...["rank", "size", "tensors", "chunks", "objects"].map((head) => ({ head, number })), { head: "chunks in the order of their bytes" }]
  return `<details${i.files.length <= MOST_OPEN ? " open" : ""}><summary><h3>Chunk placement</h3></summary>${htmlTable("files", columns, shown.map((f, k) => [
    code(f.name), f.rank === undefined ? "–" : String(f.rank), bytesDatum(`${key}.files.${k}.bytes`, f.bytes), countDatum(`${key}.files.${k}.tensors`, f.tensors),
    countDatum(`${key}.files.${k}.chunks`, f.chunks), countDatum(`${key}.files.${k}.objects`, f.objects), cell(f)
  ]))}${i.files.length > MOST_FILES ? `<p>… ${countText(i.files.length)} files in all.</p>` : ""}` +
    (drawn.size < i.files.filter((f) => f.chunks > 0).length ? `<p class="soft">Placement is drawn for the first ${MOST_STRIPS} files.</p>` : "") + "</details>"
}

export const subjectSection = ({ components, first, page }: PageModel, subject: SubjectModel): string => {
  const { index, inspection: i, tensors } = subject
  const key = `subjects.${index}`
  const inkOf = (component: string) => componentInk(components, component)
  const ownMap = first.includes(subject) ? "" : `<h3>${QUESTIONS[subject.map.of]}</h3>${mapFigure(subject, inkOf)}`
  return `<section aria-labelledby="s${index}"><h2 id="s${index}">${esc(i.path)}</h2><p class="soft">${esc(kindOf(i, isPlanned(page, i)))}</p>` +
    totals(key, i) + adapterSection(i.adapter) + layers(key, subject, inkOf) + ownMap + sums(key, i, inkOf) + facts(i) + layout(i) + findings(i) +
    (isPlanned(page, i) ? "" : files(key, i, inkOf)) + `<h3>Tensors</h3>${listFigure(tensors)}</section>`
}
