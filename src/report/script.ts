/**
 * The page's script, plain and inline: reads the packed tensors (pack.ts), draws long lists a screenful at a time, and shows
 * what has the pointer or the focus. It writes text nodes only, never markup. Without it all sums, drawings and grouped tables
 * are there.
 */
export const SCRIPT = String.raw`
(() => {
"use strict"
const D = JSON.parse(document.getElementById("data").textContent)
const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"]
const size = (n) => { let u = 0, v = n; while (v >= 999.5 && u < 5) { v /= 1000; u++ } return u ? v.toPrecision(3) + " " + UNITS[u] : n + " B" }
const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u2009")
const clean = (s) => s.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"))
const name = (row, from) => { const p = D.names[row[from]]; let s = p[0]; for (let k = 1; k < p.length; k++) s += row[from + k] + p[k]; return clean(s) }
const el = (tag, text, cls) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (cls) e.className = cls; return e }
const list = (items, most, text) => { const u = el("ul"); for (const i of items.slice(0, most)) u.append(el("li", text(i))); return u }

// What has the pointer or the focus says what it is.
const tip = el("div"); tip.id = "tip"; tip.hidden = true; document.body.append(tip)
const showTip = (e) => {
  const target = e.target.closest && e.target.closest("[data-tip]")
  if (!target) { tip.hidden = true; return }
  tip.textContent = target.dataset.tip; tip.hidden = false
  place(target)
  if (target.dataset.cell) cell(...target.dataset.cell.split(",").map(Number))
}
const place = (target) => {
  const r = target.getBoundingClientRect(), t = tip.getBoundingClientRect()
  const x = Math.max(4, Math.min(r.left + Math.min(r.width / 2, 40), innerWidth - t.width - 8)), y = target.dataset.cell || r.bottom + 8 + t.height > innerHeight ? r.top - t.height - 8 : r.bottom + 8
  tip.style.transform = "translate(" + x + "px," + Math.max(4, y) + "px)"
}
document.addEventListener("pointerover", showTip)
document.addEventListener("focusin", showTip)
document.addEventListener("focusout", () => { tip.hidden = true })
// Walking with the keys scrolls: what has the focus keeps its text.
document.addEventListener("scroll", () => {
  const focused = document.activeElement
  if (!tip.hidden && focused && focused.dataset && focused.dataset.tip) place(focused)
  else tip.hidden = true
}, { passive: true, capture: true })
document.addEventListener("keydown", (e) => {
  if (e.key === "Escape") tip.hidden = true
  const group = e.target.closest && e.target.closest("[data-rove]")
  if (!group || !/^(Arrow|Home|End)/.test(e.key)) return
  const grid = group.matches("table")
  const all = [...group.querySelectorAll("[data-tip]")]
  if (!all.length) return
  e.preventDefault()
  const at = all.indexOf(e.target)
  let next
  if (e.key === "Home") next = all[0]
  else if (e.key === "End") next = all[all.length - 1]
  else if (at < 0) next = all[0]
  else if (!grid || e.key === "ArrowLeft" || e.key === "ArrowRight") next = all[at + (/Right|Down/.test(e.key) ? 1 : -1)]
  else {
    const step = e.key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling", column = e.target.cellIndex
    let row = e.target.parentElement[step]
    while (row && !row.cells[column].dataset.tip) row = row[step]
    next = row && row.cells[column]
  }
  if (next) { next.focus(); next.scrollIntoView({ block: "nearest", inline: "nearest" }) }
})

// The slices of a cell of the map.
const cell = (s, r, c) => {
  const S = D.subjects[s], out = document.getElementById("map" + s), td = document.querySelector('[data-cell="' + s + "," + r + "," + c + '"]')
  const files = new Set(S.columns[c]), found = []
  let all = 0
  if (S.b) for (let k = 0; k < S.b.length; k++) {
    const b = S.b[k]
    for (let j = 0; j < b.length; j += 5) if (b[j + 4] === r && files.has(b[j + 1])) { all++; if (found.length < 200) found.push([k, b[j], b[j + 1]]) }
  }
  out.replaceChildren(el("p", td.dataset.tip))
  if (S.b) out.append(list(found, 200, ([k, box, f]) => name(S.t[k], 7) + "  " + S.dtypes[S.t[k][0]] + " [" + clean(S.boxes[box]) + "] of [" + S.shapes[S.t[k][1]] + "], " + clean(S.files[f])))
  if (all > found.length) out.append(el("p", "… " + count(all) + " chunks in all"))
}

// A long list: only the lines in sight exist. columns: [head, text(row), numeric]
const LINE = 26
const longList = (root, rows, columns, pass, detail) => {
  const box = root.querySelector(".list"), inner = box.firstElementChild, form = root.querySelector("form"), said = root.querySelector("output"), under = root.querySelector(".detail")
  // Columns as wide as their longest text, up to a point.
  const widths = columns.map((c) => { let most = c[0].length; for (const r of rows) most = Math.max(most, c[1](r).length); return Math.min(most, 84) * 0.56 + 1 })
  const template = widths.map((w) => w.toFixed(1) + "em").join(" "), head = root.querySelector(".heads")
  inner.style.width = widths.reduce((a, b) => a + b + 1, 2).toFixed(1) + "em"
  head.style.gridTemplateColumns = template
  for (const c of columns) head.append(el("span", c[0], c[2] ? "n" : ""))
  let shown = rows, at = -1
  const draw = () => {
    const first = Math.max(0, Math.floor(box.scrollTop / LINE) - 8), last = Math.min(shown.length, first + Math.ceil(box.clientHeight / LINE) + 16)
    inner.style.height = (shown.length + 1) * LINE + "px"
    inner.replaceChildren(head, ...Array.from({ length: Math.max(0, last - first) }, (_, k) => {
      const i = first + k, line = el("div", undefined, "line")
      line.style.top = (i + 1) * LINE + "px"; line.style.gridTemplateColumns = template
      line.id = box.id + "-" + i; line.setAttribute("role", "option"); line.setAttribute("aria-selected", String(i === at)); line.setAttribute("aria-setsize", String(shown.length)); line.setAttribute("aria-posinset", String(i + 1)); line.dataset.i = i
      for (const c of columns) { const text = c[1](shown[i]), span = el("span", text, c[2] ? "n" : ""); span.title = text; line.append(span) }
      return line
    }))
    if (at >= 0) box.setAttribute("aria-activedescendant", box.id + "-" + at)
    else box.removeAttribute("aria-activedescendant")
  }
  const pick = (i) => {
    if (!shown.length) return
    at = Math.max(0, Math.min(shown.length - 1, i))
    if (at * LINE < box.scrollTop) box.scrollTop = at * LINE
    else if ((at + 2) * LINE > box.scrollTop + box.clientHeight) box.scrollTop = (at + 2) * LINE - box.clientHeight
    draw(); detail(shown[at], under)
  }
  const filter = () => {
    const values = Object.fromEntries(new FormData(form))
    const text = (values.q || "").trim(), glob = /[*?]/.test(text)
    const parts = text.toLowerCase().split(glob ? /\s{2,}/ : /\s+/).filter(Boolean)
    const test = glob ? ((re) => (s) => re.test(s))(new RegExp(text.replace(/[.+^$()|[\]{}\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, "."), "i")) : (s) => { const l = s.toLowerCase(); return parts.every((p) => l.includes(p)) }
    shown = text || Object.values(values).some(Boolean) ? rows.filter((r) => pass(r, values, test)) : rows
    at = -1; box.scrollTop = 0; said.textContent = shown.length === rows.length ? count(rows.length) + " rows" : count(shown.length) + " of " + count(rows.length) + " rows"; draw()
  }
  form.addEventListener("input", filter)
  form.addEventListener("submit", (e) => e.preventDefault())
  box.addEventListener("scroll", draw, { passive: true })
  box.addEventListener("click", (e) => { const line = e.target.closest(".line"); if (line) pick(Number(line.dataset.i)) })
  box.addEventListener("keydown", (e) => {
    const page = Math.floor(box.clientHeight / LINE), step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 }[e.key]
    if (step !== undefined) { e.preventDefault(); pick(at + step) }
  })
  new ResizeObserver(draw).observe(box)
  filter()
}

D.subjects.forEach((S, s) => {
  const root = document.getElementById("tensors" + s)
  if (!root) return
  const where = (row) => { const l = S.lists[row[5]]; return l.length === 1 ? clean(S.files[l[0]]) : l.length + " files" }
  longList(root, S.t.map((_, k) => k), [
    ["name", (k) => name(S.t[k], 7)], ["dtype", (k) => S.dtypes[S.t[k][0]]], ["shape", (k) => S.shapes[S.t[k][1]]],
    ["size", (k) => size(S.t[k][3]), true], ["component", (k) => clean(S.components[S.t[k][2]])], ["in", (k) => where(S.t[k])]
  ], (k, v, test) => (!v.component || S.components[S.t[k][2]] === v.component) && (!v.dtype || S.dtypes[S.t[k][0]] === v.dtype) && test(name(S.t[k], 7)), (k, out) => {
    const row = S.t[k], b = S.b && S.b[k], chunks = []
    if (b) for (let j = 0; j < b.length; j += 5) chunks.push(j)
    out.replaceChildren(el("p", name(row, 7)), el("p", S.dtypes[row[0]] + " [" + S.shapes[row[1]] + "], " + count(row[3]) + " bytes, " + count(row[4]) + (row[4] === 1 ? " chunk" : " chunks") + (row[6] ? row[6] === 1 ? ", kept beside the model" : ", training state" : ""), "soft"))
    out.append(b ? list(chunks, 500, (j) => "[" + clean(S.boxes[b[j]]) + "]  " + clean(S.files[b[j + 1]]) + ", bytes " + count(b[j + 2]) + " to " + count(b[j + 2] + b[j + 3])) : list(S.lists[row[5]], 500, (f) => clean(S.files[f])))
  })
})

const C = D.coverage, covered = document.getElementById("coverage-list")
if (C && covered) {
  const to = (r) => r.length === 4 ? "—" : name(r[4], 0) + (r.length > 5 ? "  + " + (r.length - 5) + " more" : "")
  longList(covered, C.r, [
    ["source", (r) => name(r[3], 0)], ["fate", (r) => C.fates[r[0]]], ["how", (r) => clean(C.hows[r[1]])], ["size", (r) => size(r[2]), true], ["to", to]
  ], (r, v, test) => (!v.fate || C.fates[r[0]] === v.fate) && (test(name(r[3], 0)) || r.slice(4).some((k) => test(name(k, 0)))), (r, out) => {
    out.replaceChildren(el("p", name(r[3], 0)), el("p", C.fates[r[0]] + ": " + clean(C.hows[r[1]]) + ", " + count(r[2]) + " bytes", "soft"), list(r.slice(4), 1000, (k) => name(k, 0)))
  })
}
const V = D.verify, verified = document.getElementById("verify-list")
if (V && verified) longList(verified, V, [
  ["status", (r) => r[0]], ["tensor", (r) => clean(r[1])], ["elements", (r) => r[3] === null ? "" : count(r[3]), true],
  ["differing", (r) => r[4] === null ? "" : count(r[4]), true], ["by at most", (r) => r[5], true], ["detail", (r) => clean(r[2])]
], (r, v, test) => (!v.fate || r[0] === v.fate) && test(r[1]), (r, out) => {
  out.replaceChildren(el("p", clean(r[1])), el("p", r[0] + (r[2] ? ": " + clean(r[2]) : ""), "soft"))
  if (r[6]) out.append(el("p", "first difference: " + clean(r[6])))
})
})()
`
