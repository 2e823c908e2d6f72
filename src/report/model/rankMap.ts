/**
 * Which rank (or file) holds how much of which layer: the numbers of the map, before they are drawn. Layers that hold the same on
 * the same ranks are one row, ranks that hold the same are one column.
 */
import type { Inspection, TensorRow } from "../../inspect/Inspection.ts"
import type { StoredChunk } from "../../torch/DcpMetadata.ts"
import { type Holder, Holders, type NoRanks } from "./Holders.ts"
import { type Cell, collect, type Collected, LABELS, type LayerPlace, placeKey } from "./places.ts"
import { bucket, shortRanges, shortStack } from "./ranges.ts"
import { type AxisName, axesOf, type ColumnKind, rankColumns, type MapColumn, slotsOf } from "./rankColumns.ts"

/** More rows than this are drawn together, several to one. */
const MOST_ROWS = 128

export interface MapRow {
  readonly component: string
  /** Path of the layer list; empty for what is in no layer. */
  readonly stack: string
  readonly label: string
  /** Layers that it stands for. */
  readonly layers: number
  /** All of these layers hold the same. */
  readonly equal: boolean
  /** Not loaded by anybody. */
  readonly beside: boolean
}

export interface RankMap {
  readonly of: ColumnKind
  readonly noRanks: NoRanks | undefined
  /** The embedding is counted on the last pipeline stage too. */
  readonly tied: boolean
  /** The data-parallel size is the least that fits: it is not recorded. */
  readonly dpInferred: boolean
  /** Axes that have more than one position. */
  readonly axes: ReadonlyArray<AxisName>
  readonly columns: ReadonlyArray<MapColumn>
  readonly rows: ReadonlyArray<MapRow>
  /** By row, then column; undefined: holds nothing. */
  readonly cells: ReadonlyArray<ReadonlyArray<Cell | undefined>>
  readonly holders: ReadonlyArray<Holder>
  /** Row of a chunk, -1 for none, and the ids of its holders. */
  readonly placeOf: (tensor: TensorRow, chunk: StoredChunk) => { readonly row: number; readonly holders: ReadonlyArray<number> }
}

/** Places that hold the same on the same ranks, drawn as one row. */
const foldedRows = (i: Inspection, places: Collected["places"]): ReadonlyArray<{ readonly places: ReadonlyArray<readonly [string, LayerPlace]>; readonly equal: boolean }> => {
  const order = new Map(i.components.map((c, k) => [c.name, k]))
  const rank = ({ component }: LayerPlace) => (LABELS.has(component) ? order.size + 1 : order.get(component) ?? order.size)
  const sorted = [...places].sort(([, a], [, b]) => rank(a) - rank(b) || (a.stack < b.stack ? -1 : a.stack > b.stack ? 1 : a.layer - b.layer))
  const folded = [...Map.groupBy(sorted, ([, p]) => `${p.component}\u0000${p.stack}\u0000${p.signature.join()}`).values()]
  if (folded.length <= MOST_ROWS) return folded.map((own) => ({ places: own, equal: true }))
  const stacks = Map.groupBy(folded, ([first]) => `${first![1].component}\u0000${first![1].stack}`)
  const share = Math.max(1, Math.floor(MOST_ROWS / stacks.size))
  return [...stacks.values()].flatMap((own) => bucket(own, share).map((some) => ({ places: some.flat(), equal: some.length === 1 })))
}

/** The tensors of `i` must have their boxes. */
export const rankMap = (i: Inspection): RankMap => {
  const holders = new Holders(i)
  const collected = collect(i, holders)
  const { places } = collected
  const { of, slots } = slotsOf(i, holders)
  const columns = rankColumns(i, holders, slots, collected)
  const rowOf = new Map<string, number>()
  const folded = foldedRows(i, places)
  const rows = folded.map(({ equal, places: own }, row): MapRow => {
    for (const [key] of own) rowOf.set(key, row)
    const [, { component, held, stack }] = own[0]!
    return {
      component,
      stack,
      label: LABELS.get(component) ?? (stack === "" ? "outside layers" : `${shortStack(stack)} ${shortRanges(own.map(([, p]) => p.layer))}`),
      layers: stack === "" ? 0 : own.length,
      equal,
      beside: [...held.keys()].every((id) => holders.items[id]!.kind === "beside")
    }
  })
  const inColumns = new Map<number, Array<number>>()
  for (const [c, { holders: ids }] of columns.entries()) {
    for (const id of ids) {
      const known = inColumns.get(id)
      if (known) known.push(c)
      else inColumns.set(id, [c])
    }
  }
  const cells: Array<Array<Cell | undefined>> = rows.map(() => Array<Cell | undefined>(columns.length).fill(undefined))
  for (const [row, { places: own }] of folded.entries()) {
    for (const [id, { bytes, chunks }] of own.flatMap(([, p]) => [...p.held])) {
      for (const column of inColumns.get(id) ?? []) {
        const cell = cells[row]![column] ??= { bytes: 0, chunks: 0 }
        cell.bytes += bytes
        cell.chunks += chunks
      }
    }
  }
  return {
    of,
    noRanks: holders.noRanks,
    tied: holders.tied && holders.layouts.some((l) => l.pp > 1),
    dpInferred: holders.dpInferred,
    axes: axesOf(holders),
    columns,
    rows,
    cells,
    holders: holders.items,
    placeOf: (tensor, chunk) => ({ row: rowOf.get(placeKey(tensor, tensor.layer ?? chunk.offsets[0] ?? 0)) ?? -1, holders: holders.of(tensor, chunk) })
  }
}
