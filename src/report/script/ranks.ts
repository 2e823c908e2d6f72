/** The detail box of a map: what a rank holds, what a cell holds; slices that differ in their numbers only are one line. */
export const RANKS = String.raw`
const pinned = new Map()
const unpin = (s) => { for (const [k, cell] of pinned) if (s === undefined || k === s) { cell.classList.remove("pinned"); pinned.delete(k) } }
const pin = (target) => {
  const s = Number(target.dataset.cell.split(",")[0]), again = pinned.get(s) === target
  unpin(s)
  if (again) return
  pinned.set(s, target); target.classList.add("pinned"); drawCell(target)
}
document.addEventListener("click", (e) => { const target = e.target.closest && e.target.closest("[data-cell]"); if (target) pin(target) })
const showCell = (target, focused) => {
  const s = Number(target.dataset.cell.split(",")[0])
  if (pinned.has(s) && pinned.get(s) !== target) { if (!focused) return; unpin(s) }
  drawCell(target)
}
// Chunks of a row that a column holds, by pattern, box and file.
const slices = (S, r, c) => {
  const held = new Set(S.columns[c]), hit = S.sets.map((set) => set.some((id) => held.has(id))), found = new Map()
  if (S.b) for (let k = 0; k < S.b.length; k++) {
    const b = S.b[k], t = S.t[k]
    for (let j = 0; j < b.length; j += 6) if (b[j + 4] === r && hit[b[j + 5]]) {
      const key = t[0] + "/" + t[NAME] + "/" + b[j] + "/" + b[j + 1]
      const own = found.get(key)
      if (own) own.rows.push(k); else found.set(key, { rows: [k], box: b[j], file: b[j + 1] })
    }
  }
  return [...found.values()]
}
const sliceName = (S, rows) => {
  const p = D.names[S.t[rows[0]][NAME]]
  let s = p[0]
  for (let k = 1; k < p.length; k++) { const seen = new Set(rows.map((i) => S.t[i][NAME + k])); s += (seen.size === 1 ? [...seen][0] : "{" + ranges(seen) + "}") + p[k] }
  return clean(s)
}
const MOST_SLICES = 200
const drawCell = (target) => {
  const [s, r, c] = target.dataset.cell.split(",").map(Number), S = D.subjects[s], out = document.getElementById("map" + s)
  const facts = S.facts[c].map((f, k) => el("p", clean(f), k ? "soft" : "what"))
  if (r < 0) { out.replaceChildren(...facts); return }
  const found = slices(S, r, c)
  out.replaceChildren(el("p", target.getAttribute("aria-label"), "what"), ...facts.slice(1, 2))
  if (!S.b) { out.append(el("p", "There are too many chunks to list.")); return }
  out.append(items(found, MOST_SLICES, ({ rows, box, file }) => sliceName(S, rows) + "  " + kindOf(S, rows[0])[0] + " [" + clean(S.boxes[box]) + "] of [" + kindOf(S, rows[0])[1] + "], " + clean(S.files[file]) + (rows.length > 1 ? "  × " + count(rows.length) : "")))
}
`
