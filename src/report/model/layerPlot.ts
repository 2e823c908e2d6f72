/** How large the layers of every stack are, by part: the numbers of the plot. */
import type { Inspection, TensorRow } from "../../inspect/Inspection.ts"
import { expertKey } from "../../model/layerKeys.ts"
import { shortStack } from "./ranges.ts"

export const PARTS = ["attention", "MLP", "experts", "other"] as const
export type LayerPart = (typeof PARTS)[number]

/** Neighbouring layers drawn as one where there are more columns. */
const MOST_COLUMNS = 256

export interface PlotColumn {
  readonly first: number
  readonly last: number
  /** The mean of its layers, by part. */
  readonly bytes: Readonly<Record<LayerPart, number>>
  readonly total: number
}

export interface PlotStack {
  readonly stack: string
  readonly label: string
  readonly component: string
  readonly layers: number
  readonly columns: ReadonlyArray<PlotColumn>
}

export interface LayerPlot {
  readonly stacks: ReadonlyArray<PlotStack>
  /** The largest layer. */
  readonly most: number
}

/** Which part of a layer a tensor belongs to, by what its modules are called in both worlds. */
export const partOf = (name: string): LayerPart => {
  if (expertKey(name) || /\.experts\./.test(name)) return "experts"
  if (/norm/i.test(name.slice(name.lastIndexOf(".", name.lastIndexOf(".") - 1)))) return "other"
  if (/\.(self_attention|self_attn|attn|attention|linear_attn|cross_attn|mixer|mamba)\b/.test(name)) return "attention"
  return /\.(mlp|ffn|feed_forward|feedforward|shared_experts?|fc1|fc2|mlp1)\b/.test(name) ? "MLP" : "other"
}

/** As in {@link Inspection}, an axis of a hostile tensor may have any extent. */
const MOST_LAYERS = 10_000

const layersOf = ({ layer, shape }: TensorRow): ReadonlyArray<number> =>
  layer !== undefined ? [layer] : Array.from({ length: Math.min(shape[0] ?? 0, MOST_LAYERS) }, (_, k) => k)

const none = (): Record<LayerPart, number> => ({ attention: 0, MLP: 0, experts: 0, other: 0 })

export const layerPlot = (i: Inspection): LayerPlot => {
  const stacks = new Map<string, { readonly component: string; readonly layers: Map<number, Record<LayerPart, number>> }>()
  for (const t of i.tensors) {
    if (t.stack === undefined || t.role !== "model" || i.kind === "items") continue
    let own = stacks.get(t.stack)
    if (!own) stacks.set(t.stack, own = { component: t.component, layers: new Map() })
    const [part, layers] = [partOf(t.name), layersOf(t)]
    for (const layer of layers) {
      let sums = own.layers.get(layer)
      if (!sums) own.layers.set(layer, sums = none())
      sums[part] += t.bytes / layers.length
    }
  }
  const all = [...stacks.values()].reduce((n, { layers }) => n + layers.size, 0)
  const each = Math.max(1, Math.ceil(all / MOST_COLUMNS))
  const drawn = [...stacks].map(([stack, { component, layers }]): PlotStack => {
    const sorted = [...layers].sort(([a], [b]) => a - b)
    const columns = Array.from({ length: Math.ceil(sorted.length / each) }, (_, k): PlotColumn => {
      const some = sorted.slice(k * each, (k + 1) * each)
      const bytes = none()
      for (const [, sums] of some) for (const part of PARTS) bytes[part] += sums[part] / some.length
      return { first: some[0]![0], last: some.at(-1)![0], bytes, total: PARTS.reduce((n, part) => n + bytes[part], 0) }
    })
    return { stack, label: shortStack(stack), component, layers: layers.size, columns }
  })
  return { stacks: drawn, most: drawn.reduce((most, s) => s.columns.reduce((m, c) => Math.max(m, c.total), most), 0) }
}
