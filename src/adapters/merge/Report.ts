/** What a merge does, or did, as plain data. */
import type { MergeOrder } from "./addTerms.ts"

/** Of one form, for people, how many tensors. */
export interface Requantised {
  readonly form: string
  readonly tensors: number
}

export interface MergeReport {
  readonly architecture: string
  readonly family: string
  /** The base model's weights. */
  readonly base: string
  readonly adapters: ReadonlyArray<{ readonly path: string; readonly rank: number; readonly alpha: number; readonly dora: boolean; readonly weight: number; readonly tensors: number }>
  readonly order: MergeOrder
  /** What computes. */
  readonly driver: string
  /** Tensors of the base that change, and those that are copied as they are. */
  readonly changed: number
  readonly copied: number
  readonly files: ReadonlyArray<{ readonly name: string; readonly bytes: number }>
  /** Files in which nothing changes: linked or copied. */
  readonly unchanged: ReadonlyArray<string>
  /** Quantised tensors whose values were rounded to codes again, by form. */
  readonly requantised: ReadonlyArray<Requantised>
  readonly notes: ReadonlyArray<string>
}
