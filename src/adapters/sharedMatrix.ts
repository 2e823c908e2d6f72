/**
 * Adapters of experts of which one matrix is that of all experts of a layer: `experts_shared_outer_loras` of the trainer shares A of the
 * first linear layer and B of the second. SGLang's form has such a matrix once, as `[1, …]`, under a name without an expert's number
 * (adapters-and-assembly.md 1.3). Pure.
 */
import type { Shape } from "../tensor/Copy.ts"

/** How an export writes them: for each expert, as `peft` and vLLM read them, or once. */
export type SharedOuter = "repeat" | "once"

/** The name of a module, or of its tensor, without an expert's number; the same for one that has none. */
export const withoutExpert = (name: string): string => name.replace(/(^|\.)experts\.\d+\./, "$1experts.")

/** What is stored under one name. */
export interface Halves<T> {
  readonly a?: T
  readonly b?: T
  readonly magnitude?: T
  /** Which of them is that of all experts. */
  readonly shared?: "a" | "b"
}

/** Modules of experts that have one matrix only get the other, where all of them share it. */
export const withShared = <T extends { readonly shape: Shape }>(found: ReadonlyMap<string, Halves<T>>): ReadonlyMap<string, Halves<T>> => {
  const whole = new Map(found)
  for (const [module, own] of found) {
    const name = withoutExpert(module)
    const common = name === module ? undefined : found.get(name)
    const side = own.a ? "b" : "a"
    const tensor = common?.[side]
    if (own[side] || !tensor || tensor.shape.length !== 3 || tensor.shape[0] !== 1) continue
    whole.set(module, { ...own, [side]: { ...tensor, shape: tensor.shape.slice(1) }, shared: side })
    whole.delete(name)
  }
  return whole
}
