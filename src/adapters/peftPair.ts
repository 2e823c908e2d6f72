/**
 * The two matrices of an adapter as `peft` stores them, and where in them each element of `A [rank, in]` and `B [out, rank]` lies.
 * A linear module has `lora_A.weight [r, in]` and `lora_B.weight [out, r]`. A parameter of its own (packed experts `[E, out, in]`) has
 * all experts in one pair: `lora_A.weight [E·r, in]`, row `e·r + k`, and `lora_B.weight [out, r·E]`, column `k·E + e`
 * (adapters-and-assembly.md 1.3). Pure.
 */
import type { Shape } from "../tensor/Copy.ts"
import type { HfMatrix } from "./factors.ts"

/** What stands before a module's path. */
export const PREFIX = "base_model.model."

/**
 * Which axis of a parameter `[E, a, b]` is the input of its adapter. `peft` takes the last one (`b`), unless the parameter's module says
 * of itself that it is transposed; before 0.20 it took `a` always.
 */
export type InputAxis = "last" | "first"

/** A matrix in a tensor: element (rank k, other i) is at `offset + k·rankStride + i·stride`. */
export interface FactorView {
  readonly tensor: string
  readonly shape: Shape
  readonly offset: number
  readonly rankStride: number
  readonly stride: number
}

/** An adapter of one HF matrix in `peft`'s form. */
export interface PeftPair {
  /** `A`: of the input. */
  readonly input: FactorView
  /** `B`: of the output. */
  readonly output: FactorView
  /** Row lengths of DoRA; a parameter has none. */
  readonly magnitude?: { readonly tensor: string; readonly shape: Shape }
}

/** What of a base model an adapter is for: a module with a matrix, or a parameter of a module. */
export interface PeftTarget {
  readonly kind: "module" | "parameter"
  /** The path of the module, or of the parameter. */
  readonly path: string
}

export const targetOf = ({ expert, shape, tensor, transposed }: HfMatrix): PeftTarget =>
  tensor.endsWith(".weight") && shape.length === 2 && !transposed && expert === undefined
    ? { kind: "module", path: tensor.slice(0, -".weight".length) }
    : { kind: "parameter", path: tensor }

const parentOf = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf(".")))

/**
 * What each parameter's keys begin with: wrappers of several parameters of one module are nested, the first by name outermost.
 */
export const parameterPrefixes = (paths: Iterable<string>): ReadonlyMap<string, string> => {
  const prefixes = new Map<string, string>()
  for (const [parent, own] of Map.groupBy(paths, parentOf)) {
    for (const [depth, path] of [...own].sort().entries()) prefixes.set(path, `${PREFIX}${parent}${".base_layer".repeat(depth)}`)
  }
  return prefixes
}

/** The pair of one matrix of rank `rank`; `prefix`: of its keys. */
export const peftPair = ({ columns, expert, rows, shape, transposed }: HfMatrix, prefix: string, rank: number, inputAxis: InputAxis = "last"): PeftPair => {
  const [a, b] = [`${prefix}.lora_A.weight`, `${prefix}.lora_B.weight`]
  const { index, of: count } = expert ?? { index: 0, of: 1 }
  // A of `peft` belongs to the axis that it takes for the input.
  const swapped = inputAxis === "first" && shape.length > 2 ? !transposed : transposed
  const [input, output] = swapped ? [rows, columns] : [columns, rows]
  const own: FactorView = { tensor: a, shape: [count * rank, input], offset: index * rank * input, rankStride: input, stride: 1 }
  const other: FactorView = { tensor: b, shape: [output, rank * count], offset: index, rankStride: count, stride: rank * count }
  return {
    input: swapped ? other : own,
    output: swapped ? own : other,
    ...(swapped || expert ? {} : { magnitude: { tensor: `${prefix}.lora_magnitude_vector`, shape: [rows] } })
  }
}
