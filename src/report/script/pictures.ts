/** The picture of a mapping: boxes of source tensors, the boxes of the stored tensor they become, and the cuts between ranks. */
export const PICTURES = String.raw`
const SVG = "http://www.w3.org/2000/svg"
const shape = (tag, attributes) => { const e = document.createElementNS(SVG, tag); for (const k in attributes) e.setAttribute(k, attributes[k]); return e }
const C = D.coverage
// How parameters are made, by source row and by stored tensor.
const bySource = new Map(), byTarget = new Map()
const note = (map, key, m) => { const own = map.get(key); if (own) { if (own[own.length - 1] !== m) own.push(m) } else map.set(key, [m]) }
if (C) C.m.forEach((made, m) => { for (const r of made[2]) note(bySource, r, m); for (const part of made[3]) if (typeof part[0] === "number") note(byTarget, part[0], m) })

const boxOf = (text) => text.split(", ").map((axis) => axis.split(":").map(Number))
// Boxes of the chunks of a parameter, in its own rows and columns: [y, x, height, width, file].
const cutsOf = ([, , , parts], picture) => {
  const [rows, columns, shapeText, rank] = picture.t, sizes = shapeText ? shapeText.split(" × ").map(Number) : [], out = []
  for (const [ref, from, to, ...at] of parts) {
    if (typeof ref !== "number") continue
    const [s, k] = subjectOf(ref), S = D.subjects[s]
    if (!S.b) return []
    const b = S.b[k], lead = at.length - rank
    for (let j = 0; j < b.length; j += 6) {
      const box = boxOf(S.boxes[b[j]])
      if (box.length !== at.length || box.slice(0, lead).some(([low, high], a) => at[a] < low || at[a] >= high)) continue
      const own = box.slice(lead).map(([low, high], a) => { const shift = at[lead + a] - (a === 0 ? from : 0), most = a === 0 && to >= 0 ? to : sizes[a]; return [Math.max(a === 0 ? from : 0, low - shift), Math.min(most, high - shift)] })
      if (own.some(([low, high]) => low >= high)) continue
      // Rows are the leading axes together, columns the others: a cut is drawn where it is one rectangle.
      let inner = 1, split = rank
      while (split > 1 && inner * sizes[split - 1] <= columns) inner *= sizes[--split]
      if (rank === 1) split = 1
      const flat = (axes, extents) => axes.reduce((n, [low], a) => n * extents[a] + low, 0)
      const [rowAxes, columnAxes] = [own.slice(0, split), own.slice(split)]
      const height = rowAxes.reduce((n, [low, high]) => n * (high - low), 1), width = columnAxes.reduce((n, [low, high]) => n * (high - low), 1)
      out.push([flat(rowAxes, sizes.slice(0, split)), flat(columnAxes, sizes.slice(split)), height, width, clean(S.files[b[j + 1]])])
    }
  }
  return out
}
const [PLANE, TALL, GAP, MIDDLE] = [150, 240, 14, 120]
const showBand = (target) => { const root = target.closest(".picture"); for (const e of root.querySelectorAll("[data-band]")) e.classList.toggle("lit", e.dataset.band === target.dataset.band) }
const span = (from, n) => n === 1 ? String(from) : from + "–" + (from + n - 1)

// Names under a heading; what they have in common stands once.
const MOST_NAMES = 12
const sideOf = (title, names, shapeOf, inkOf) => {
  const root = el("div"), list = el("ul", undefined, "legend"), first = names[0].split(".")
  let common = 0
  while (names.length > 1 && common < first.length - 1 && names.every((n) => n.split(".")[common] === first[common])) common++
  root.append(el("b", title))
  if (common > 0) root.append(el("p", first.slice(0, common).join(".") + "."))
  names.slice(0, MOST_NAMES).forEach((n, k) => { const li = el("li"); if (inkOf) li.append(el("i", undefined, inkOf(k))); li.append((common > 0 ? n.split(".").slice(common).join(".") : n) + " ", el("span", shapeOf(k))); list.append(li) })
  if (names.length > MOST_NAMES) list.append(el("li", "… " + count(names.length) + " in all"))
  root.append(list)
  return root
}

const drawPicture = (m) => {
  const made = C.m[m], P = C.pictures[made[0]], sources = made[2].map((r) => r < 0 ? "?" : refName(C.r[r][3])), parts = made[3]
  const targets = [...new Map(parts.map(([ref, from, to, ...at]) => { const n = refName(ref); return [n + at.slice(0, at.length - P.t[3]), { name: n, at, rows: to < 0 ? -1 : to - from }] })).values()]
  const rows = P.s.reduce((n, s) => n + s[0], 0), free = TALL - GAP * (P.s.length - 1)
  const heights = P.s.map((s) => Math.max(10, Math.min(free, (s[0] / rows) * free))), sum = heights.reduce((a, b) => a + b, 0)
  const scaled = heights.map((h) => h * free / sum), tops = []
  scaled.reduce((y, h, k) => { tops[k] = y; return y + h + GAP }, 0)
  const svg = shape("svg", { viewBox: "0 0 " + (2 * PLANE + MIDDLE + 84) + " " + (TALL + 4), role: "group", "data-rove": "", tabindex: 0, "aria-label": P.n + (P.n === 1 ? " box becomes a box" : " boxes become boxes") + " of the stored tensor" })
  const X = PLANE + MIDDLE
  const plane = (x, y, h) => shape("rect", { class: "plane", x, y: y + 2, width: PLANE, height: h })
  P.s.forEach((_, k) => svg.append(plane(0, tops[k], scaled[k])))
  svg.append(plane(X, 0, TALL))
  const rectangle = (x0, y0, H, W, R, [y, x, h, w]) => [x0 + x / W * PLANE, y0 + 2 + y / R * H, w / W * PLANE, Math.max(0.6, h / R * H)]
  const say = ([y, x, h, w], R, W) => "rows " + span(y, h) + (w === W ? "" : ", columns " + span(x, w))
  const texts = P.b.map((b, n) => {
    const s = b[0], from = b.slice(1, 5), to = b.slice(5, 9), source = P.s[s]
    const a = rectangle(0, tops[s], scaled[s], source[1], source[0], from), z = rectangle(X, 0, TALL, P.t[1], P.t[0], to), ink = "s" + s % 6 + (Math.floor(b[1] / b[3]) % 2 ? " odd" : "")
    const text = say(from, source[0], source[1]) + " of " + sources[s] + " become " + say(to, P.t[0], P.t[1]) + " of " + (targets.length === 1 ? targets[0].name : "the parameter") + (b[9] ? ", with changed values" : "")
    svg.append(shape("path", { class: "flow " + ink, "data-band": n, d: "M" + (a[0] + a[2]) + " " + a[1] + "L" + z[0] + " " + z[1] + "V" + (z[1] + z[3]) + "L" + (a[0] + a[2]) + " " + (a[1] + a[3]) + "Z" }))
    for (const [q, main] of [[a, 1], [z, 0]]) svg.append(shape("rect", { class: "band " + ink, x: q[0], y: q[1], width: q[2], height: q[3], "data-band": n, ...(main ? { "data-tip": "", tabindex: -1, role: "img", "aria-label": text } : { "data-tip": "", "aria-hidden": "true", "aria-label": text }) }))
    return text
  })
  const cuts = cutsOf(made, P), seen = new Map()
  for (const cut of cuts) {
    const q = rectangle(X, 0, TALL, P.t[1], P.t[0], cut), file = cut[4], known = seen.get(file)
    svg.append(shape("rect", { class: "cut", x: q[0], y: q[1], width: q[2], height: q[3] }))
    if (known) known.push(q); else seen.set(file, [q])
  }
  if (cuts.length > 1 && cuts.length <= 24) for (const cut of cuts) {
    const q = rectangle(X, 0, TALL, P.t[1], P.t[0], cut), rank = /__(\d+)_\d+\.distcp$/.exec(cut[4])
    if (q[3] < 11 || q[2] < PLANE - 1) continue
    const label = shape("text", { x: X + PLANE + 8, y: q[1] + q[3] / 2 + 4 }); label.textContent = rank ? "rank " + rank[1] : cut[4].slice(-12); svg.append(label)
  }
  const root = el("div", undefined, "picture")
  root.append(el("p", "mapping: " + clean(C.kinds[made[1]]) + (cuts.length > 1 ? "; dashed: " + cuts.length + " chunks in " + seen.size + (seen.size === 1 ? " file" : " files") : ""), "soft"), svg)
  const sides = el("div", undefined, "sides")
  sides.append(
    sideOf("Hugging Face: source boxes", sources, (k) => "[" + P.s[k][2] + "]", (k) => "s" + k % 6),
    sideOf("Megatron: target box", targets.map((t) => t.name), (k) => { const { at, rows: n } = targets[k], lead = at.length - P.t[3]; return (lead > 0 ? "at [" + at.slice(0, lead).join(", ") + "] " : "") + "[" + (n < 0 ? P.t[2] : [n, ...P.t[2].split(" × ").slice(1)].join(" × ")) + "]" })
  )
  root.append(sides)
  const words = el("details"); words.append(el("summary", "The boxes in words"), items(texts, 60, (t) => t))
  if (P.n > P.b.length) words.append(el("p", count(P.n) + " boxes in all; the first " + P.b.length + " are drawn", "soft"))
  root.append(words)
  return root
}
// Several parameters share a tensor (packed experts): one is drawn, the others can be stepped to.
const pictures = (all) => {
  const root = el("div")
  if (!all || !all.length) return root
  const box = el("div"); let at = 0
  const show = () => { box.replaceChildren(drawPicture(all[at])) }
  if (all.length > 1) {
    const bar = el("p", undefined, "steps"), back = el("button", "‹ previous"), on = el("button", "next ›"), said = el("span")
    const move = (by) => { at = (at + by + all.length) % all.length; say(); show() }
    const say = () => { said.textContent = "parameter " + count(at + 1) + " of " + count(all.length) }
    back.type = on.type = "button"; back.addEventListener("click", () => move(-1)); on.addEventListener("click", () => move(1)); say()
    bar.append(back, said, on); root.append(bar)
  }
  show(); root.append(box)
  return root
}
`
