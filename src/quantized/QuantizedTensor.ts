/** A tensor whose values are stored as codes and scales. */
import type { Shape } from "../tensor/Copy.ts"
import type { BlockLayout } from "./blocks.ts"

/** A tensor in the files as codes or scales: its own elements, or the 4-bit codes of which each of its bytes holds two. */
export interface StoredCodes {
  readonly name: string
  readonly packed: boolean
}

export interface QuantizedTensor {
  /** The name under which an unquantised checkpoint would have it. */
  readonly name: string
  readonly shape: Shape
  /** For people, e.g. `FP8 E4M3, 128×128 blocks`. */
  readonly form: string
  /** The tensors in the files that make it up, its codes first. */
  readonly members: ReadonlyArray<string>
  readonly layout: BlockLayout<StoredCodes>
}
