/** How far a piece of work is, told as it goes on. */

/** What is being done: reading, writing and comparing are phases of their own where a call does several. */
export type Phase = "importing" | "exporting" | "comparing" | "reading" | "relabelling" | "resharding" | "writing" | "computing" | "serving" | "publishing" | "pulling"

/** How far a phase of the work is, in bytes. */
export interface Progress {
  readonly phase: Phase
  /** Bytes of the phase that are done; never decreases. */
  readonly done: number
  /** Bytes of the phase in all; known before the first are done. */
  readonly total: number
}

/** Work that tells how far it is. */
export interface Watched {
  /**
   * Told when a phase begins (`done` is 0) and after every block that is done. What it throws ends the work with that error, and
   * nothing is published.
   */
  readonly onProgress?: (progress: Progress) => void
}

/** Where the progress of a phase goes: bytes in all, and bytes done since the last call. */
export interface Meter {
  readonly total: (bytes: number) => void
  readonly add: (bytes: number) => void
}

export const meter = (phase: Phase, { onProgress }: Watched): Meter => {
  if (!onProgress) return { total: () => {}, add: () => {} }
  let done = 0
  let total = 0
  const tell = () => { onProgress({ phase, done, total }) }
  return {
    total: (bytes) => {
      total = bytes
      tell()
    },
    add: (bytes) => {
      done += bytes
      tell()
    }
  }
}

/** The same for work that takes the two as options. */
export const measured = (phase: Phase, watched: Watched): { readonly progress: (bytes: number) => void; readonly onSize: (bytes: number) => void } => {
  const { add, total } = meter(phase, watched)
  return { progress: add, onSize: total }
}
