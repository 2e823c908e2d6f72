/** What of memory and of requests reading from elsewhere wants. */
import { isRemote } from "./place.ts"

/**
 * Every read waits for its way there and back, so many are under way: 32 blocks of 2 MiB keep 1 GB/s busy over 40 ms
 * (`npm run bench:remote`; docs/performance.md).
 */
const FAR = { concurrency: 48, maxMemory: 150 << 20 } as const

/** Limits of the engine for these sources, where the user names none. */
export const readingLimits = (...paths: ReadonlyArray<string>): Partial<typeof FAR> => (paths.some(isRemote) ? FAR : {})
