/** The page about a layout: which GPU has which part, what each stage holds, when it works. Pictures without a script. */
import { createHash } from "node:crypto"
import type { LayoutReport, LayoutScore } from "../planner/LayoutReport.ts"
import { cleaned } from "../quote.ts"
import { VERSION } from "../version.ts"
import { esc, htmlTable } from "./render/html.ts"
import { STYLE } from "./style/index.ts"

const OWN = `
.gpus{display:grid;gap:10px;margin:10px 0}.node{display:grid;grid-template-columns:5.5em repeat(auto-fill,minmax(74px,1fr));gap:4px;align-items:stretch}
.node b{align-self:center;font-weight:500;color:var(--soft)}
.gpu{border-radius:6px;padding:4px 6px;font-size:.8rem;line-height:1.25;background:color-mix(in srgb,var(--c) 28%,var(--bg));border:1px solid var(--c)}
.gpu.idle{background:none;border:1px dashed var(--line);color:var(--soft)}
.timeline{height:auto}.timeline text{fill:var(--fg);font:11px system-ui,sans-serif}.timeline .b{fill-opacity:.45}
.bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:4px 12px;align-items:center;margin:8px 0}
.stack{display:flex;height:20px;background:var(--panel);border-radius:4px;overflow:hidden}.stack i{display:block;background:var(--c);height:100%}
`

const sha256 = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`
const seconds = (n: number): string => (n >= 1 ? `${n.toFixed(3)} s` : `${(1000 * n).toFixed(1)} ms`)
const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`

/** Nodes that are drawn one by one; of more the first. */
const MOST_NODES = 32

const toneOf = (layout: LayoutScore["layout"], component: string): number => Math.max(0, layout.findIndex((row) => row.component === component))

const rangeOf = (ranks: string): readonly [number, number] => {
  const [first = 0, last = first] = ranks.split("-").map(Number)
  return [first, last]
}

/** What a rank is, in two short lines. */
const rankLines = (row: LayoutScore["layout"][number], rank: number): string => {
  const within = rank - rangeOf(row.ranks)[0]
  const tp = within % row.tp
  const dp = Math.floor(within / (row.tp * row.cp)) % row.dp
  const stage = Math.floor(within / (row.tp * row.cp * row.dp))
  const parts = [row.pp > 1 ? `stage ${stage}` : "", row.dp > 1 ? `dp ${dp}` : "", row.tp > 1 ? `tp ${tp}` : ""].filter((part) => part !== "")
  return `${esc(row.component)}<br>${parts.join(" ") || "&nbsp;"}`
}

const nodes = (score: LayoutScore, gpusPerNode: number): string => {
  const all = Math.ceil(score.allocated / gpusPerNode)
  const drawn = Array.from({ length: Math.min(all, MOST_NODES) }, (_, node) => {
    const cells = Array.from({ length: gpusPerNode }, (_unused, gpu) => {
      const rank = node * gpusPerNode + gpu
      const row = score.layout.find(({ ranks }) => rank >= rangeOf(ranks)[0] && rank <= rangeOf(ranks)[1])
      return row === undefined ? `<div class="gpu idle">idle<br>&nbsp;</div>` : `<div class="gpu h${toneOf(score.layout, row.component) % 8}" title="rank ${rank}">${rank} · ${rankLines(row, rank)}</div>`
    })
    return `<div class="node"><b>node ${node}</b>${cells.join("")}</div>`
  })
  return `<div class="gpus" role="img" aria-label="Ranks by node">${drawn.join("\n")}</div>${all > MOST_NODES ? `<p class="soft">and ${all - MOST_NODES} more nodes</p>` : ""}`
}

/** Pixels of a lane, and of the picture's width. */
const LANE = 24
const WIDTH = 1000
const LEFT = 120

const timelinePicture = (score: LayoutScore): string => {
  const end = Math.max(...score.timeline.map((e) => e.end))
  const path = [...score.stages].sort((a, b) => Number(a.component === "language" || a.component === "model") - Number(b.component === "language" || b.component === "model"))
  const x = (t: number): number => LEFT + ((WIDTH - LEFT) * t) / end
  const lanes = path.map((s, i) => `<text x="0" y="${i * LANE + 16}">${esc(`${s.component} ${s.stage}`)}</text>`)
  const boxes = score.timeline.map((e) => {
    const width = Math.max(0.5, x(e.end) - x(e.start) - 1)
    const label = width > 16 ? `<text x="${(x(e.start) + width / 2 - 3).toFixed(1)}" y="${e.stage * LANE + 16}">${e.microBatch}</text>` : ""
    return `<rect class="h${toneOf(score.layout, path[e.stage]!.component) % 8} ${e.kind === "backward" ? "b" : "f"}" x="${x(e.start).toFixed(1)}" y="${e.stage * LANE + 2}" width="${width.toFixed(1)}" height="${LANE - 5}" rx="2"><title>${e.kind} of microbatch ${e.microBatch}</title></rect>${label}`
  })
  return `<svg class="timeline" viewBox="0 0 ${WIDTH} ${path.length * LANE + 4}" role="img" aria-label="Timeline of the first microbatches">${lanes.join("")}${boxes.join("")}</svg>` +
    `<p class="soft">The first ${new Set(score.timeline.map((e) => e.microBatch)).size} of ${score.microBatches} microbatches, ${seconds(end)} as estimated; full colour: forward, pale: backward.</p>`
}

const MEMORY_PARTS = ["weights", "gradients", "optimizer", "activations", "logits", "communication"] as const

