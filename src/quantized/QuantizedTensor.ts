/** A tensor whose values are stored as codes and scales. */
import type { Shape } from "../tensor/Copy.ts"
import type { BlockLayout } from "./blocks.ts"

export interface QuantizedTensor {
  /** The name under which an unquantised checkpoint would have it. */
  readonly name: string
  readonly shape: Shape
  /** For people, e.g. `FP8 E4M3, 128×128 blocks`. */
  readonly form: string
  /** The tensors in the files that make it up, its codes first. */
  readonly members: ReadonlyArray<string>
  readonly layout: BlockLayout
}

/** Under this name 4-bit codes are read element by element; under their own, as the bytes they are. */
export const asNibbles = (tensor: string): string => `4bit:${tensor}`

export const fromNibbles = (id: string): string | undefined => (id.startsWith("4bit:") ? id.slice(5) : undefined)
