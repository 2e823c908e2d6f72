/**
 * What the engine is given: arrays that exist in files, arrays to be assembled from them, and files as a sequence of
 * segments. It knows nothing of models or formats.
 */
import type { Copy, Shape } from "../../tensor/Copy.ts"
import type { ElementSums } from "../../arithmetic/matrixSums.ts"
import type { DType } from "../../tensor/DType.ts"
import type { AddressRange } from "./Arena.ts"

/** A contiguous C-order array in a file that exists. `offset` in bytes. Of dtype `F4`: two elements a byte, the low half first. */
export interface SourceArray {
  readonly path: string
  readonly offset: number
  readonly dtype: DType
  readonly shape: Shape
}

/** A copy from arrays in files. */
export type SourceCopy = Copy<SourceArray>

/** An array and what fills it. */
export interface TargetArray {
  /** Names the array in errors and reports. */
  readonly id: string
  readonly dtype: DType
  readonly shape: Shape
  /**
   * Copies whose target addresses are element addresses in this array; together they cover it exactly once. Cut when asked for, and
   * not kept: a plan of 100 000 tensors stays small.
   */
  readonly copies: () => ReadonlyArray<SourceCopy>
  /** What becomes of elements once they are assembled. */
  readonly adjust?: Adjustment
}

/**
 * Changes elements in place. Which elements come together is the engine's choice, and one may come twice, so what becomes of each depends on
 * its own bytes and place alone.
 */
export interface Adjustment {
  /** What is added to the `count` elements from element `first` on, in C order, that lie at an address: plain data, which any thread can compute. */
  readonly sums?: (at: number, first: number, count: number) => ReadonlyArray<ElementSums>
  /** `bytes` holds the elements from element `first` on. */
  readonly bytes?: (bytes: Uint8Array, first: number) => void
}

/** The array with elements that become others once they are assembled. Throws RangeError if they do so already: one would undo the other. */
export const adjusted = (array: TargetArray, adjust: Adjustment): TargetArray => {
  const { dtype, id, shape } = array
  if (array.adjust) throw new RangeError(`${id}: its elements are changed already`)
  return { id, dtype, shape, copies: () => array.copies(), adjust }
}

export type Segment =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  /** As many bytes as the array has; `crc` asks for its CRC-32. */
  | { readonly kind: "array"; readonly array: TargetArray; readonly crc: boolean }
  /** `length` bytes that depend on the CRC-32 of an array segment before it: the one that is these bytes `of` the file, else the most recent. */
  | { readonly kind: "seal"; readonly length: number; readonly bytes: (crc32: number) => Uint8Array; readonly of?: AddressRange }

export interface TargetFile {
  /** Relative to the directory of the execution, whose folders exist. */
  readonly name: string
  readonly segments: ReadonlyArray<Segment>
  /** Sum of the segments' lengths. */
  readonly size: number
  /** Only some of its segments are given, enough to write a portion of it. */
  readonly excerpt?: Excerpt
}

/** Segments of a file that follow one another, and what an execution needs to know of the others. */
export interface Excerpt {
  /** Where in the file the first of them begins. */
  readonly start: number
  /** Its index among all segments of the file. */
  readonly first: number
  /** Where the cells of the portion begin (portion.ts). */
  readonly cells: ReadonlyArray<number>
}
