import type { AddressRange } from "./Arena.ts"

/** A seal of an array that others assemble a part of: whoever has the sums of all of it writes the seal (seals.ts). */
export interface OpenSeal {
  /** Index among the file's segments. */
  readonly segment: number
  /** Where in the file the array is. */
  readonly array: AddressRange
  /** The seal's bytes [from, to) belong at `position` of the file. */
  readonly from: number
  readonly to: number
  readonly position: number
}
