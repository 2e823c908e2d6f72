/** What all parts of the page's script use: the data, numbers, names, elements. */
export const BASE = String.raw`
const D = JSON.parse(document.getElementById("data").textContent)
const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"]
const size = (n) => { let u = 0, v = n; while (v >= 999.5 && u < 5) { v /= 1000; u++ } return u ? v.toPrecision(3) + " " + UNITS[u] : Math.round(n) + " B" }
const count = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u2009")
const clean = (s) => s.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"))
const name = (row, from) => { const p = D.names[row[from]]; let s = p[0]; for (let k = 1; k < p.length; k++) s += row[from + k] + p[k]; return clean(s) }
const el = (tag, text, cls) => { const e = document.createElement(tag); if (text !== undefined) e.textContent = text; if (cls) e.className = cls; return e }
const items = (all, most, text) => { const u = el("ul"); for (const i of all.slice(0, most)) u.append(el("li", text(i))); if (all.length > most) u.append(el("li", "… " + count(all.length) + " in all")); return u }
// Tensors are numbered through all subjects.
const starts = []
{ let n = 0; for (const S of D.subjects) { starts.push(n); n += S.t.length } }
const subjectOf = (ref) => { let s = starts.length - 1; while (s > 0 && starts[s] > ref) s--; return [s, ref - starts[s]] }
const NAME = 3
const tensorName = (S, k) => name(S.t[k], NAME)
const refName = (ref) => { if (typeof ref !== "number") return name(ref, 0); const [s, k] = subjectOf(ref); return tensorName(D.subjects[s], k) }
const kindOf = (S, k) => S.kinds[S.t[k][0]]
// Numbers as 0-3,7.
const ranges = (numbers) => {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b), out = []
  for (let i = 0; i < sorted.length;) { let end = i; while (end + 1 < sorted.length && sorted[end + 1] === sorted[end] + 1) end++; out.push(end === i ? sorted[i] : sorted[i] + (end === i + 1 ? "," : "-") + sorted[end]); i = end + 1 }
  return out.join(",")
}
`
