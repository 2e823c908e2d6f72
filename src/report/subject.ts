/** The sections about one checkpoint; every number is one of its inspection. */
import type { FileRow, Inspection } from "../inspect/Inspection.ts"
import { groupRows } from "../inspect/tree.ts"
import { bar, hueOf, layerChart, mapGrid, segmentsOf, strip } from "./charts.ts"
import { bytesDatum, className, code, count, countDatum, esc, size, table } from "./html.ts"
import { layoutWarnings } from "./layoutWarnings.ts"
import type { RankMap } from "./rankMap.ts"

const KINDS = { safetensors: "Hugging Face safetensors", megatron: "Megatron checkpoint", items: "data file of a Megatron checkpoint", archive: "torch.save file" } as const

export const kindOf = (i: Inspection): string => `${KINDS[i.kind]}${i.form ? `, ${i.form === "mimo" ? "MegatronMIMO" : "standard"}` : ""}`

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

const layout = (i: Inspection): string =>
  i.model.layout.length === 0 ? "" : `<h3>Layout it was written for</h3>${table("layout", [{ head: "component" }, ...["tp", "pp", "dp", "cp", "ep", "etp", "first rank"].map((head) => ({ head, number: true as const }))],
    i.model.layout.map((l) => [esc(l.component), ...[l.tp, l.pp, l.dp, l.cp, l.ep, l.etp, l.rankOffset].map(String)]))}` +
    layoutWarnings(i).map((text) => `<p><strong class="warn">Layout</strong> ${esc(text)}</p>`).join("")

const MOST_NAMES = 200

const findings = (i: Inspection): string => {
  const points = i.findings.map((f) =>
    f.names.length === 0
      ? `<li>${esc(f.text)}</li>`
      : `<li><details><summary>${esc(f.text)}</summary><ul>${f.names.slice(0, MOST_NAMES).map((n) => `<li>${code(n)}</li>`).join("")}` +
        `${f.names.length > MOST_NAMES ? `<li>… ${count(f.names.length)} in all</li>` : ""}</ul></details></li>`)
  const notes = i.notes.map((note) => `<li><strong class="warn">Note</strong> ${esc(note)}</li>`)
  const both = [...notes, ...points]
  return `<h3>Worth knowing</h3>${both.length === 0 ? "<p>Nothing out of the ordinary.</p>" : `<ul>${both.join("")}</ul>`}`
}

const sums = (key: string, i: Inspection): string => {
  const numbers = [{ head: "tensors", number: true as const }, { head: "elements", number: true as const }, { head: "size", number: true as const }]
  const row = (path: string, s: { tensors: number; elements: number; bytes: number }) =>
    [countDatum(`${path}.tensors`, s.tensors), countDatum(`${path}.elements`, s.elements), bytesDatum(`${path}.bytes`, s.bytes)]
  return `<h3>Bytes by component</h3>${bar("bytes by component", i.components.map((c) => ({ label: c.name, bytes: c.bytes, hue: hueOf(i, c.name) })))}` +
    table("components", [{ head: "component" }, ...numbers, { head: "dtypes" }], i.components.map((c, k) => [esc(c.name), ...row(`${key}.components.${k}`, c), esc(c.dtypes.join(" "))])) +
    `<h3>Bytes by dtype</h3>${bar("bytes by dtype", i.dtypes.map((d, k) => ({ label: d.dtype, bytes: d.bytes, hue: k % 8 })))}` +
    table("dtypes", [{ head: "dtype" }, ...numbers], i.dtypes.map((d, k) => [esc(d.dtype), ...row(`${key}.dtypes.${k}`, d)])) +
    (i.training.tensors === 0 ? "" : `<p>Besides the model: ${countDatum(`${key}.training.tensors`, i.training.tensors)} tensors of training state, ${bytesDatum(`${key}.training.bytes`, i.training.bytes)}.</p>`)
}

const layers = (key: string, i: Inspection): string => {
  if (i.layers.length === 0) return ""
  const stacks = Map.groupBy(i.layers.map((l, k) => ({ ...l, k })), (l) => l.stack)
  return `<h3>Bytes by layer</h3>${[...stacks].map(([stack, own]) => {
    const each = own.map((l) => [String(l.layer), countDatum(`${key}.layers.${l.k}.tensors`, l.tensors), bytesDatum(`${key}.layers.${l.k}.bytes`, l.bytes)])
    return `<p>${code(stack)} <span class="soft">${count(own.length)} ${own.length === 1 ? "layer" : "layers"}, ${size(own.reduce((n, l) => n + l.bytes, 0))}</span></p>` +
      (own.length > 1 ? layerChart(stack, own, hueOf(i, i.tensors.find((t) => t.stack === stack)?.component ?? "")) : "") +
      `<details><summary>Layer by layer</summary>${table(`layers of ${stack}`, [{ head: "layer" }, { head: "tensors", number: true }, { head: "size", number: true }], each)}</details>`
  }).join("")}`
}

