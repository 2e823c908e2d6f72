/** Text that came from files, made safe for a page. */
import { safeJson } from "../../quote.ts"
import { countText, sizeText } from "../numbers.ts"

/** The strings that stand in attributes and elements; a page is cleaned of control characters before. */
export const esc = (text: string | number): string =>
  String(text)
    .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;")

/** JSON that may stand in a script element: no `<`, so neither `</script>` nor `<!--` can occur; nothing that turns text around. */
export const scriptJson = (value: unknown): string =>
  safeJson(value).replaceAll("<", "\\u003c")

/** A number with its exact value beside the rounded text; `key` names it as `inspect --json` does. */
const datum = (key: string, value: number, text: string): string =>
  `<data data-key="${esc(key)}" value="${value}" title="${esc(countText(value))}">${esc(text)}</data>`

export const bytesDatum = (key: string, value: number): string => datum(key, value, sizeText(value))
export const countDatum = (key: string, value: number): string => datum(key, value, countText(value))

export interface Column {
  readonly head: string
  /** Right-aligned, tabular digits. */
  readonly number?: true
}

/**
 * Cells are HTML already. `caption` is read out, not shown. Where the page is narrow every row is a block with the heads beside its
 * cells, which takes the native roles away: they are given explicitly.
 */
export const htmlTable = (caption: string, columns: ReadonlyArray<Column>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const at = (k: number): string => (columns[k]?.number ? ' class="n"' : "")
  const head = columns.map((c, k) => `<th role="columnheader" scope="col"${at(k)}>${esc(c.head)}</th>`).join("")
  // Beside its head a cell is one thing, a text or an element.
  const cell = (html: string, k: number) =>
    k === 0 ? `<th role="rowheader" scope="row">${html}</th>` : `<td role="cell"${at(k)} data-head="${esc(columns[k]?.head ?? "")}">${/<(?!\/?data\b)/.test(html) ? `<span>${html}</span>` : html}</td>`
  const body = rows.map((row) => `<tr role="row">${row.map(cell).join("")}</tr>`).join("\n")
  return `<div class="scroll" tabindex="0" role="group" aria-label="${esc(caption)}"><table role="table" class="rows"><caption class="hidden">${esc(caption)}</caption>` +
    `<thead role="rowgroup"><tr role="row">${head}</tr></thead><tbody role="rowgroup">\n${body}\n</tbody></table></div>`
}

/** A name that may break behind dots. */
export const code = (name: string): string => `<code>${esc(name).replaceAll(".", ".<wbr>")}</code>`

/** The name of a class, which may break where a capital begins. */
export const className = (name: string): string => esc(name).replaceAll(/(?<=[a-z\d])(?=[A-Z])/g, "<wbr>")

/** What is shown when it has the pointer or the focus. */
export const tip = (text: string): string => `tabindex="-1" role="img" data-tip aria-label="${esc(text)}"`
