/** What a `diff` found, as sums and as a map of change: which modules of which layers moved, and how far. */
import { layerOf } from "../../space/names.ts"
import type { DiffKind, DiffReport, TensorDiff } from "../../diff/diff.ts"
import { masked } from "./lists.ts"
import { shortRanges, shortStack } from "./ranges.ts"

export const KINDS: ReadonlyArray<DiffKind> = ["missing", "extra", "shape", "dtype", "values"]

/** Columns and rows of the map of change; more layers are drawn several to a column, less changed modules are left out. */
const MOST_COLUMNS = 96
const MOST_ROWS = 48

export interface ModuleChange {
  /** ‖a − b‖ / ‖a‖, the most of its tensors; of values that have no norm, the share of elements that differ. */
  readonly relative: number
  readonly tensors: number
}

export interface ChangeMap {
  readonly stack: string
  readonly columns: ReadonlyArray<string>
  readonly rows: ReadonlyArray<{ readonly label: string; readonly cells: ReadonlyArray<ModuleChange | undefined> }>
  /** Modules that are not drawn. */
  readonly left: number
}

export interface Differences {
  readonly components: ReadonlyArray<{ readonly component: string; readonly counts: Readonly<Record<DiffKind, number>> }>
  readonly maps: ReadonlyArray<ChangeMap>
}

const changeOf = ({ distance }: TensorDiff): number | undefined => {
  if (!distance || distance.differing === 0) return undefined
  const { differing, elements, relative } = distance
  return relative !== undefined && Number.isFinite(relative) && relative > 0 ? relative : differing / elements
}

const mapOf = (stack: string, own: ReadonlyArray<readonly [TensorDiff, number]>): ChangeMap => {
  const layers = [...new Set(own.map(([, layer]) => layer))].sort((a, b) => a - b)
  const each = Math.max(1, Math.ceil(layers.length / MOST_COLUMNS))
  const columnOf = new Map(layers.map((layer, k) => [layer, Math.floor(k / each)]))
  const columns = Array.from({ length: Math.ceil(layers.length / each) }, (_, k) => shortRanges(layers.slice(k * each, (k + 1) * each)))
  const modules = [...Map.groupBy(own, ([t]) => masked(t.name).slice(stack.length + 3))].map(([label, tensors]) => {
    const cells = columns.map(() => undefined as ModuleChange | undefined)
    for (const [t, layer] of tensors) {
      const [column, relative] = [columnOf.get(layer)!, changeOf(t)!]
      const known = cells[column]
      cells[column] = { relative: Math.max(known?.relative ?? 0, relative), tensors: (known?.tensors ?? 0) + 1 }
    }
    return { label, cells, most: cells.reduce((most, c) => Math.max(most, c?.relative ?? 0), 0) }
  })
  const shown = modules.length <= MOST_ROWS ? modules : modules.toSorted((a, b) => b.most - a.most).slice(0, MOST_ROWS)
  return { stack: shortStack(stack), columns, rows: shown.map(({ cells, label }) => ({ label, cells })), left: modules.length - shown.length }
}

export const differences = ({ tensors }: DiffReport): Differences => {
  const changed = tensors.flatMap((t) => {
    const layer = layerOf(t.name)
    return changeOf(t) !== undefined && layer?.index !== undefined ? [[t, layer.index, layer.stack] as const] : []
  })
  const none = (): Record<DiffKind, number> => ({ missing: 0, extra: 0, shape: 0, dtype: 0, values: 0 })
  return {
    components: [...Map.groupBy(tensors, (t) => t.component)].map(([component, own]) => {
      const counts = none()
      for (const { kind } of own) counts[kind]++
      return { component, counts }
    }),
    maps: [...Map.groupBy(changed, ([, , stack]) => stack)].map(([stack, own]) => mapOf(stack, own.map(([t, layer]) => [t, layer] as const)))
  }
}
