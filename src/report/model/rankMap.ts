/**
 * Which rank (or file) holds how much of which layer: the numbers of the map, before they are drawn. Layers that hold the same on
 * the same ranks are one row, ranks that hold the same are one column.
 */
import type { Inspection, TensorRow } from "../../inspect/Inspection.ts"
import { rankOf } from "../../checkpoint/names.ts"
import { ranges } from "../../inspect/tree.ts"
import { expertKey, leadingAxes } from "../../model/layerKeys.ts"
import { coordinatesOf, ownsRank } from "../../parallel/RankGrid.ts"
import { volume } from "../../tensor/Copy.ts"
import { bitsOf } from "../../tensor/DType.ts"
import type { StoredChunk } from "../../torch/DcpMetadata.ts"
import { type Holder, Holders, type NoRanks } from "./Holders.ts"
import { Table } from "./Table.ts"

/** Where there are more, ranks that hold equally much of the same layers are one column. */
const MOST_APART = 32
/** More columns than this are drawn together, several to one. */
const MOST_COLUMNS = 64
/** More rows than this are drawn together, several to one. */
const MOST_ROWS = 128

export const AXES = ["tp", "pp", "dp", "cp", "ep", "etp"] as const
export type AxisName = (typeof AXES)[number]

export interface MapColumn {
  /** Ranks as `0,2,4-7`, or the name of a file. */
  readonly label: string
  readonly ranks: ReadonlyArray<number>
  /** Positions along each axis, e.g. `0` or `0-3`; of the axes in {@link RankMap.axes}. */
  readonly at: Readonly<Partial<Record<AxisName, string>>>
  readonly components: ReadonlyArray<string>
  /** What it holds: ids of holders; of ranks that hold equally much, those of the first. */
  readonly holders: ReadonlyArray<number>
  /** Files of its ranks. */
  readonly files: ReadonlyArray<string>
  /** Different contents in it: 1, unless the map has more columns than can be drawn. */
  readonly contents: number
  /** Its contents are of one size, layer by layer. */
  readonly alike: boolean
  /** Weights in the memory of each of its ranks (the most, if its contents differ); of a file: the bytes of its tensors. */
  readonly bytes: number
  /** Of those, routed experts. */
  readonly expertBytes: number
  /** Routed experts of a layer that its ranks hold, as `0-7`; empty for none. */
  readonly experts: string
  /** How many each of its ranks has, the most. */
  readonly expertsEach: number
  /** Layers by list, as `layers 0-3`. */
  readonly layers: ReadonlyArray<string>
}

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

export interface Cell {
  bytes: number
  chunks: number
}

