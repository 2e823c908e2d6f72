/**
 * Who holds a chunk: the ranks that have it in memory once the checkpoint is loaded under its layout, or, where no layout is known,
 * the file it lies in. Ranks of the same position in the grid hold the same, so chunks are counted by position, not by rank.
 */
import type { Inspection, TensorRow } from "../../inspect/Inspection.ts"
import type { ComponentLayout } from "../../runconfig/layout.ts"
import { isEmbedding, isHead, isMtp } from "../../space/names.ts"
import { rankOf } from "../../checkpoint/names.ts"
import { expertKey, leadingAxes } from "../../model/layerKeys.ts"
import { coordinatesOf, ownsRank } from "../../parallel/RankGrid.ts"
import { rankCount } from "../../parallel/ModuleParallelism.ts"
import type { StoredChunk } from "../../torch/DcpMetadata.ts"
import { recordedRanks } from "./ranksOf.ts"
import { Distinct } from "./Distinct.ts"

/** A configuration may name any number of ranks; more than this are not told apart. */
const MOST_RANKS = 4096

/**
 * `weights`: every rank of the component `layout` at this position; an axis that is absent does not matter (all of its ranks hold
 * it). `beside`: in a file of that rank, loaded by nobody. `file`: in a file, of whatever rank.
 */
export type Holder =
  | { readonly kind: "weights"; readonly layout: number; readonly pp: number; readonly tp?: number; readonly ep?: number; readonly etp?: number }
  | { readonly kind: "beside"; readonly rank: number }
  | { readonly kind: "file"; readonly file: string }

/** Why the ranks of the run configuration are not those of the map. */
export type NoRanks = "no layout" | "too many ranks" | "saved under another layout"

const NONE: ReadonlyArray<number> = []

const keyOf = (h: Holder): string =>
  h.kind === "weights" ? `${h.layout}/${h.pp}/${h.tp ?? "*"}/${h.ep ?? "-"}/${h.etp ?? "*"}` : h.kind === "beside" ? `b${h.rank}` : `f${h.file}`

const noRanksOf = ({ files, kind }: Inspection, layout: ReadonlyArray<ComponentLayout>): NoRanks | undefined => {
  if (kind !== "megatron" || layout.length === 0) return "no layout"
  const world = layout.reduce((most, l) => Math.max(most, l.rankOffset + rankCount(l)), 0)
  if (world > MOST_RANKS) return "too many ranks"
  const owned = (rank: number) => layout.some((l) => ownsRank(l, rank))
  return files.some((f) => f.chunks > 0 && (f.rank === undefined || !owned(f.rank))) ? "saved under another layout" : undefined
}

/** Whether a chunk is the whole of its own axes, so that nobody shares it out. */
const isWhole = ({ shape }: TensorRow, { sizes }: StoredChunk, lead: number): boolean => {
  for (let k = lead; k < shape.length; k++) if (sizes[k] !== shape[k]) return false
  return true
}

export class Holders {
  /** By id. */
  readonly #items = new Distinct<Holder>()
  readonly #inspection: Inspection
  #last: { readonly tensor: TensorRow; readonly isExpert: boolean; readonly lead: number } | undefined
  readonly noRanks: NoRanks | undefined
  readonly layouts: ReadonlyArray<ComponentLayout>
  /** A guess at the least: it is not recorded. */
  readonly dpInferred: boolean
  /** The embedding serves as the head as well. */
  readonly tied: boolean

  constructor(i: Inspection) {
    this.#inspection = i
    const { dpInferred, layout } = recordedRanks(i)
    this.noRanks = noRanksOf(i, layout)
    this.layouts = this.noRanks === undefined ? layout : []
    this.dpInferred = dpInferred && this.noRanks === undefined
    this.tied = i.model.tied === true && !i.tensors.some((t) => isHead(t.name))
  }

  get items(): ReadonlyArray<Holder> {
    return this.#items.items
  }

  /** Ids of the holders of a chunk; two only for an embedding that the last pipeline stage holds as well. */
  of(tensor: TensorRow, chunk: StoredChunk): ReadonlyArray<number> {
    if (this.noRanks !== undefined) return [this.#id({ kind: "file", file: chunk.file })]
    const rank = rankOf(chunk.file)?.rank
    if (rank === undefined || tensor.role === "training") return NONE
    const layout = this.#layoutOf(tensor, rank)
    if (layout < 0 || tensor.role === "kept" || this.#isUnloaded(tensor)) return [this.#id({ kind: "beside", rank })]
    const own = this.layouts[layout]!
    const { ep, etp, pp, tp } = coordinatesOf(own, rank)
    const { isExpert, lead } = this.#namesOf(tensor)
    const whole = isWhole(tensor, chunk, lead)
    if (isExpert) return [this.#id({ kind: "weights", layout, pp, ep, ...(whole && own.etp > 1 ? {} : { etp }) })]
    const dense = { kind: "weights", layout, ...(whole && own.tp > 1 ? {} : { tp }) } as const
    const first = this.#id({ ...dense, pp })
    return this.tied && own.pp > 1 && isEmbedding(tensor.name) ? [first, this.#id({ ...dense, pp: own.pp - 1 })] : [first]
  }

  /** Every rank with the ids of what it holds. Empty without ranks. */
  ranks(): ReadonlyMap<number, ReadonlyArray<number>> {
    const ids = new Map(this.items.map((h, id) => [keyOf(h), id]))
    const out = new Map<number, Array<number>>()
    for (const [layout, own] of this.layouts.entries()) {
      for (let rank = own.rankOffset; rank < own.rankOffset + rankCount(own); rank++) {
        const { ep, etp, pp, tp } = coordinatesOf(own, rank)
        const held: ReadonlyArray<Holder> = [
          { kind: "weights", layout, pp, tp }, { kind: "weights", layout, pp }, { kind: "weights", layout, pp, ep, etp }, { kind: "weights", layout, pp, ep },
          { kind: "beside", rank }
        ]
        const known = out.get(rank) ?? []
        out.set(rank, known)
        for (const h of held) {
          const id = ids.get(keyOf(h))
          if (id !== undefined && !known.includes(id)) known.push(id)
        }
      }
    }
    return out
  }

  /** What the name says; chunks of a tensor come one after the other. */
  #namesOf(tensor: TensorRow): { readonly isExpert: boolean; readonly lead: number } {
    if (this.#last?.tensor !== tensor) this.#last = { tensor, isExpert: expertKey(tensor.name) !== undefined, lead: leadingAxes(tensor.name) }
    return this.#last
  }

  #id(holder: Holder): number {
    return this.#items.add(holder, keyOf(holder))
  }

  #layoutOf({ component }: TensorRow, rank: number): number {
    const named = this.layouts.findIndex((l) => l.component === component && ownsRank(l, rank))
    return named >= 0 ? named : this.layouts.findIndex((l) => ownsRank(l, rank))
  }

  /** No trainer of MIMO models has a module for multi-token prediction. */
  #isUnloaded({ name }: TensorRow): boolean {
    return this.#inspection.form === "mimo" && isMtp(name)
  }
}
