/** What a thread runs: `thread.ts` as a source file, `thread.js` beside a bundle, or the same inside a single-file executable. */
import { getAsset, isSea } from "node:sea"

export interface WorkerScript {
  readonly script: URL | string
  /** `script` is the program itself. */
  readonly eval: boolean
}

/** The key of the program among the assets of a single-file executable (scripts/executable.ts). */
export const THREAD_ASSET = "thread.js"

/** Seen from this file; of a bundle, parts may lie in a folder of their own. */
const place = (url: string): string => {
  if (url.endsWith(".ts")) return "./worker.ts"
  return /\/chunks\/[^/]+$/.test(url) ? "../thread.js" : "./thread.js"
}

export const workerScript = (): WorkerScript =>
  isSea()
    ? { script: getAsset(THREAD_ASSET, "utf8"), eval: true }
    : { script: new URL(place(import.meta.url), import.meta.url), eval: false }