export interface RankMap {
  /** What a column is: a rank of the layout, the rank that wrote a file, or a file. */
  readonly of: "rank" | "writer" | "file"
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

const bucket = <T>(items: ReadonlyArray<T>, most: number): ReadonlyArray<ReadonlyArray<T>> => {
  const each = Math.max(1, Math.ceil(items.length / most))
  return Array.from({ length: Math.ceil(items.length / each) }, (_, k) => items.slice(k * each, (k + 1) * each))
}

/** The last two segments of a layer list: `decoder.layers`. */
export const shortStack = (stack: string): string => stack.split(".").slice(-2).join(".")

const LONGEST_RANGES = 24

/** `0-3`, or `0,4,… 92` where that would be long. */
export const shortRanges = (numbers: ReadonlyArray<number>): string => {
  const all = ranges(numbers)
  if (all.length <= LONGEST_RANGES) return all
  const parts = all.split(",")
  return `${parts.slice(0, 2).join(",")},… ${parts.at(-1)}`
}

/** Tensors of one layer, or of none. */
interface Place {
  readonly component: string
  readonly stack: string
  readonly layer: number
  /** What it holds, by holder. */
  readonly held: Map<number, Cell>
  /** Patterns, holders and sizes of its chunks, in their order. */
  readonly signature: Array<number>
}

/** What is no part of the model has one row, whatever layers its names speak of. */
const WHOLE = { kept: "hf_source", training: "training" } as const
const LABELS: ReadonlyMap<string, string> = new Map([[WHOLE.kept, "Hugging Face tensors"], [WHOLE.training, "optimizer state"]])

const placeKey = ({ component, layer, role, stack }: TensorRow, firstOffset: number): string =>
  role !== "model" ? WHOLE[role] : stack === undefined ? component : `${component}\u0000${stack}\u0000${layer ?? firstOffset}`

/** What a column has in memory, summed over the chunks of one holder. */
interface Holding {
  bytes: number
  readonly experts: Set<number>
  expertBytes: number
  readonly layers: Map<string, Set<number>>
}

const expertsOf = (name: string, { offsets, sizes }: StoredChunk): ReadonlyArray<number> => {
  const key = expertKey(name)
  if (!key) return []
  if (key.expert !== undefined) return [key.expert]
  const axis = leadingAxes(name) - 1
  const [from, count] = [offsets[axis] ?? 0, Math.min(sizes[axis] ?? 1, MOST_EXPERTS)]
  return Array.from({ length: count }, (_, k) => from + k)
}

/** Ten times what any model has; an axis of a hostile tensor may have any extent. */
const MOST_EXPERTS = 10_000

interface Collected {
  readonly places: ReadonlyMap<string, Place>
  readonly holdings: ReadonlyMap<number, Holding>
}

const collect = (i: Inspection, holders: Holders): Collected => {
  const places = new Map<string, Place>()
  const holdings = new Map<number, Holding>()
  const patterns = new Table<string>()
  for (const t of i.tensors) {
    const pattern = patterns.add(`${t.name.replaceAll(/(?<=\.)\d+(?=\.)/g, "#")} ${t.dtype} ${t.shape}`)
    for (const chunk of t.boxes ?? []) {
      const held = holders.of(t, chunk)
      if (held.length === 0) continue
      const layer = t.layer ?? chunk.offsets[0] ?? 0
      const key = placeKey(t, layer)
      let place = places.get(key)
      if (!place) {
        places.set(key, place = {
          ...(t.role !== "model" ? { component: WHOLE[t.role], stack: "", layer: 0 } : { component: t.component, stack: t.stack ?? "", layer: t.stack === undefined ? 0 : layer }),
          held: new Map(), signature: []
        })
      }
      const bytes = (volume(chunk.sizes) * bitsOf(t.dtype)) / 8
      place.signature.push(pattern, bytes, ...held)
      for (const id of held) {
        const cell = place.held.get(id)
        if (!cell) place.held.set(id, { bytes, chunks: 1 })
        else {
          cell.bytes += bytes
          cell.chunks++
        }
        let holding = holdings.get(id)
        if (!holding) holdings.set(id, holding = { bytes: 0, experts: new Set(), expertBytes: 0, layers: new Map() })
        holding.bytes += bytes
        const experts = expertsOf(t.name, chunk)
        if (experts.length > 0) holding.expertBytes += bytes
        for (const e of experts) holding.experts.add(e)
        if (t.stack !== undefined && t.role === "model") {
          const own = holding.layers.get(t.stack)
          if (own) own.add(layer)
          else holding.layers.set(t.stack, new Set([layer]))
        }
      }
    }
  }
  return { places, holdings }
}

/** Columns before they are folded. */
interface Slot {
  readonly label: string
  readonly ranks: ReadonlyArray<number>
  readonly holders: ReadonlyArray<number>
}

const slotsOf = (i: Inspection, holders: Holders): { readonly of: RankMap["of"]; readonly slots: ReadonlyArray<Slot> } => {
  if (holders.noRanks === undefined) {
    const isLoaded = (id: number) => holders.items[id]!.kind !== "beside"
    const same = Map.groupBy(holders.ranks(), ([, ids]) => ids.filter(isLoaded).join())
    const slots = [...same.values()].map((own): Slot => {
      const ranks = own.map(([rank]) => rank).sort((a, b) => a - b)
      return { label: shortRanges(ranks), ranks, holders: [...new Set(own.flatMap(([, ids]) => ids))] }
    })
    return { of: "rank", slots: slots.sort((a, b) => a.ranks[0]! - b.ranks[0]!) }
  }
  const used = i.files.filter((f) => f.chunks > 0)
  const idOf = new Map(holders.items.flatMap((h, id) => (h.kind === "file" ? [[h.file, id] as const] : [])))
  const idsOf = (files: ReadonlyArray<{ readonly name: string }>) => files.flatMap((f) => idOf.get(f.name) ?? [])
  const byRank = Map.groupBy(used, (f) => rankOf(f.name)?.rank)
  if (used.length === 0 || byRank.has(undefined)) return { of: "file", slots: used.map((f) => ({ label: f.name, ranks: [], holders: idsOf([f]) })) }
  return { of: "writer", slots: [...byRank].sort((a, b) => a[0]! - b[0]!).map(([rank, files]) => ({ label: String(rank), ranks: [rank!], holders: idsOf(files) })) }
}

const axesOf = ({ layouts }: Holders): ReadonlyArray<AxisName> => AXES.filter((axis) => layouts.some((l) => l[axis] > 1))

/** Slots that hold equally much in the same places, together; all of them apart where there is room. */
const alikeSlots = (slots: ReadonlyArray<Slot>, { items }: Holders, places: Collected["places"]): ReadonlyArray<ReadonlyArray<Slot>> => {
  if (slots.length <= MOST_APART) return slots.map((slot) => [slot])
  const heldBy = new Map<number, Array<readonly [place: number, bytes: number]>>()
  for (const [n, { held }] of [...places.values()].entries()) {
    for (const [id, { bytes }] of held) {
      const known = heldBy.get(id)
      if (known) known.push([n, bytes])
      else heldBy.set(id, [[n, bytes]])
    }
  }
  const amounts = ({ holders }: Slot): string => {
    const sums = new Map<number, number>()
    for (const id of holders) if (items[id]!.kind !== "beside") for (const [place, bytes] of heldBy.get(id) ?? []) sums.set(place, (sums.get(place) ?? 0) + bytes)
    return [...sums].sort(([a], [b]) => a - b).join(" ")
  }
  return [...Map.groupBy(slots, amounts).values()]
}

const columnsOf = (i: Inspection, holders: Holders, slots: ReadonlyArray<Slot>, { holdings, places }: Collected): ReadonlyArray<MapColumn> => {
  const axes = axesOf(holders)
  const files = Map.groupBy(i.files.filter((f) => f.chunks > 0), (f) => f.rank)
  const isBeside = (id: number): boolean => holders.items[id]!.kind === "beside"
  const loaded = (slot: Slot) => slot.holders.filter((id) => !isBeside(id)).map((id) => holdings.get(id)!)
  return bucket(alikeSlots(slots, holders, places), MOST_COLUMNS).map((groups): MapColumn => {
    const own = groups.flat()
    const alike = groups.length === 1
    const ranks = own.flatMap((s) => s.ranks)
    const [first] = own as [Slot, ...Array<Slot>]
    const ids = [...new Set(alike ? [...first.holders, ...own.flatMap((s) => s.holders).filter(isBeside)] : own.flatMap((s) => s.holders))]
    const sums = own.map((slot) => loaded(slot).reduce(
      (sum, h) => ({ bytes: sum.bytes + h.bytes, expertBytes: sum.expertBytes + h.expertBytes, experts: sum.experts + h.experts.size }),
      { bytes: 0, expertBytes: 0, experts: 0 }
    ))
    const most = (of: (sum: (typeof sums)[number]) => number): number => sums.reduce((largest, sum) => Math.max(largest, of(sum)), 0)
    const all = own.flatMap(loaded)
    const positions = ranks.flatMap((rank) => holders.layouts.filter((l) => ownsRank(l, rank)).map((l) => coordinatesOf(l, rank)))
    const layers = new Map<string, Set<number>>()
    for (const [stack, held] of all.flatMap((h) => [...h.layers])) layers.set(stack, new Set([...layers.get(stack) ?? [], ...held]))
    return {
      label: own.length === 1 ? first.label : ranks.length > 0 ? shortRanges(ranks) : `${first.label} – ${own.at(-1)!.label}`,
      ranks,
      at: Object.fromEntries(axes.map((axis) => [axis, shortRanges(positions.map((p) => p[axis]))])),
      components: holders.layouts.filter((l) => ranks.some((rank) => ownsRank(l, rank))).map((l) => l.component),
      holders: ids,
      files: ranks.length > 0 ? ranks.flatMap((rank) => (files.get(rank) ?? []).map((f) => f.name)) : ids.flatMap((id) => { const h = holders.items[id]!; return h.kind === "file" ? [h.file] : [] }),
      contents: own.length,
      alike,
      bytes: most((sum) => sum.bytes),
      expertBytes: most((sum) => sum.expertBytes),
      experts: ranges(all.flatMap((h) => [...h.experts])),
      expertsEach: most((sum) => sum.experts),
      layers: [...layers].map(([stack, held]) => `${shortStack(stack)} ${ranges(held)}`)
    }
  })
}

/** Places that hold the same on the same ranks, drawn as one row. */
const foldedRows = (i: Inspection, places: Collected["places"]): ReadonlyArray<{ readonly places: ReadonlyArray<readonly [string, Place]>; readonly equal: boolean }> => {
  const order = new Map(i.components.map((c, k) => [c.name, k]))
  const rank = ({ component }: Place) => (LABELS.has(component) ? order.size + 1 : order.get(component) ?? order.size)
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
  const columns = columnsOf(i, holders, slots, collected)
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
