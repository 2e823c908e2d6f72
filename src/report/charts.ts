/** The drawings: proportional bars, chunk strips, and the map. Each shape carries its text; arrow keys walk through them. */
import type { FileRow, Inspection } from "../inspect/Inspection.ts"
import { count, esc, size } from "./html.ts"
import type { RankMap } from "./rankMap.ts"

/** Hues that stay apart for most kinds of colour blindness; the text beside them says the same. */
const HUES = 8

export const hueOf = (i: Inspection, component: string): number => {
  const at = i.components.findIndex((c) => c.name === component)
  return at < 0 ? HUES - 1 : at % HUES
}

interface Share {
  readonly label: string
  readonly bytes: number
  readonly hue: number
}

const WIDTH = 1000

/** One bar, divided by bytes. */
export const bar = (title: string, shares: ReadonlyArray<Share>): string => {
  const total = shares.reduce((sum, s) => sum + s.bytes, 0)
  if (total === 0) return ""
  let at = 0
  const rects = shares.map(({ bytes, hue, label }) => {
    const width = (bytes / total) * WIDTH
    const text = `${label}: ${size(bytes)}, ${((bytes / total) * 100).toFixed(1)} %`
    const rect = `<rect tabindex="-1" class="h${hue}" x="${at.toFixed(2)}" width="${width.toFixed(2)}" height="22" data-tip="${esc(text)}"/>`
    at += width
    return rect
  })
  return `<svg class="bar" role="group" data-rove tabindex="0" aria-label="${esc(title)}" viewBox="0 0 ${WIDTH} 22" preserveAspectRatio="none">${rects.join("")}</svg>` +
    `<ul class="legend">${shares.map((s) => `<li><i class="h${s.hue}"></i>${esc(s.label)} <span>${esc(size(s.bytes))}</span></li>`).join("")}</ul>`
}

/** One column per layer of a stack. */
export const layerChart = (stack: string, layers: Inspection["layers"], hue: number): string => {
  const most = layers.reduce((largest, l) => Math.max(largest, l.bytes), 0)
  const step = WIDTH / layers.length
  const gap = layers.length > 200 ? 0 : Math.min(60, step * 0.12)
  const rects = layers.map((l, k) => {
    const height = most === 0 ? 0 : (l.bytes / most) * 60
    const text = `layer ${l.layer}: ${size(l.bytes)}, ${count(l.tensors)} tensors`
    return `<rect tabindex="-1" class="h${hue}" x="${(k * step).toFixed(2)}" y="${(60 - height).toFixed(2)}" width="${(step - gap).toFixed(2)}" height="${height.toFixed(2)}" data-tip="${esc(text)}"/>`
  })
  return `<svg class="layers" style="max-width:${Math.max(120, layers.length * 40)}px" role="group" data-rove tabindex="0" aria-label="${esc(`bytes of the ${layers.length} layers of ${stack}`)}" viewBox="0 0 ${WIDTH} 60" preserveAspectRatio="none">${rects.join("")}</svg>`
}

/** Chunks closer than this to one another are drawn as one: thousandths of the file. */
const STEPS = 400

export interface Segment {
  readonly begin: number
  readonly end: number
  readonly component: string
  readonly first: string
  readonly chunks: number
}

/** Neighbouring chunks of a component drawn together. */
export const segmentsOf = (chunks: ReadonlyArray<{ readonly offset: number; readonly length: number; readonly component: string; readonly name: string }>, bytes: number): ReadonlyArray<Segment> => {
  const least = bytes / STEPS
  const out: Array<{ begin: number; end: number; component: string; first: string; chunks: number }> = []
  for (const c of [...chunks].sort((a, b) => a.offset - b.offset)) {
    const last = out.at(-1)
    if (last && last.component === c.component && last.end - last.begin < least) {
      last.end = Math.max(last.end, c.offset + c.length)
      last.chunks++
    } else out.push({ begin: c.offset, end: c.offset + c.length, component: c.component, first: c.name, chunks: 1 })
  }
  return out
}

/** Where in a file the chunks lie, in the order of the bytes. */
export const strip = (i: Inspection, file: FileRow, segments: ReadonlyArray<Segment>): string => {
  const scale = WIDTH / Math.max(1, file.bytes)
  const rects = segments.map((s) => {
    const text = `bytes ${count(s.begin)} to ${count(s.end)}: ${s.first}${s.chunks > 1 ? ` and ${count(s.chunks - 1)} more of ${s.component}` : ` (${s.component})`}`
    const width = Math.max(0.4, (s.end - s.begin) * scale - 0.3)
    return `<rect tabindex="-1" class="h${hueOf(i, s.component)}" x="${(s.begin * scale).toFixed(2)}" width="${width.toFixed(2)}" height="16" data-tip="${esc(text)}"/>`
  })
  return `<svg class="strip" role="group" data-rove tabindex="0" aria-label="${esc(`chunks of ${file.name}`)}" viewBox="0 0 ${WIDTH} 16" preserveAspectRatio="none">${rects.join("")}</svg>`
}

/** The map as a grid; the script adds the slices of the cell that has the focus. */
export const mapGrid = (i: Inspection, subject: number, map: RankMap): string => {
  const most = Math.max(1, ...map.cells.flatMap((row) => row.map((c) => c?.bytes ?? 0)))
  const head = map.columns.map((c) => `<th scope="col" title="${esc(c.files.join(" "))}"><span>${esc(c.label)}</span></th>`).join("")
  let before = ""
  const body = map.rows.map((row, r) => {
    const first = row.component !== before
    before = row.component
    const cells = map.columns.map((column, c) => {
      const cell = map.cells[r]![c]
      if (!cell) return "<td></td>"
      const text = `${map.of} ${column.label}, ${row.component}, ${row.label}: ${size(cell.bytes)} in ${count(cell.chunks)} chunk${cell.chunks === 1 ? "" : "s"}`
      const weight = 25 + Math.round(75 * Math.sqrt(cell.bytes / most))
      return `<td tabindex="-1" class="h${hueOf(i, row.component)}" style="--w:${weight}%" data-cell="${subject},${r},${c}" data-tip="${esc(text)}" aria-label="${esc(text)}"></td>`
    }).join("")
    return `<tr${first ? ' class="first"' : ""}><th scope="row"><b>${first ? esc(row.component) : `<span class="hidden">${esc(row.component)}</span>`}</b> ${esc(row.label)}</th>${cells}</tr>`
  }).join("\n")
  return `<div class="scroll"><table class="map" role="grid" data-rove tabindex="0" aria-label="which ${map.of} holds what">` +
    `<thead><tr><th scope="col">${map.of === "rank" ? "layer \\ rank" : "layer \\ file"}</th>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div>` +
    `<div class="detail" id="map${subject}" role="status"><p>Point at a cell, or focus the map and walk with the arrow keys: the slices it holds are listed here.</p></div>`
}
