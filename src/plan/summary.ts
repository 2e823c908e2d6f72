/** The blocks of a report that both directions have. */
import type { ConversionModule } from "../bridge/Conversion.ts"
import { describeLayout, type Layout } from "../parallel/Layout.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { bytesOfTensors } from "./accounting.ts"
import type { ComponentSummary } from "./Report.ts"

/** What counts of a stored tensor. */
export interface SizedTensor {
  readonly dtype: DType
  readonly shape: Shape
}

/** Tensors and bytes of every module. `stored`: the tensors of the model, by key; `layout`: the one that an import cuts for. */
export const componentSummaries = (
  modules: ReadonlyArray<ConversionModule>,
  stored: ReadonlyMap<string, SizedTensor>,
  layout?: Layout
): ReadonlyArray<ComponentSummary> => {
  const rows = new Map((layout ? describeLayout(layout) : []).map((row) => [row.component, row]))
  return modules.map(({ keyPrefix, name }) => {
    const own = Iterator.from(stored).filter(([key]) => key.startsWith(keyPrefix)).map(([, tensor]) => tensor).toArray()
    const { component: _, ...sizes } = rows.get(name) ?? {}
    return { name, tensors: own.length, bytes: bytesOfTensors(own), ...(rows.has(name) ? { layout: sizes as NonNullable<ComponentSummary["layout"]> } : {}) }
  })
}
