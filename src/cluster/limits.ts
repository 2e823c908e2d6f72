/** How long the processes of a job wait for each other, in milliseconds. */
export interface Limits {
  /** Between two signs of life. */
  readonly beat: number
  /** Without any sign of life a process is lost. */
  readonly silence: number
  /** The same while it plans, which can keep it from speaking and hearing: from joining to its first step other than a broadcast. */
  readonly planning: number
  /** Until all processes have joined. */
  readonly join: number
  /** A unit of work whose holder makes no progress for so long is given to another as well. */
  readonly lease: number
  /** A step (barrier, broadcast, gather) that says nothing else. */
  readonly step: number
}

export const LIMITS: Limits = { beat: 5_000, silence: 15_000, planning: 120_000, join: 300_000, lease: 60_000, step: 600_000 }

/** Where processes meet in files: other hosts may see a new name only after a minute (NFS, `acdirmax`). */
export const FILE_LIMITS: Limits = { ...LIMITS, beat: 10_000, silence: 150_000, planning: 150_000, join: 600_000 }

/** For work of unknown length: signs of life show whether the others live. A month. */
export const WHILE_ALL_LIVE = 30 * 86_400_000

/** `15 s`, `0.5 s` */
export const seconds = (milliseconds: number): string => `${Math.round(milliseconds / 100) / 10} s`

/**
 * Tells whether the others were silent or this process was away: one that was stopped or busy for longer than a beat first hears what
 * came meanwhile.
 */
export class Attention {
  readonly #beat: number
  #last: number
  #from: number
  constructor(beat: number, now: number) {
    this.#beat = beat
    this.#last = now
    this.#from = now
  }
  /** Whether silence of others until `now` counts: this process itself was not away. */
  isPaid(now: number): boolean {
    if (now - this.#last > 2 * this.#beat) this.#from = now + this.#beat
    this.#last = now
    return now >= this.#from
  }
}
