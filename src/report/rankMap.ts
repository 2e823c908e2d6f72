/** Which rank (or file) holds how much of which layer: the numbers of the map, before they are drawn. */
import type { Inspection, TensorRow } from "../inspect/Inspection.ts"
import { rankOf } from "../inspect/names.ts"
import { bitsOf } from "../tensor/DType.ts"
import { volume } from "../tensor/Copy.ts"

/** More columns than this are drawn together, several ranks to one. */
const MOST_COLUMNS = 64
/** More rows than this are drawn together, several layers to one. */
const MOST_ROWS = 128

export interface MapColumn {
  readonly label: string
  readonly files: ReadonlyArray<string>
}

export interface MapRow {
  readonly component: string
  readonly label: string
}

export interface Cell {
  bytes: number
  chunks: number
}

export interface RankMap {
  /** What a column is. */
  readonly of: "rank" | "file"
  readonly columns: ReadonlyArray<MapColumn>
  readonly rows: ReadonlyArray<MapRow>
  /** By row, then column; undefined: holds nothing. */
  readonly cells: ReadonlyArray<ReadonlyArray<Cell | undefined>>
  /** Row of a chunk of a tensor. */
  readonly rowOf: (tensor: TensorRow, firstOffset: number) => number
}

const bucket = <T>(items: ReadonlyArray<T>, most: number): ReadonlyArray<ReadonlyArray<T>> => {
  const each = Math.max(1, Math.ceil(items.length / most))
  return Array.from({ length: Math.ceil(items.length / each) }, (_, k) => items.slice(k * each, (k + 1) * each))
}

const columnsOf = (i: Inspection): Pick<RankMap, "of" | "columns"> => {
  const used = i.files.filter((f) => f.chunks > 0)
  const byRank = Map.groupBy(used, (f) => rankOf(f.name)?.rank)
  const ranked = used.length > 0 && !byRank.has(undefined)
  const groups = ranked
    ? [...byRank].sort((a, b) => a[0]! - b[0]!).map(([rank, files]) => ({ label: String(rank), files: files.map((f) => f.name) }))
    : used.map((f) => ({ label: f.name, files: [f.name] }))
  return {
    of: ranked ? "rank" : "file",
    columns: bucket(groups, MOST_COLUMNS).map((own) => ({
      label: own.length === 1 ? own[0]!.label : `${own[0]!.label}–${own.at(-1)!.label}`,
      files: own.flatMap((g) => g.files)
    }))
  }
}

const keyOf = ({ component, layer, stack }: TensorRow, firstOffset: number): string =>
  stack === undefined ? `${component}\u0000` : `${component}\u0000${stack}\u0000${layer ?? firstOffset}`

/** The tensors of `i` must have their boxes. */
export const rankMap = (i: Inspection): RankMap => {
  const { columns, of } = columnsOf(i)
  const columnOf = new Map(columns.flatMap((c, k) => c.files.map((f) => [f, k] as const)))
  const places = new Map<string, { component: string; stack: string; layer: number }>()
  for (const t of i.tensors) {
    const stacked = t.stack !== undefined && t.layer === undefined
    for (const { offsets } of stacked ? t.boxes ?? [] : (t.boxes ?? []).slice(0, 1)) {
      const key = keyOf(t, offsets[0] ?? 0)
      if (!places.has(key)) places.set(key, { component: t.component, stack: t.stack ?? "", layer: t.layer ?? offsets[0] ?? 0 })
    }
  }
  const order = new Map(i.components.map((c, k) => [c.name, k]))
  const rank = (c: string) => order.get(c) ?? order.size
  const sorted = [...places].sort(([, a], [, b]) =>
    rank(a.component) - rank(b.component) || (a.stack < b.stack ? -1 : a.stack > b.stack ? 1 : a.layer - b.layer))
  const rows: Array<MapRow> = []
  const rowOfKey = new Map<string, number>()
  const stacks = Map.groupBy(sorted, ([, p]) => `${p.component}\u0000${p.stack}`)
  const share = Math.max(1, Math.floor(MOST_ROWS / Math.max(1, stacks.size)))
  const most = sorted.length <= MOST_ROWS ? MOST_ROWS : share
  for (const own of stacks.values()) {
    for (const layers of bucket(own, most)) {
      const [first, last] = [layers[0]![1], layers.at(-1)![1]]
      const list = first.stack.slice(first.stack.lastIndexOf(".", first.stack.lastIndexOf(".") - 1) + 1)
      for (const [key] of layers) rowOfKey.set(key, rows.length)
      rows.push({
        component: first.component,
        label: first.stack === "" ? "outside layers" : `${list} ${first.layer}${last === first ? "" : `–${last.layer}`}`
      })
    }
  }
  // Chunks of a tensor come one after the other, and lie in one row unless layers are stacked.
  let last: { readonly tensor: TensorRow; readonly offset: number; readonly row: number } | undefined
  const rowOf = (tensor: TensorRow, firstOffset: number): number => {
    if (last?.tensor === tensor && (last.offset === firstOffset || tensor.layer !== undefined || tensor.stack === undefined)) return last.row
    const row = rowOfKey.get(keyOf(tensor, firstOffset)) ?? -1
    last = { tensor, offset: firstOffset, row }
    return row
  }
  const cells: Array<Array<Cell | undefined>> = rows.map(() => Array<Cell | undefined>(columns.length).fill(undefined))
  for (const t of i.tensors) {
    for (const box of t.boxes ?? []) {
      const [row, column] = [rowOf(t, box.offsets[0] ?? 0), columnOf.get(box.file)]
      if (row < 0 || column === undefined) continue
      const cell = cells[row]![column] ??= { bytes: 0, chunks: 0 }
      cell.bytes += (volume(box.sizes) * bitsOf(t.dtype)) / 8
      cell.chunks++
    }
  }
  return { of, columns, rows, cells, rowOf }
}
