/** Text that came from files, made safe for a page; and numbers as a reader wants them. */

import { safeJson } from "../quote.ts"

/** The strings that stand in attributes and elements; a page is cleaned of control characters before. */
export const esc = (text: string | number): string =>
  String(text)
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;")

/** JSON that may stand in a script element: no `<`, so neither `</script>` nor `<!--` can occur; nothing that turns text around. */
export const scriptJson = (value: unknown): string =>
  safeJson(value).replaceAll("<", "\\u003c")

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"]

/** Decimal units, three significant digits: `1.42 GB`. */
export const size = (n: number): string => {
  let [unit, value] = [0, n]
  while (value >= 999.5 && unit < UNITS.length - 1) [unit, value] = [unit + 1, value / 1000]
  return unit === 0 ? `${Math.round(n)} B` : `${value.toPrecision(3)} ${UNITS[unit]}`
}

/** Thin spaces between thousands. */
export const count = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, "\u2009")

/** A number with its exact value beside the rounded text; `key` names it as `inspect --json` does. */
export const datum = (key: string, value: number, text: string): string =>
  `<data data-key="${esc(key)}" value="${value}" title="${esc(count(value))}">${esc(text)}</data>`

export const bytesDatum = (key: string, value: number): string => datum(key, value, size(value))
export const countDatum = (key: string, value: number): string => datum(key, value, count(value))

export interface Column {
  readonly head: string
  /** Right-aligned, tabular digits. */
  readonly number?: true
}

/** Cells are HTML already. `caption` is read out, not shown. */
export const table = (caption: string, columns: ReadonlyArray<Column>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const at = (k: number): string => (columns[k]?.number ? ' class="n"' : "")
  const head = columns.map((c, k) => `<th scope="col"${at(k)}>${esc(c.head)}</th>`).join("")
  const body = rows.map((row) => `<tr>${row.map((cell, k) => (k === 0 ? `<th scope="row">${cell}</th>` : `<td${at(k)}>${cell}</td>`)).join("")}</tr>`).join("\n")
  return `<div class="scroll" tabindex="0" role="region" aria-label="${esc(caption)}"><table><caption class="hidden">${esc(caption)}</caption>` +
    `<thead><tr>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div>`
}

/** A name that may break behind dots. */
export const code = (name: string): string => `<code>${esc(name).replaceAll(".", ".<wbr>")}</code>`

/** The name of a class, which may break where a capital begins. */
export const className = (name: string): string => esc(name).replaceAll(/(?<=[a-z\d])(?=[A-Z])/g, "<wbr>")
