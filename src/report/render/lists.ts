/** The shells of long lists: a filter, a list that the script fills, and a place for the line that is picked. */
import type { FoldedList } from "../model/lists.ts"
import { countText } from "../numbers.ts"
import { code, esc, htmlTable } from "./html.ts"

const MOST_ROWS = 300

/** No more than a page has room for, and how many there are. */
export const limited = <T>(items: ReadonlyArray<T>, draw: (shown: ReadonlyArray<T>) => string, noun: string): string =>
  draw(items.slice(0, MOST_ROWS)) + (items.length > MOST_ROWS ? `<p>… ${countText(items.length)} ${noun} in all.</p>` : "")

const option = (value: string): string => `<option>${esc(value)}</option>`

const select = (name: string, label: string, values: ReadonlyArray<string>): string =>
  `<label>${esc(label)}<select name="${esc(name)}"><option value="">all</option>${values.map(option).join("")}</select></label>`

/** On screen the list itself; for paper, and without a script, its folded lines as a table. */
export const listFigure = ({ columns, filters, groups, id, label }: FoldedList, hint = "Pick a line for its details."): string => {
  const paper = limited(groups, (shown) => htmlTable(`${label}, by pattern`, [...columns, { head: "number", number: true }], shown.map((g) => [code(g.label), ...g.cells.map(esc), countText(g.rows.length)])), "patterns")
  return `<div class="screen" id="${id}"><form><label>Filter by name (* and ? are wild)<input type="search" name="q" autocomplete="off" spellcheck="false"></label>${filters.filter((f) => f.values.length > 1).map((f) => select(f.name, f.label, f.values)).join("")}<output aria-live="polite"></output></form>` +
    `<div class="beside-detail"><div class="list" id="${id}-box" tabindex="0" role="tree" aria-label="${esc(label)}"><div role="presentation"><div class="heads" role="presentation"></div></div></div>` +
    `<div class="detail" role="status" tabindex="0" aria-label="${esc(`details of ${label}`)}"><p>${esc(hint)} Lines with a number stand for tensors that differ in their numbers only: Enter, the right arrow key or a click opens them.</p></div></div></div>` +
    `<div class="paper">${paper}</div>`
}
