/** What a deep check is asked, and what it found. */
import type { Damage } from "./Damage.ts"

export interface DeepReport {
  readonly path: string
  /** What was compared with: the checksums of the whole, or the CRC-32 that each stored tensor carries. */
  readonly against: "checksums" | "items"
  readonly files: number
  readonly tensors: number
  readonly bytes: number
  readonly damages: ReadonlyArray<Damage>
  readonly notes: ReadonlyArray<string>
}

export interface DeepOptions {
  readonly concurrency?: number
  readonly progress?: (bytes: number) => void
  readonly onSize?: (bytes: number) => void
}
