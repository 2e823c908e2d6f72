/**
 * How many requests are under way at a time: more while that makes the whole faster. One connection of a store gives far less than a
 * network does, and nobody knows beforehand how many it takes.
 */

/** Requests at the beginning; where the rule leads to from here is found within seconds. */
const FIRST = 32
const MOST = 128
/** Bytes after which the rate is looked at, for each lane: some requests of each must have ended. */
const ENOUGH = 8 << 20
/** What more lanes must bring to be kept. */
const GAIN = 1.05

export class Lanes {
  #limit = FIRST
  #taken = 0
  readonly #waiting: Array<() => void> = []
  #since = 0
  #bytes = 0
  #best = 0
  #settled = false
  /** Somebody had to wait since the rate was last looked at: more lanes would have been used. */
  #short = false
  readonly #now: () => number

  /** `now`: milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  get limit(): number {
    return this.#limit
  }

  /** Run `use` in a lane. */
  async through<A>(use: () => Promise<A>): Promise<A> {
    if (this.#taken >= this.#limit) {
      this.#short = true
      await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
    } else {
      this.#taken++
    }
    try {
      return await use()
    } finally {
      // A lane is handed on, unless there are too many of them.
      const next = this.#taken <= this.#limit ? this.#waiting.shift() : undefined
      if (next) next()
      else this.#taken--
    }
  }

  /** So many bytes have come. */
  received(bytes: number): void {
    if (this.#since === 0) this.#since = this.#now()
    this.#bytes += bytes
    if (this.#settled || this.#bytes < ENOUGH * this.#limit) return
    const rate = this.#bytes / Math.max(1, this.#now() - this.#since)
    if (this.#short) this.#adapt(rate)
    this.#bytes = 0
    this.#since = this.#now()
    this.#short = false
  }

  #adapt(rate: number): void {
    if (rate < this.#best * GAIN) {
      this.#settled = true
      this.#limit = Math.max(FIRST, Math.floor(this.#limit / 2))
      return
    }
    this.#best = rate
    if (this.#limit >= MOST) {
      this.#settled = true
      return
    }
    this.#limit = Math.min(MOST, this.#limit * 2)
    while (this.#taken < this.#limit && this.#waiting.length > 0) {
      this.#taken++
      this.#waiting.shift()!()
    }
  }
}
