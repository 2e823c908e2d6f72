/** Long folded lists: only the lines in sight exist. A group is one line until it is opened. */
export const LISTS = String.raw`
const narrow = matchMedia("(max-width: 640px)")
// Most tensors that a filter finds are shown opened.
const OPENED = 200
const rowsOfRuns = (runs) => { const out = []; for (let k = 0; k < runs.length; k += 3) for (let n = 0; n < runs[k + 2]; n++) out.push(runs[k] + n * runs[k + 1]); return out }

// texts(row): the cells of a row; pass(row, values): the selects; detail(row, out): what is said of a row that is picked.
const foldedList = (id, { count: all, nameOf, texts, pass, match, detail }) => {
  const root = document.getElementById(id), packed = D.lists[id]
  if (!root || !packed) return
  const box = root.querySelector(".list"), inner = box.firstElementChild, form = root.querySelector("form"), said = root.querySelector("output"), under = root.querySelector(".detail"), head = root.querySelector(".heads")
  const columns = packed.columns, groups = packed.groups.map(([label, cells, runs]) => ({ label: clean(label), cells: cells.map(clean), rows: rowsOfRuns(runs), open: false }))
  // Columns as wide as their longest text, up to a point.
  const widths = columns.map(([text]) => text.length)
  for (const g of groups) [g.label + (g.rows.length > 1 ? "xxxxxxx" : ""), ...g.cells].forEach((text, k) => { widths[k] = Math.max(widths[k], text.length) })
  const ems = widths.map((w) => Math.min(w, 84) * 0.56 + 1), template = ems.map((w) => w.toFixed(1) + "em").join(" ")
  let lines = [], at = -1, kept, LINE = 26
  // Where there is no room for columns a line has two rows: the end of the name, and the other cells.
  const lay = () => {
    LINE = narrow.matches ? 48 : 26
    inner.style.width = narrow.matches ? "100%" : ems.reduce((a, b) => a + b + 1, 2).toFixed(1) + "em"
    head.style.gridTemplateColumns = narrow.matches ? "1fr" : template
    head.replaceChildren(...(narrow.matches ? columns.slice(0, 1) : columns).map(([text, number]) => el("span", text, number ? "n" : "")))
  }
  const unfold = () => {
    lines = []
    for (const [g, group] of groups.entries()) {
      const rows = kept ? kept[g] : group.rows
      if (!rows.length) continue
      if (group.rows.length === 1) { lines.push([g, rows[0], 1]); continue }
      lines.push([g, -1, 1])
      if (group.open) for (const row of rows) lines.push([g, row, 2])
    }
  }
  const lineOf = (i) => {
    const [g, row, level] = lines[i], group = groups[g], line = el("div", undefined, "line"), shown = kept ? kept[g].length : group.rows.length
    line.style.top = i * LINE + 26 + "px"; line.style.height = LINE + "px"; line.style.gridTemplateColumns = narrow.matches ? "1fr" : template
    line.id = box.id + "-" + i; line.dataset.i = i
    const said = { role: "treeitem", "aria-level": level, "aria-selected": i === at, ...(row < 0 ? { "aria-expanded": group.open } : {}), "aria-setsize": lines.length, "aria-posinset": i + 1 }
    for (const k in said) line.setAttribute(k, String(said[k]))
    const cells = row < 0 ? [(group.open ? "▾ " : "▸ ") + group.label + "  × " + count(shown), ...group.cells] : [(level === 2 ? "   " : "") + nameOf(row), ...(group.rows.length === 1 ? group.cells : texts(row))]
    if (narrow.matches) {
      const [first, ...rest] = cells, end = el("span", undefined, "end" + (row < 0 ? " fold" : ""))
      end.title = first.trim(); end.append(el("bdi", first)); line.append(end, el("span", rest.filter(Boolean).join(" · "), "soft"))
    } else cells.forEach((text, k) => { const span = el("span", text, columns[k][1] ? "n" : row < 0 && k === 0 ? "fold" : ""); span.title = text.trim(); line.append(span) })
    return line
  }
  const draw = () => {
    const first = Math.max(0, Math.floor(box.scrollTop / LINE) - 8), last = Math.min(lines.length, first + Math.ceil(box.clientHeight / LINE) + 16)
    inner.style.height = lines.length * LINE + 26 + "px"
    inner.replaceChildren(head, ...Array.from({ length: Math.max(0, last - first) }, (_, k) => lineOf(first + k)))
    if (at >= first && at < last) box.setAttribute("aria-activedescendant", box.id + "-" + at)
    else box.removeAttribute("aria-activedescendant")
  }
  const reveal = () => {
    if (at * LINE < box.scrollTop) box.scrollTop = at * LINE
    else if ((at + 1) * LINE + 26 > box.scrollTop + box.clientHeight) box.scrollTop = (at + 1) * LINE + 26 - box.clientHeight
  }
  const pick = (i) => {
    if (!lines.length) return
    at = Math.max(0, Math.min(lines.length - 1, i))
    reveal(); draw()
    const [g, row] = lines[at], group = groups[g], shown = kept ? kept[g] : group.rows
    under.replaceChildren()
    if (row < 0) under.append(el("p", group.label, "what"), el("p", count(shown.length) + " tensors like the first, " + nameOf(shown[0]), "soft"))
    detail(row < 0 ? shown[0] : row, under, row < 0)
  }
  const toggle = (i, open) => {
    const [g, row] = lines[i]
    if (row >= 0 || groups[g].open === open) return
    groups[g].open = open; unfold(); draw()
  }
  const filter = () => {
    const values = Object.fromEntries(new FormData(form))
    const text = (values.q || "").trim(), glob = /[*?]/.test(text)
    const parts = text.toLowerCase().split(glob ? /\s{2,}/ : /\s+/).filter(Boolean)
    const test = glob ? ((re) => (s) => re.test(s))(new RegExp(text.replace(/[.+^$()|[\]{}\\]/g, "\\$&").replace(/\*+/g, ".*").replace(/\?/g, "."), "i")) : (s) => { const l = s.toLowerCase(); return parts.every((p) => l.includes(p)) }
    const wanted = text || Object.values(values).some(Boolean)
    kept = wanted ? groups.map((g) => pass(g.rows[0], values) ? text ? g.rows.filter((r) => match(r, test)) : g.rows : []) : undefined
    const found = kept ? kept.reduce((n, rows) => n + rows.length, 0) : all
    for (const g of groups) g.open = Boolean(text) && found <= OPENED
    at = -1; box.scrollTop = 0; unfold()
    said.textContent = (wanted ? count(found) + " of " : "") + count(all) + " tensors" + (lines.length < found ? " in " + count(lines.length) + " lines" : "")
    draw()
  }
  form.addEventListener("input", filter)
  form.addEventListener("submit", (e) => e.preventDefault())
  box.addEventListener("scroll", draw, { passive: true })
  box.addEventListener("click", (e) => { const line = e.target.closest(".line"); if (!line) return; const i = Number(line.dataset.i), row = lines[i][1]; pick(i); if (row < 0) toggle(i, !groups[lines[i][0]].open) })
  box.addEventListener("keydown", (e) => {
    const page = Math.floor(box.clientHeight / LINE), step = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -1e9, End: 1e9 }[e.key]
    if (step !== undefined) { e.preventDefault(); pick(at + step) }
    else if (at >= 0 && /^(ArrowRight|ArrowLeft|Enter| )$/.test(e.key)) { e.preventDefault(); toggle(at, e.key === "ArrowRight" || (e.key !== "ArrowLeft" && !groups[lines[at][0]].open)) }
  })
  new ResizeObserver(draw).observe(box)
  narrow.addEventListener("change", () => { lay(); draw() })
  lay(); filter()
  // Shown by another part of the page.
  return { show: (row) => { form.reset(); filter(); const g = groups.findIndex((x) => x.rows.includes(row)); if (g < 0) return; groups[g].open = true; unfold(); pick(lines.findIndex((l) => l[1] === row)) } }
}
`
