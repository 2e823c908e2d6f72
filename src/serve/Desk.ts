/** Gives consumers a reading to take from: one that is where they are, or a new one. */
import type { Selected } from "./Catalogue.ts"
import { Feed, type StreamPosition, type Reader, type Taker } from "./Feed.ts"

/** Readings at a time. Each holds its window and the engine's buffers. */
const MOST_FEEDS = 3
const GLANCE = 100

export interface DeskOptions {
  readonly reader: Reader
  /** Milliseconds that the first consumer of a reading waits for others to share it. */
  readonly gather: number
  /** As many consumers start at once, without more waiting; none starts before, for as long as `gather` says. */
  readonly consumers?: number | undefined
  /** Before a reading begins: rejects if the weights are not what they were. */
  readonly check: () => Promise<void>
}

interface Waiting {
  readonly taker: Taker
  readonly selected: Selected
  readonly position: StreamPosition
  readonly seated: (feed: Feed) => void
}

export class Desk {
  readonly #options: DeskOptions
  readonly #feeds = new Set<Feed>()
  readonly #starts = new Map<Feed, () => void>()
  readonly #queue: Array<Waiting> = []
  #timer: NodeJS.Timeout | undefined
  #closed = false
  /** Bytes of weights that were read. */
  read = 0

  constructor(options: DeskOptions) {
    this.#options = options
  }

  /** `seated` is called once there is a reading. */
  seat(waiting: Waiting): void {
    this.#queue.push(waiting)
    this.#settle()
  }

  forget(taker: Taker): void {
    const at = this.#queue.findIndex((waiting) => waiting.taker === taker)
    if (at >= 0) this.#queue.splice(at, 1)
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    this.#queue.length = 0
    for (const start of this.#starts.values()) start()
    for (const feed of this.#feeds) feed.close()
  }

  #settle(): void {
    if (this.#closed) return
    // Placing one may bring another back into the queue.
    for (const waiting of this.#queue.slice()) {
      if (this.#queue.includes(waiting) && this.#place(waiting)) this.forget(waiting.taker)
    }
    if (this.#queue.length === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
    } else this.#timer ??= setInterval(() => this.#settle(), GLANCE)
  }

  #place(waiting: Waiting): boolean {
    const { position, seated, selected, taker } = waiting
    for (const feed of this.#feeds) {
      if (feed.selected.key !== selected.key || !feed.join(taker, position)) continue
      seated(feed)
      if (feed.takers === this.#options.consumers) this.#starts.get(feed)?.()
      queueMicrotask(taker.notify)
      return true
    }
    if (this.#feeds.size >= MOST_FEEDS) {
      // Nobody may keep others out by taking nothing.
      const stalled = [...this.#feeds].find((feed) => feed.isStalled)
      stalled?.close()
      return false
    }
    const feed = new Feed(selected, position, this.#options.reader)
    feed.join(taker, position)
    this.#feeds.add(feed)
    seated(feed)
    void this.#run(feed)
    return true
  }

  async #run(feed: Feed): Promise<void> {
    const { check, consumers, gather } = this.#options
    if (feed.takers !== consumers) await this.#gathered(feed, gather)
    let problem: unknown
    await check().catch((error: unknown) => { problem = error ?? new Error() })
    if (problem !== undefined) feed.fail(problem)
    else if (!this.#closed) await feed.run((bytes) => { this.read += bytes })
    this.#feeds.delete(feed)
    this.#settle()
  }

  #gathered(feed: Feed, milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const start = (): void => {
        clearTimeout(timer)
        this.#starts.delete(feed)
        resolve()
      }
      const timer = setTimeout(start, milliseconds)
      this.#starts.set(feed, start)
    })
  }
}
