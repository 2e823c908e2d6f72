/** How much memory the engine uses and how it reads and writes. */
import { PAGE, roundDown, roundUp } from "./Arena.ts"
import { type LaneSizes, READ_GAP, scratchOf } from "./Fill.ts"
import type { ReadBounds } from "./Pieces.ts"
import type { IoMode } from "./SourceFiles.ts"

export interface EngineOptions {
  /** Blocks in flight; 4 keeps a disk busy, more gains nothing. */
  readonly concurrency?: number
  /** Bytes of buffers in all. */
  readonly maxMemory?: number
  readonly io?: IoMode
  /** Exact sizes instead of those that follow from `maxMemory`. */
  readonly sizes?: Partial<LaneSizes>
  readonly gap?: number
}

export interface Settings {
  readonly concurrency: number
  readonly io: IoMode
  readonly sizes: LaneSizes
  readonly bounds: ReadBounds
}

const CONCURRENCY = 4
const MEMORY = 40 << 20
/** Beyond this, larger calls are no faster. */
const LARGEST_BLOCK = 4 << 20
const SMALLEST_BLOCK = 64 << 10
const WORK = 1 << 20

/** Sizes that fit `maxMemory`; `blocks` is how many blocks a task holds at once. */
export const settingsOf = (options: EngineOptions, blocks = 1): Settings => {
  const concurrency = Math.max(1, Math.floor(options.concurrency ?? CONCURRENCY))
  const perLane = (options.maxMemory ?? MEMORY) / concurrency - WORK - scratchOf({ block: 0, read: 0, work: 0 })
  const fit = roundDown(Math.min(LARGEST_BLOCK, perLane / (blocks + 1)), PAGE)
  const block = Math.max(SMALLEST_BLOCK, fit)
  const sizes = { block, read: roundUp(block, PAGE), work: WORK, ...options.sizes }
  return {
    concurrency,
    io: options.io ?? "auto",
    sizes,
    bounds: { largest: sizes.read, gap: options.gap ?? READ_GAP }
  }
}