/** Strips cost some 100 bytes for each segment; the table has every file. */
const MOST_STRIPS = 64
const MOST_FILES = 2000

const files = (key: string, i: Inspection): string => {
  const shown = i.files.slice(0, MOST_FILES)
  const drawn = new Set(i.files.filter((f) => f.chunks > 0).slice(0, MOST_STRIPS).map((f) => f.name))
  const chunks = new Map([...drawn].map((name) => [name, [] as Array<{ offset: number; length: number; component: string; name: string }>]))
  for (const { boxes, component, name } of i.tensors) for (const c of boxes ?? []) chunks.get(c.file)?.push({ offset: c.offset, length: c.length, component, name })
  const cell = (f: FileRow): string => (drawn.has(f.name) ? strip(i, f, segmentsOf(chunks.get(f.name)!, f.bytes)) : "")
  const columns = [{ head: "file" }, ...["rank", "size", "tensors", "chunks", "objects"].map((head) => ({ head, number: true as const })), { head: "chunks in the order of their bytes" }]
  return `<h3>Chunk placement</h3>${table("files", columns, shown.map((f, k) => [
    code(f.name), f.rank === undefined ? "" : String(f.rank), bytesDatum(`${key}.files.${k}.bytes`, f.bytes), countDatum(`${key}.files.${k}.tensors`, f.tensors),
    countDatum(`${key}.files.${k}.chunks`, f.chunks), countDatum(`${key}.files.${k}.objects`, f.objects), cell(f)
  ]))}${i.files.length > MOST_FILES ? `<p>… ${count(i.files.length)} files in all.</p>` : ""}` +
    (drawn.size < i.files.filter((f) => f.chunks > 0).length ? `<p class="soft">Placement is drawn for the first ${MOST_STRIPS} files.</p>` : "")
}

const MOST_GROUPS = 400

/** For paper, and without a script: tensors that differ in their numbers only, as one row. */
const grouped = (i: Inspection): string => {
  const groups = groupRows(i.tensors)
  return `${table("tensors by pattern", [{ head: "tensors" }, { head: "dtype" }, { head: "shape" }, { head: "number", number: true }, { head: "size", number: true }],
    groups.slice(0, MOST_GROUPS).map((g) => [code(g.segments.join(".")), g.dtype, esc(g.shape.join(" × ") || "scalar"), count(g.count), size(g.bytes)]))}` +
    (groups.length > MOST_GROUPS ? `<p>… ${count(groups.length)} patterns in all.</p>` : "")
}

export const option = (value: string): string => `<option>${esc(value)}</option>`

/** A filter, a list that the script fills, and a place for the line that is picked. */
export const listShell = (id: string, label: string, selects: string): string =>
  `<div class="screen" id="${id}"><form><label>Filter by name (* and ? are wild)<input type="search" name="q" autocomplete="off" spellcheck="false"></label>${selects}<output aria-live="polite"></output></form>` +
  `<div class="list" id="${id}-box" tabindex="0" role="listbox" aria-label="${esc(label)}"><div><div class="heads" role="presentation"></div></div></div><div class="detail" role="status"><p>Pick a line for its details.</p></div></div>`

export const select = (name: string, label: string, values: ReadonlyArray<string>): string =>
  `<label>${esc(label)}<select name="${name}"><option value="">all</option>${values.map(option).join("")}</select></label>`

const tensors = (subject: number, i: Inspection): string => {
  const byPattern = grouped(i)
  return `<h3>Tensors</h3>${listShell(`tensors${subject}`, "tensors", select("component", "Component", [...new Set(i.tensors.map((t) => t.component))]) + select("dtype", "Dtype", [...new Set(i.tensors.map((t) => t.dtype))]))}` +
  `<details class="screen"><summary>Tensors by pattern</summary>${byPattern}</details><div class="paper">${byPattern}</div>`
}

export const subjectSection = (subject: number, i: Inspection, map: RankMap): string => {
  const key = `subjects.${subject}`
  return `<section aria-labelledby="s${subject}"><h2 id="s${subject}">${esc(i.path)}</h2><p class="soft">${esc(kindOf(i))}</p>` +
    totals(key, i) + facts(i) + layout(i) + findings(i) + sums(key, i) + layers(key, i) +
    (map.columns.length === 0 ? "" : `<h3>${map.of === "rank" ? "Which rank holds what" : "Which file holds what"}</h3><p class="soft">The stronger the colour of a cell, the more bytes of the layer are in the ${map.of === "rank" ? "files of that rank" : "file"}.</p>${mapGrid(i, subject, map)}`) +
    files(key, i) + tensors(subject, i) + "</section>"
}
