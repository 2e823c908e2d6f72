/** How much memory the engine uses and how it reads and writes. */
import { availableParallelism } from "node:os"
import { PAGE, roundDown } from "./Arena.ts"
import { type Sharing, SHARING } from "./Workers.ts"
import { slotBytes, type SlotSizes, overhead } from "./Slot.ts"
import { CELL } from "./portion.ts"
import type { IoMode } from "./IoWays.ts"

/** What of a machine the engine may use. The bytes are the same with all of them. */
export interface EngineLimits {
  /** Blocks in flight; 4 keeps a disk busy, more gains nothing. */
  readonly concurrency?: number
  /** Bytes of buffers in all. */
  readonly maxMemory?: number
  /** Threads that compute beside the one that reads and writes. By default one per core beyond the second, up to 4. */
  readonly threads?: number
  readonly io?: IoMode
  /** What is read lies on another machine: each read waits for its way there and back, so more of them are under way. */
  readonly far?: boolean
}

export interface EngineOptions extends EngineLimits {
  /** Exact sizes instead of those that follow from `maxMemory`. */
  readonly sizes?: Partial<SlotSizes>
  readonly sharing?: Sharing
  readonly gap?: number
}

export interface Settings {
  readonly concurrency: number
  readonly threads: number
  readonly sharing: Sharing
  readonly io: IoMode
  readonly sizes: SlotSizes
  readonly gap: number
  readonly far: boolean
  /** Bytes of the arena. */
  readonly memory: number
}

/** What holds where nothing is said; threads follow from the machine. */
export const ENGINE_DEFAULTS = { concurrency: 4, maxMemory: 48 << 20, io: "auto" } as const satisfies EngineLimits
/**
 * One thread puts in place and sums 2.3 GB/s and more (docs/performance.md, "What was tried": CRC-32 right after the copy); the
 * fastest disks do 10. Two cores have enough to do with one thread and the kernel's share of reading and writing (same table).
 */
const THREADS = 4
/** Least and most that a user may say. More is of no use anywhere (WebAssembly memory ends at 4 GiB); with less memory no block fits. */
export const ENGINE_BOUNDS = { concurrency: [1, 256], threads: [0, 128], maxMemory: [8e6, 2 ** 31] } as const
/** Larger calls are no faster (docs/performance.md: more blocks in flight, more memory). */
const LARGEST_BLOCK = 4 << 20
const SMALLEST_BLOCK = 64 << 10
const WORK = 1 << 20

/**
 * For what is far away: 24 blocks of 3 MiB are what 1 GB/s has on its way in 70 ms, and two threads keep up with twice that (`npm run
 * bench:remote`). Most goes straight to where it belongs, so there is little scratch.
 */
const FAR = { concurrency: 24, threads: 2, block: 3 << 20, read: 512 << 10, work: 512 << 10, gap: 256 << 10 } as const

/** What a call costs beyond its bytes, of some ten microseconds at a few GB/s. A choice: no measurement says it better. */
const GAP = 32 << 10

/** Sizes that fit `maxMemory`; `blocks` is how many blocks a task holds at once. */
export const settingsOf = (given: EngineOptions, blocks = 1): Settings => {
  const options = given.far ? farOptions(given) : given
  const concurrency = clamped(options.concurrency ?? ENGINE_DEFAULTS.concurrency, ...ENGINE_BOUNDS.concurrency)
  const maxMemory = Math.min(options.maxMemory ?? ENGINE_DEFAULTS.maxMemory, ENGINE_BOUNDS.maxMemory[1])
  const none = { block: 0, wide: 0, read: 0, work: WORK, cell: CELL }
  const fit = roundDown(Math.min(LARGEST_BLOCK, (maxMemory / concurrency - overhead(none)) / (blocks + 1)), PAGE)
  const block = Math.max(SMALLEST_BLOCK, fit)
  const usual = { ...none, block, read: block, ...options.sizes }
  const memory = Math.max(maxMemory, concurrency * slotBytes(usual, usual.block, blocks))
  // A block may begin within a page.
  const widest = roundDown((memory - overhead(usual)) / blocks, PAGE) - PAGE
  const sizes = { ...usual, wide: Math.max(usual.block, options.sizes?.wide ?? widest) }
  return {
    concurrency,
    threads: clamped(options.threads ?? usualThreads(), ...ENGINE_BOUNDS.threads),
    far: given.far ?? false,
    sharing: options.sharing ?? SHARING,
    io: options.io ?? ENGINE_DEFAULTS.io,
    sizes,
    gap: options.gap ?? GAP,
    // Sizes that somebody else has chosen are kept, whatever that takes: all processes of a job cut alike.
    memory: Math.max(memory, slotBytes(sizes, sizes.wide + PAGE, blocks))
  }
}

/** Threads for work that computes more than it moves, where nothing is said: it pays from the second core on. */
export const threadsToCompute = (): number => Math.min(THREADS, availableParallelism() - 1)

const usualThreads = (): number => Math.min(THREADS, availableParallelism() - 2)

const farOptions = (given: EngineOptions): EngineOptions =>
  given.concurrency !== undefined || given.maxMemory !== undefined
    ? given
    : {
      ...given,
      concurrency: FAR.concurrency,
      threads: given.threads ?? Math.min(FAR.threads, usualThreads()),
      gap: given.gap ?? FAR.gap,
      sizes: { block: FAR.block, read: FAR.read, work: FAR.work, ...given.sizes }
    }

const clamped = (n: number, least: number, most: number): number => Math.min(most, Math.max(least, Math.floor(n)))
