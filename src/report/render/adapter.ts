/** What adapters a checkpoint has, and how large the change of every module is, layer by layer. */
import type { AdapterFacts } from "../../adapters/survey/AdapterFacts.ts"
import { type AdapterGroup, adapterGroups, normsText, settingsText } from "../../adapters/survey/groups.ts"
import { countText } from "../numbers.ts"
import { code, esc, htmlTable, tip } from "./html.ts"

const HEIGHT = 22
const number = true as const

/** More bars than this are narrower than a pixel. */
const MOST_BARS = 512

/** A bar for each layer, on the scale of the whole picture. */
const bars = ({ leaf, modules, stack }: AdapterGroup, most: number): string => {
  const shown = modules.toSorted((a, b) => (a.layer ?? 0) - (b.layer ?? 0)).slice(0, MOST_BARS)
  const last = shown.reduce((highest, { layer = 0 }) => Math.max(highest, layer), 0)
  const rects = shown.map(({ layer = 0, module, norm = 0 }) => {
    const height = most === 0 ? 0 : Math.max((norm / most) * HEIGHT, norm > 0 ? 0.5 : 0)
    return `<g ${tip(`${module}: ‖ΔW‖ ${Number(norm.toPrecision(4))}`)}><rect class="ground" x="${layer}" y="0" width="1" height="${HEIGHT}"/><rect class="h0" x="${layer + 0.08}" y="${(HEIGHT - height).toFixed(2)}" width="0.84" height="${height.toFixed(2)}"/></g>`
  })
  return `<div class="stack"><svg class="strip" role="group" data-rove tabindex="0" aria-label="${esc(`changes of ${leaf} by layer${stack === undefined ? "" : ` of ${stack}`}`)}" viewBox="0 0 ${last + 1} ${HEIGHT}" preserveAspectRatio="none">${rects.join("")}</svg></div>`
}

/** The section of a checkpoint about its adapters; empty without any. */
export const adapterSection = (facts: AdapterFacts | undefined): string => {
  if (!facts) return ""
  const groups = adapterGroups(facts)
  const most = groups.reduce((highest, { norms }) => Math.max(highest, norms?.[1] ?? 0), 0)
  const untrained = facts.modules.filter(({ outputNorm }) => outputNorm === 0).length
  const targets = [...facts.targetModules, ...facts.targetParameters]
  const columns = [{ head: "modules" }, { head: "number", number }, { head: "rank", number }, { head: "in → out" }, { head: "scale", number }, { head: "‖ΔW‖", number }, { head: "by layer, on one scale" }]
  const rows = groups.map((group) => [
    code(`${group.stack === undefined ? "" : `${group.stack}.*.`}${group.leaf}`),
    countText(group.modules.length),
    String(group.rank),
    `${group.inputs} → ${group.outputs}${group.experts === undefined ? "" : `, ${group.experts} experts`}`,
    group.scale === undefined ? "unknown" : String(Number(group.scale.toPrecision(4))),
    group.norms ? esc(normsText(group.norms)) : "–",
    group.norms ? bars(group, most) : ""
  ])
  return `<h3>Adapter</h3><p>${esc([...settingsText(facts), `${countText(facts.parameters)} parameters`].join(", "))}.${facts.problem === undefined ? "" : ` <strong class="warn">${esc(facts.problem)}</strong>`}</p>` +
    (targets.length === 0 ? "" : `<p>Targets: ${targets.slice(0, 40).map(code).join(" ")}${targets.length > 40 ? ` … ${countText(targets.length)} in all` : ""}</p>`) +
    (untrained === 0 ? "" : `<p><strong class="warn">${untrained === facts.modules.length ? "B of every module is zero: this adapter changes nothing" : `B of ${countText(untrained)} of ${countText(facts.modules.length)} modules is zero: they change nothing`}.</strong></p>`) +
    (facts.unpaired.length === 0 ? "" : `<p><strong class="warn">Without their other half:</strong> ${facts.unpaired.slice(0, 20).map(code).join(" ")}</p>`) +
    htmlTable("adapter", columns, rows) +
    `<p class="soft">‖ΔW‖ is the Frobenius norm of the change that a merge adds to a weight${facts.form === "dora" ? ", before DoRA sets the lengths of rows" : ""}${facts.modules.some(({ scale }) => scale === undefined) ? "; without a known alpha that of B·A" : ""}.</p>`
}
