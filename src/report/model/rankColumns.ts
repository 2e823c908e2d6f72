/** The columns of the map: ranks, or files, those that hold the same together. */
import { rankOf } from "../../checkpoint/names.ts"
import type { Inspection } from "../../inspect/Inspection.ts"
import { ranges } from "../../inspect/tree.ts"
import { coordinatesOf, ownsRank } from "../../parallel/RankGrid.ts"
import type { Holders } from "./Holders.ts"
import type { Collected } from "./places.ts"
import { bucket, shortRanges, shortStack } from "./ranges.ts"

/** Where there are more, ranks that hold equally much of the same layers are one column. */
const MOST_APART = 32
/** More columns than this are drawn together, several to one. */
const MOST_COLUMNS = 64

export const AXES = ["tp", "pp", "dp", "cp", "ep", "etp"] as const
export type AxisName = (typeof AXES)[number]

/** What a column is: a rank of the layout, the rank that wrote a file, or a file. */
export type ColumnKind = "rank" | "writer" | "file"

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

/** Columns before they are folded. */
export interface UnfoldedColumn {
  readonly label: string
  readonly ranks: ReadonlyArray<number>
  readonly holders: ReadonlyArray<number>
}

export const slotsOf = (i: Inspection, holders: Holders): { readonly of: ColumnKind; readonly slots: ReadonlyArray<UnfoldedColumn> } => {
  if (holders.noRanks === undefined) {
    const isLoaded = (id: number) => holders.items[id]!.kind !== "beside"
    const same = Map.groupBy(holders.ranks(), ([, ids]) => ids.filter(isLoaded).join())
    const slots = [...same.values()].map((own): UnfoldedColumn => {
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

export const axesOf = ({ layouts }: Holders): ReadonlyArray<AxisName> => AXES.filter((axis) => layouts.some((l) => l[axis] > 1))

/** Slots that hold equally much in the same places, together; all of them apart where there is room. */
const alikeSlots = (slots: ReadonlyArray<UnfoldedColumn>, { items }: Holders, places: Collected["places"]): ReadonlyArray<ReadonlyArray<UnfoldedColumn>> => {
  if (slots.length <= MOST_APART) return slots.map((slot) => [slot])
  const heldBy = new Map<number, Array<readonly [place: number, bytes: number]>>()
  for (const [n, { held }] of [...places.values()].entries()) {
    for (const [id, { bytes }] of held) {
      const known = heldBy.get(id)
      if (known) known.push([n, bytes])
      else heldBy.set(id, [[n, bytes]])
    }
  }
  const amounts = ({ holders }: UnfoldedColumn): string => {
    const sums = new Map<number, number>()
    for (const id of holders) if (items[id]!.kind !== "beside") for (const [place, bytes] of heldBy.get(id) ?? []) sums.set(place, (sums.get(place) ?? 0) + bytes)
    return [...sums].sort(([a], [b]) => a - b).join(" ")
  }
  return [...Map.groupBy(slots, amounts).values()]
}

export const rankColumns = (i: Inspection, holders: Holders, slots: ReadonlyArray<UnfoldedColumn>, { holdings, places }: Collected): ReadonlyArray<MapColumn> => {
  const axes = axesOf(holders)
  const files = Map.groupBy(i.files.filter((f) => f.chunks > 0), (f) => f.rank)
  const isBeside = (id: number): boolean => holders.items[id]!.kind === "beside"
  const loaded = (slot: UnfoldedColumn) => slot.holders.filter((id) => !isBeside(id)).map((id) => holdings.get(id)!)
  return bucket(alikeSlots(slots, holders, places), MOST_COLUMNS).map((groups): MapColumn => {
    const own = groups.flat()
    const alike = groups.length === 1
    const ranks = own.flatMap((s) => s.ranks)
    const [first] = own as [UnfoldedColumn, ...Array<UnfoldedColumn>]
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
