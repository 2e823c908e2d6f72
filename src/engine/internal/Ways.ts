/**
 * How files of one file system are read, or written, fastest: past the page cache or through it, how many blocks at a time. Nobody knows
 * before: it depends on the disk, its driver and what else goes on. So the first blocks go one way and the next ones another, the faster
 * way is kept, and the others are tried again now and then, the less often the longer they lose.
 */

/** One way. `inFlight`: blocks that are read or written beside each other. */
export interface Way {
  readonly direct: boolean
  readonly inFlight: number
}

/** What a way was seen to do. */
export interface SeenWay extends Way {
  /** Moved this way. */
  readonly bytes: number
  /** Bytes per second while any was under way, lately; 0 if none was. */
  readonly rate: number
}

/** Leave to move one block. */
export interface Turn {
  readonly direct: boolean
  /**
   * The block is moved, or that has failed. `settle` makes durable what is still in the page cache: it is called where a measurement
   * ends, as that is part of what the way costs. Fails with what `settle` fails with.
   */
  readonly end: (settle?: () => Promise<void>) => Promise<void>
}

/** Bytes of a try: enough that starting and making durable cost little beside. */
const TRIAL = 48 << 20
/** A try that is slower than the way in use after so many bytes, without making anything durable, ends there: most that lose, lose by far. */
const GLANCE = 8 << 20
/** The way in use is measured in stretches of so many bytes; what it wrote is then made durable. */
const STRETCH = 128 << 20
/** Where nothing is known, the first way is left after so many bytes to look at the second. */
const FIRST = 12 << 20
/** Bytes between two tries: at first, and at most. It doubles with each that changes nothing, twice if that one lost by half and more. */
const BETWEEN = [256 << 20, 8 * 2 ** 30] as const
/** Another way must be this much faster: the same one differs by as much from stretch to stretch (docs/performance.md, "Direct or buffered"). */
const BETTER = 1.1
/** A try is given up when it has taken this many times what the way in use would have needed for as much. */
const HOPELESS = 1.5

/** One try at a time: two would measure each other. */
export class Trials {
  running: Ways | undefined
}

interface Tried extends Way {
  bytes: number
  rate: number
}

interface Stretch {
  readonly way: Tried
  /** A try is looked at twice; undefined for the way in use. */
  trial: "glance" | "whole" | undefined
  /** Bytes that may begin. */
  limit: number
  begun: number
  done: number
  /** Seconds in which something was under way. */
  busy: number
}

interface Waiting {
  readonly bytes: number
  readonly grant: (turn: Turn) => void
}

export interface WaysOptions {
  /** What an earlier run saw; without it the second way is tried after the first few blocks. */
  readonly known?: ReadonlyArray<SeenWay>
  /** Who waits for turns of several file systems takes them by ascending order. */
  readonly order?: number
  readonly trials?: Trials
  /** Seconds. */
  readonly now?: () => number
}

export class Ways {
  readonly order: number
  #ways: ReadonlyArray<Tried>
  readonly #trials: Trials
  readonly #now: () => number
  readonly #waiting: Array<Waiting> = []
  #best: Tried
  #stretch: Stretch
  #active = 0
  /** When the first of the active ones began. */
  #since = 0
  #closing = false
  #between: number
  #untilTrial: number
  #next = 0

  /** `ways`: in the order in which they are tried. */
  constructor(ways: ReadonlyArray<Way>, { known = [], now = () => performance.now() / 1000, order = 0, trials = new Trials() }: WaysOptions = {}) {
    this.order = order
    this.#trials = trials
    this.#now = now
    this.#ways = ways.map((way) => ({ ...way, bytes: 0, rate: known.find((k) => sameWay(k, way))?.rate ?? 0 }))
    this.#best = this.#ways.reduce((best, way) => way.rate > best.rate ? way : best)
    this.#between = BETWEEN[0]
    this.#untilTrial = this.#best.rate > 0 ? this.#between : FIRST
    this.#stretch = this.#begin(this.#best, false)
  }

  /** There is nothing to find out. */
  get isFixed(): boolean {
    return this.#ways.length === 1
  }

