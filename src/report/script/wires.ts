/** Every list of the page with its rows: tensors of a subject, coverage, verification, differences. */
export const WIRES = String.raw`
const ROLES = ["", ", kept beside the model", ", training state"]
const whereOf = (S, k) => { const l = S.lists[S.t[k][2]]; return l.length === 1 ? clean(S.files[l[0]]) : l.length + " files" }
D.subjects.forEach((S, s) => {
  foldedList("tensors" + s, {
    count: S.t.length,
    nameOf: (k) => tensorName(S, k),
    texts: (k) => { const [dtype, shape, component, bytes] = kindOf(S, k); return [dtype, shape, size(bytes), clean(component), whereOf(S, k)] },
    pass: (k, v) => { const [dtype, , component] = kindOf(S, k); return (!v.component || component === v.component) && (!v.dtype || dtype === v.dtype) },
    match: (k, test) => test(tensorName(S, k)),
    detail: (k, out) => {
      const [dtype, shape, , bytes, role] = kindOf(S, k), b = S.b && S.b[k], chunks = [], n = S.t[k][1]
      if (b) for (let j = 0; j < b.length; j += 6) chunks.push(j)
      out.append(el("p", tensorName(S, k), "what"), el("p", dtype + " [" + shape + "], " + count(bytes) + " bytes, " + count(n) + (n === 1 ? " chunk" : " chunks") + ROLES[role], "soft"))
      out.append(b ? items(chunks, 200, (j) => "[" + clean(S.boxes[b[j]]) + "]  " + clean(S.files[b[j + 1]]) + ", bytes " + count(b[j + 2]) + " to " + count(b[j + 2] + b[j + 3])) : items(S.lists[S.t[k][2]], 200, (f) => clean(S.files[f])))
      out.append(pictures(byTarget.get(starts[s] + k)))
    }
  })
})
if (C) {
  const covered = foldedList("coverage-list", {
    count: C.r.length,
    nameOf: (k) => refName(C.r[k][3]),
    texts: (k) => { const r = C.r[k]; return [C.fates[r[0]], clean(C.hows[r[1]]), size(r[2]), r.length === 4 ? "—" : refName(r[4]) + (r.length > 5 ? "  + " + (r.length - 5) + " more" : "")] },
    pass: (k, v) => !v.fate || C.fates[C.r[k][0]] === v.fate,
    match: (k, test) => test(refName(C.r[k][3])) || C.r[k].slice(4).some((key) => test(refName(key))),
    detail: (k, out) => {
      const r = C.r[k]
      out.append(el("p", refName(r[3]), "what"), el("p", C.fates[r[0]] + ": " + clean(C.hows[r[1]]) + ", " + count(r[2]) + " bytes", "soft"))
      if (bySource.has(k)) out.append(pictures(bySource.get(k)))
      else out.append(items(r.slice(4), 200, (key) => refName(key)))
    }
  })
  // A mapping of several boxes says more than a copy: it is shown first.
  const telling = C.m.find((made) => made[2].length > 1) || C.m[0]
  if (covered && telling && telling[2][0] >= 0) covered.show(telling[2][0])
}
// Rows of texts, the name first.
const plainList = (id, rows, columns, filters, more) => rows && foldedList(id, {
  count: rows.length,
  nameOf: (k) => clean(rows[k][0]),
  texts: (k) => columns.map((c) => { const v = rows[k][c]; return v === null ? "" : typeof v === "number" ? count(v) : clean(v) }),
  pass: (k, v) => filters.every(([field, c]) => !v[field] || rows[k][c] === v[field]),
  match: (k, test) => test(rows[k][0]),
  detail: (k, out) => { out.append(el("p", clean(rows[k][0]), "what"), ...more(rows[k]).map((text) => el("p", clean(text), "soft"))) }
})
plainList("verify-list", D.verify, [1, 2, 3, 4, 5], [["fate", 1]], (r) => [r[1] + (r[5] ? ": " + r[5] : ""), ...(r[6] ? ["first difference: " + r[6]] : [])])
plainList("diff-list", D.diff, [1, 2, 3, 4, 5, 6], [["kind", 1], ["component", 7]], (r) => [
  r[1] + ", " + r[7], "left " + r[5] + ", right " + r[6], ...(r[4] === null ? [] : [count(r[4]) + " of " + count(r[8]) + " elements differ" + (r[3] ? ", by at most " + r[3] : "")]), ...(r[2] ? ["‖a − b‖ / ‖a‖ = " + r[2]] : [])
])
`
