/** Long lists folded: rows whose names differ in their numbers only, and that say the same, are one line until it is opened. */
import { ranges } from "../../inspect/tree.ts"

export interface FoldedGroup {
  /** Name with the numbers that vary as ranges: `layers.{0-3}.weight`. */
  readonly label: string
  /** What stands in the other columns. */
  readonly cells: ReadonlyArray<string>
  /** Indices of its rows, ascending. */
  readonly rows: ReadonlyArray<number>
}

const NUMBER = /(?<=\.)(?:0|[1-9]\d{0,8})(?=\.)/g

/** A name with `#` for its numbers. */
export const masked = (name: string): string => name.replaceAll(NUMBER, "#")

const labelOf = (names: ReadonlyArray<string>): string => {
  const [first] = names as unknown as [string]
  if (names.length === 1) return first
  const numbers = names.map((name) => name.match(NUMBER) ?? [])
  let at = 0
  return first.replaceAll(NUMBER, (own) => {
    const seen = new Set(numbers.map((n) => Number(n[at])))
    at++
    return seen.size === 1 ? own : `{${ranges(seen)}}`
  })
}

export interface Folding<Row> {
  readonly name: (row: Row) => string
  /** Rows of one pattern are folded if this is the same, too. */
  readonly identity: (row: Row) => string
  readonly cells: (rows: readonly [Row, ...ReadonlyArray<Row>]) => ReadonlyArray<string>
}

/** In order of first appearance. */
export const folded = <Row>(rows: ReadonlyArray<Row>, { cells, identity, name }: Folding<Row>): ReadonlyArray<FoldedGroup> => {
  const groups = new Map<string, Array<number>>()
  for (const [k, row] of rows.entries()) {
    const key = `${masked(name(row))}\u0000${identity(row)}`
    const group = groups.get(key)
    if (group) group.push(k)
    else groups.set(key, [k])
  }
  return [...groups.values()].map((own) => {
    const members = own.map((k) => rows[k]!) as [Row, ...Array<Row>]
    return { label: labelOf(members.map(name)), cells: cells(members), rows: own }
  })
}

export interface ListColumn {
  readonly head: string
  readonly number?: true
}

export interface ListFilter {
  readonly name: string
  readonly label: string
  readonly values: ReadonlyArray<string>
}

/** A list of the page. Its rows are in the page's data; the first column is the name. */
export interface FoldedList {
  readonly id: string
  readonly label: string
  readonly noun: string
  readonly columns: ReadonlyArray<ListColumn>
  readonly filters: ReadonlyArray<ListFilter>
  readonly groups: ReadonlyArray<FoldedGroup>
}