const memoryBars = (score: LayoutScore, usable: number): string => {
  const rows = score.memory.map((m) => {
    const parts = MEMORY_PARTS.map((part, i) => `<i class="h${i}" style="width:${((100 * m[part]) / Math.max(usable, m.total)).toFixed(2)}%" title="${part} ${gib(m[part])}"></i>`)
    return `<span>${esc(m.component)} ${m.stage}</span><div class="stack">${parts.join("")}</div><span>${gib(m.total)} of ${gib(usable)}</span>`
  })
  const legend = MEMORY_PARTS.map((part, i) => `<li><i class="h${i}"></i>${part}</li>`).join("")
  return `<div class="bars">${rows.join("\n")}</div><ul class="legend">${legend}</ul>`
}

const scoreSection = (id: string, title: string, score: LayoutScore, { gpusPerNode, usable }: LayoutReport): string => `<section id="${id}"><h2>${esc(title)}</h2>
<p><code>${esc(score.flags.join(" "))}</code></p>
<ul class="cards"><li><b>${seconds(score.stepSeconds)}</b><span>a step, estimated</span></li><li><b>${percent(score.bubble)}</b><span>bubble</span></li><li><b>${percent(score.memoryShare)}</b><span>of the fullest GPU, reserve included</span></li>
<li><b>${score.ranks} / ${score.allocated}</b><span>GPUs at work</span></li><li><b>${(1e6 * score.gpuSecondsPerToken).toFixed(1)} µs</b><span>GPU time per token</span></li></ul>
${score.idle > 0 ? `<p>${score.idle} idle: ${esc(score.idleBecause)}.</p>` : ""}
<h3>Ranks by node</h3>${nodes(score, gpusPerNode)}
<h3>Timeline</h3>${timelinePicture(score)}
<h3>Memory</h3>${memoryBars(score, usable)}
<h3>Stages, per microbatch</h3>${htmlTable("Stages", [{ head: "stage" }, { head: "compute", number: true }, { head: "tensor parallel", number: true }, { head: "expert parallel", number: true }, { head: "transfer", number: true }, { head: "all", number: true }],
  score.stages.map((s) => [`${esc(s.component)} ${s.stage}`, ...[s.compute, s.tensorParallel, s.expertParallel, s.transfer, s.total].map(seconds)]))}
</section>`

const ranking = (r: LayoutReport): string => {
  const rows = [
    ...(r.given?.score ? [["given", r.given.score] as const] : []),
    ...r.best.map((s, i) => [String(i + 1), s] as const),
    ...(r.standard ? [["one layout", r.standard] as const] : [])
  ]
  return htmlTable("Layouts", [{ head: "" }, { head: "layout" }, { head: "ranks", number: true }, { head: "idle", number: true }, { head: "step", number: true }, { head: "bubble", number: true }, { head: "memory", number: true }, { head: "GPU-µs/token", number: true }],
    rows.map(([name, s]) => [esc(name), esc(s.spelled), String(s.ranks), String(s.idle), seconds(s.stepSeconds), percent(s.bubble), percent(s.memoryShare), (1e6 * s.gpuSecondsPerToken).toFixed(1)]))
}

/** Draw the page. Pure: equal reports give equal bytes. */
export const renderLayoutPage = (given: LayoutReport): string => {
  const r = cleaned(given)
  const style = STYLE + OWN
  const policy = `default-src 'none'; style-src-elem ${sha256(style)}; style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'`
  const main = r.given?.score ?? r.best[0]
  const title = `Layout: ${r.architecture}`
  const sections = [
    ...(main ? [["layout", r.given?.score ? "The given layout" : "The best layout of components", main] as const] : []),
    ...(r.standard ? [["standard", "One model under one layout", r.standard] as const] : [])
  ]
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${esc(policy)}">
<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="referrer" content="no-referrer"><title>${esc(title)}</title><style>${style}</style></head>
<body><header><h1>${esc(title)}</h1><p class="soft">${esc(`${r.nodes} nodes of ${r.gpusPerNode} ${r.gpu}, sequences of ${r.seqLength}, global batch ${r.globalBatch} · megatron-mimo-bridge ${VERSION}`)}</p>
${(r.given?.broken ?? []).map((b) => `<p class="verdict bad">✗ rule ${b.rule}: ${esc(b.problem)} <span class="soft">(${esc(b.trainer)})</span></p>`).join("")}</header>
<main><section><h2>Layouts</h2>${ranking(r)}${r.notes.map((note) => `<p>${esc(note)}.</p>`).join("")}</section>
${sections.map(([id, text, score]) => scoreSection(id, text, score, r)).join("\n")}
${r.changes.length === 0 ? "" : `<section><h2>One change to the best</h2>${htmlTable("Changes", [{ head: "change" }, { head: "costs" }], r.changes.map((c) => [esc(c.change), c.broken ? `rule ${c.broken.rule}: ${esc(c.broken.problem)}` : `${c.cost! > 0 ? "+" : ""}${percent(c.cost!)}`]))}</section>`}
<section><h2>Refused</h2>${htmlTable("Refused layouts", [{ head: "rule", number: true }, { head: "layouts", number: true }, { head: "for example" }, { head: "because" }, { head: "the trainer" }],
    r.refused.map((x) => [String(x.rule), String(x.layouts), esc(x.example), esc(x.problem), esc(x.trainer)]))}</section>
</main><footer><p>Times are estimates from first principles, no GPU was asked; memory is counted from the model's tensors.</p></footer></body></html>
`
}