  /** What was seen, of the ways that were used or are known. */
  get seen(): ReadonlyArray<SeenWay> {
    return this.#ways.filter(({ rate }) => rate > 0).map((way) => ({ ...way }))
  }

  /** The way that is used now, tries apart. */
  get best(): Way {
    return this.#best
  }

  /** The file system knows no direct I/O. */
  refuse(): void {
    const buffered = this.#ways.filter(({ direct }) => !direct)
    if (buffered.length === this.#ways.length || buffered.length === 0) return
    this.#ways = buffered
    this.#best = buffered[0]!
    if (this.#trials.running === this) this.#trials.running = undefined
    this.#stretch = { ...this.#begin(this.#best, false), limit: Infinity }
  }

  /** Wait for a turn to move `bytes`. Turns are granted in the order in which they are asked for. */
  take(bytes: number): Promise<Turn> {
    return new Promise((grant) => {
      this.#waiting.push({ bytes, grant })
      this.#serve()
    })
  }

  #serve(): void {
    for (let head = this.#waiting[0]; head !== undefined && !this.#closing; head = this.#waiting[0]) {
      const { begun, limit, way } = this.#stretch
      if (begun >= limit || this.#active >= way.inFlight) return
      this.#waiting.shift()
      if (this.#active++ === 0) this.#since = this.#now()
      this.#stretch.begun += head.bytes
      head.grant({ direct: way.direct, end: (settle) => this.#end(head.bytes, settle) })
    }
  }

  async #end(bytes: number, settle?: () => Promise<void>): Promise<void> {
    const stretch = this.#stretch
    stretch.done += bytes
    stretch.way.bytes += bytes
    if (stretch.trial) this.#look(stretch)
    try {
      if (stretch.begun < stretch.limit || this.#active > 1) return
      this.#closing = true
      if (stretch.trial !== "glance") await settle?.()
    } finally {
      if (--this.#active === 0) stretch.busy += this.#now() - this.#since
      if (this.#closing) {
        this.#closing = false
        this.#stretch = this.#after(stretch)
      }
      this.#serve()
    }
  }

  /** Goes a try on? */
  #look(stretch: Stretch): void {
    const elapsed = stretch.busy + this.#now() - this.#since
    const usual = (bytes: number): number => bytes / this.#best.rate
    if (stretch.trial === "glance" && stretch.done >= GLANCE && elapsed < usual(stretch.done)) {
      stretch.trial = "whole"
      stretch.limit = TRIAL
    }
    if (elapsed > HOPELESS * usual(stretch.limit)) stretch.limit = 0
  }

  #begin(way: Tried, trial: boolean): Stretch {
    const limit = this.#ways.length === 1 ? Infinity : trial ? GLANCE : Math.min(STRETCH, this.#untilTrial)
    return { way, trial: trial ? "glance" : undefined, limit, begun: 0, done: 0, busy: 0 }
  }

  /** What comes after a stretch, by what it showed. */
  #after({ busy, done, trial, way }: Stretch): Stretch {
    const rate = done / Math.max(busy, 1e-6)
    if (trial) {
      this.#trials.running = undefined
      const isBetter = rate > BETTER * this.#best.rate
      way.rate = rate
      this.#between = isBetter ? BETWEEN[0] : Math.min((2 * rate < this.#best.rate ? 4 : 2) * this.#between, BETWEEN[1])
      this.#untilTrial = this.#between
      if (isBetter) this.#best = way
    } else {
      way.rate = way.rate === 0 ? rate : (way.rate + rate) / 2
      this.#untilTrial -= done
      this.#best = this.#ways.reduce((best, other) => other.rate > BETTER * best.rate ? other : best, this.#best)
    }
    if (this.#untilTrial > 0) return this.#begin(this.#best, false)
    if (this.#trials.running !== undefined) {
      this.#untilTrial = TRIAL
      return this.#begin(this.#best, false)
    }
    this.#trials.running = this
    const others = this.#ways.filter((other) => other !== this.#best)
    return this.#begin(others[this.#next++ % others.length]!, true)
  }
}

export const sameWay = (a: Way, b: Way): boolean => a.direct === b.direct && a.inFlight === b.inFlight
