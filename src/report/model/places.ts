/** What lies in every layer, and what every holder has: the chunks of a checkpoint, counted once. */
import type { Inspection, TensorRow } from "../../inspect/Inspection.ts"
import { expertKey, leadingAxes } from "../../model/layerKeys.ts"
import { volume } from "../../tensor/Copy.ts"
import { bitsOf } from "../../tensor/DType.ts"
import type { StoredChunk } from "../../torch/DcpMetadata.ts"
import type { Holders } from "./Holders.ts"
import { Distinct } from "./Distinct.ts"

export interface Cell {
  bytes: number
  chunks: number
}

/** Tensors of one layer, or of none. */
export interface LayerPlace {
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
export const LABELS: ReadonlyMap<string, string> = new Map([[WHOLE.kept, "Hugging Face tensors"], [WHOLE.training, "optimizer state"]])

export const placeKey = ({ component, layer, role, stack }: TensorRow, firstOffset: number): string =>
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

export interface Collected {
  readonly places: ReadonlyMap<string, LayerPlace>
  readonly holdings: ReadonlyMap<number, Holding>
}

export const collect = (i: Inspection, holders: Holders): Collected => {
  const places = new Map<string, LayerPlace>()
  const holdings = new Map<number, Holding>()
  const patterns = new Distinct<string>()
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
