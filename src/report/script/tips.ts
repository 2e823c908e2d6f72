/** What has the pointer or the focus says what it is; arrow keys walk through the shapes of a drawing. */
export const TIPS = String.raw`
const tip = el("div"); tip.id = "tip"; tip.hidden = true; tip.setAttribute("aria-hidden", "true"); document.body.append(tip)
const place = (target) => {
  const r = target.getBoundingClientRect(), t = tip.getBoundingClientRect()
  const x = Math.max(4, Math.min(r.left + Math.min(r.width / 2, 40), innerWidth - t.width - 8)), y = target.dataset.cell || r.bottom + 8 + t.height > innerHeight ? r.top - t.height - 8 : r.bottom + 8
  tip.style.transform = "translate(" + x + "px," + Math.max(4, y) + "px)"
}
const showTip = (e) => {
  const target = e.target.closest && e.target.closest("[data-tip]")
  if (!target) { tip.hidden = true; return }
  tip.textContent = target.getAttribute("aria-label"); tip.hidden = false
  place(target)
  if (target.dataset.cell) showCell(target, e.type === "focusin")
  if (target.dataset.band) showBand(target)
}
document.addEventListener("pointerover", showTip)
document.addEventListener("focusin", showTip)
document.addEventListener("focusout", () => { tip.hidden = true })
// Walking with the keys scrolls: what has the focus keeps its text.
document.addEventListener("scroll", () => {
  const focused = document.activeElement
  if (!tip.hidden && focused && focused.dataset && "tip" in focused.dataset) place(focused)
  else tip.hidden = true
}, { passive: true, capture: true })
document.addEventListener("keydown", (e) => {
  if (e.key === "Escape") { tip.hidden = true; unpin() }
  const group = e.target.closest && e.target.closest("[data-rove]")
  if (!group || !/^(Arrow|Home|End|Enter)/.test(e.key)) return
  if (e.key === "Enter") { if (e.target.dataset.cell) pin(e.target); return }
  const grid = group.matches("table")
  const all = [...group.querySelectorAll("[data-tip]")]
  if (!all.length) return
  e.preventDefault()
  const at = all.indexOf(e.target)
  let next
  if (e.key === "Home") next = all[0]
  else if (e.key === "End") next = all[all.length - 1]
  else if (at < 0) next = all.find((cell) => cell.matches("td,rect,g")) || all[0]
  else if (!grid || e.key === "ArrowLeft" || e.key === "ArrowRight") next = all[at + (/Right|Down/.test(e.key) ? 1 : -1)]
  else {
    const rows = [...group.rows], column = e.target.cellIndex, step = e.key === "ArrowDown" ? 1 : -1
    let r = rows.indexOf(e.target.parentElement) + step
    while (rows[r] && !(rows[r].cells[column] && "tip" in rows[r].cells[column].dataset)) r += step
    next = rows[r] && rows[r].cells[column]
  }
  if (next) { next.focus(); next.scrollIntoView({ block: "nearest", inline: "nearest" }) }
})
// A box that does not scroll is no stop of the tab key.
const stops = new ResizeObserver((seen) => { for (const { target } of seen) { if (target.scrollWidth > target.clientWidth + 1 || target.scrollHeight > target.clientHeight + 1) target.tabIndex = 0; else target.removeAttribute("tabindex") } })
for (const box of document.querySelectorAll(".scroll[role]")) stops.observe(box)
`
