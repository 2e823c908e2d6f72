/** The drawings: proportional bars, chunk strips, the plot of layers. Each shape carries its text; arrow keys walk through them. */
import type { FileRow } from "../../inspect/Inspection.ts"
import { type LayerPlot, PARTS, type PlotStack } from "../model/layerPlot.ts"
import type { DrawnSegment } from "../model/segments.ts"
import { countText, sizeText } from "../numbers.ts"
import { esc, tip } from "./html.ts"

/** Class of a colour: of a component, of a dtype, of a part of a layer. They are told apart by hue, by tone and by pattern. */
export type Ink = string

/** Hues that stay apart for most kinds of colour blindness; the text beside them says the same. The last is for what is no part of the model. */
const HUES = 7

export const componentInk = (components: ReadonlyArray<string>, name: string): Ink => {
  if (name === "hf_source" || name === "training") return `h${HUES}`
  return `h${Math.max(0, components.indexOf(name)) % HUES}`
}

const TONES = 6
export const dtypeInk = (k: number): Ink => `d${k % TONES}`
const partInk = (k: number): Ink => `p${k}`

export interface BarShare {
  readonly label: string
  readonly bytes: number
  readonly ink: Ink
}

const WIDTH = 1000

export const legend = (entries: ReadonlyArray<{ readonly label: string; readonly ink: Ink; readonly value?: string }>): string =>
  `<ul class="legend">${entries.map((e) => `<li><i class="${e.ink}"></i>${esc(e.label)}${e.value === undefined ? "" : ` <span>${esc(e.value)}</span>`}</li>`).join("")}</ul>`

/** One bar, divided by bytes. */
export const bar = (title: string, shares: ReadonlyArray<BarShare>): string => {
  const total = shares.reduce((sum, s) => sum + s.bytes, 0)
  if (total === 0) return ""
  let at = 0
  const rects = shares.map(({ bytes, ink, label }) => {
    const width = (bytes / total) * WIDTH
    const rect = `<rect ${tip(`${label}: ${sizeText(bytes)}, ${((bytes / total) * 100).toFixed(1)} %`)} class="${ink}" x="${at.toFixed(2)}" width="${Math.max(0, width - 1).toFixed(2)}" height="22"/>`
    at += width
    return rect
  })
  return `<svg class="bar" role="group" data-rove tabindex="0" aria-label="${esc(title)}" viewBox="0 0 ${WIDTH} 22" preserveAspectRatio="none">${rects.join("")}</svg>` +
    legend(shares.map((s) => ({ label: s.label, ink: s.ink, value: sizeText(s.bytes) })))
}

const HEIGHT = 160

const stackFigure = ({ columns, component, label, layers, stack }: PlotStack, most: number, ink: Ink): string => {
  const gap = columns.length > 100 ? 0.04 : 0.16
  const drawn = columns.map((c, k) => {
    let y = HEIGHT
    const text = `${label} ${c.first === c.last ? c.first : `${c.first} to ${c.last}, on average`}: ${sizeText(c.total)}; ${PARTS.filter((p) => c.bytes[p] > 0).map((p) => `${p} ${sizeText(c.bytes[p])}`).join(", ")}`
    const rects = PARTS.map((p, n) => {
      const height = most === 0 ? 0 : (c.bytes[p] / most) * HEIGHT
      y -= height
      return height === 0 ? "" : `<rect class="${partInk(n)}" x="${k + gap / 2}" y="${y.toFixed(2)}" width="${(1 - gap).toFixed(2)}" height="${height.toFixed(2)}"/>`
    })
    return `<g ${tip(text)}><rect class="ground" x="${k}" y="0" width="1" height="${HEIGHT}"/>${rects.join("")}</g>`
  })
  return `<div class="stack ${ink}" style="flex:${columns.length} 1 ${Math.min(columns.length * 14, 240)}px"><svg role="group" data-rove tabindex="0" aria-label="${esc(`sizes of the ${layers} layers of ${stack}`)}" viewBox="0 0 ${columns.length} ${HEIGHT}" preserveAspectRatio="none">${drawn.join("")}</svg>` +
    `<p><b>${esc(label)}</b> <span class="soft">${esc(component)}, ${countText(layers)} ${layers === 1 ? "layer" : "layers"}</span></p></div>`
}

/** Sizes of all layers, on one scale. */
export const plot = ({ most, stacks }: LayerPlot, inkOf: (component: string) => Ink): string => {
  if (stacks.length === 0) return ""
  const used = PARTS.map((part, k) => ({ part, k })).filter(({ part }) => stacks.some((s) => s.columns.some((c) => c.bytes[part] > 0)))
  return `<div class="plot"><div class="ticks" aria-hidden="true"><span>${esc(sizeText(most))}</span><span>${esc(sizeText(most / 2))}</span><span>0</span></div>` +
    `<div class="stacks">${stacks.map((s) => stackFigure(s, most, inkOf(s.component))).join("")}</div></div>` +
    `<div class="shades">${legend(used.map(({ k, part }) => ({ label: part, ink: partInk(k) })))}</div>`
}

/** Where in a file the chunks lie, in the order of the bytes. */
export const strip = (file: FileRow, segments: ReadonlyArray<DrawnSegment>, inkOf: (component: string) => Ink): string => {
  const scale = WIDTH / Math.max(1, file.bytes)
  const rects = segments.map((s) => {
    const text = `bytes ${countText(s.begin)} to ${countText(s.end)}: ${s.first}${s.chunks > 1 ? ` and ${countText(s.chunks - 1)} more of ${s.component}` : ` (${s.component})`}`
    return `<rect ${tip(text)} class="${inkOf(s.component)}" x="${(s.begin * scale).toFixed(2)}" width="${Math.max(0.4, (s.end - s.begin) * scale - 0.3).toFixed(2)}" height="16"/>`
  })
  return `<svg class="strip" role="group" data-rove tabindex="0" aria-label="${esc(`chunks of ${file.name}`)}" viewBox="0 0 ${WIDTH} 16" preserveAspectRatio="none">${rects.join("")}</svg>`
}
