/** The faster way is found, kept and found again; the clock is the test's. */
import { describe, expect, it } from "vitest"
import { Trials, type Way, Ways } from "../../src/engine/internal/Ways.ts"

const BLOCK = 4 << 20
const direct: Way = { direct: true, inFlight: 4 }
const buffered: Way = { direct: false, inFlight: 1 }

/** A disk that moves one block after the other; how fast may change. */
class Moves {
  seconds = 0
  /** Seconds that making durable takes, for each buffered block before it. */
  settling = 0
  readonly moved = { direct: 0, buffered: 0 }
  settled = 0
  #unsettled = 0
  #rates: { direct: number; buffered: number }

  constructor(rates: { direct: number; buffered: number }) {
    this.#rates = rates
  }

  readonly now = (): number => this.seconds

  become(rates: { direct: number; buffered: number }): void {
    this.#rates = rates
  }

  /** Move so many bytes through `ways`, `inFlight` blocks at a time. */
  async move(ways: Ways, bytes: number, inFlight = 4): Promise<void> {
    let left = bytes / BLOCK
    const mover = async (): Promise<void> => {
      while (left-- > 0) {
        const turn = await ways.take(BLOCK)
        const way = turn.direct ? "direct" : "buffered"
        this.seconds += BLOCK / this.#rates[way]
        this.moved[way] += BLOCK
        if (!turn.direct) this.#unsettled++
        await turn.end(async () => {
          this.settled++
          this.seconds += this.#unsettled * this.settling
          this.#unsettled = 0
        })
      }
    }
    await Promise.all(Array.from({ length: inFlight }, mover))
  }

  /** What the better of the two ways alone would have taken, made durable. */
  best(bytes: number): number {
    return Math.min(bytes / this.#rates.direct, bytes / this.#rates.buffered + bytes / BLOCK * this.settling)
  }
}

const GB = 1e9

describe("the faster way", () => {
  it.each([
    ["both alike", 1.5 * GB, 1.5 * GB, 0],
    ["direct is faster", 1.5 * GB, 1 * GB, 0],
    ["direct is faster by far", 1.5 * GB, 0.1 * GB, 0],
    ["buffered is faster", 0.7 * GB, 1.4 * GB, 0],
    ["buffered is faster by far", 0.5 * GB, 3 * GB, 0],
    ["buffered is faster until it is made durable", 1 * GB, 4 * GB, BLOCK / (0.8 * GB)],
    ["buffered is faster in spite of that", 0.8 * GB, 4 * GB, BLOCK / (2 * GB)]
  ])("%s: a gigabyte takes a tenth more than that way alone, at most", async (_, directRate, bufferedRate, settling) => {
    const disk = new Moves({ direct: directRate, buffered: bufferedRate })
    disk.settling = settling
    const ways = new Ways([direct, buffered], { now: disk.now })
    await disk.move(ways, 256 * BLOCK)
    expect(disk.seconds / disk.best(256 * BLOCK)).toBeLessThan(1.1)
    expect(disk.moved.direct + disk.moved.buffered).toBe(256 * BLOCK)
    // What is known then needs no finding out.
    const again = new Moves({ direct: directRate, buffered: bufferedRate })
    again.settling = settling
    await again.move(new Ways([direct, buffered], { now: again.now, known: ways.seen }), 256 * BLOCK)
    expect(again.seconds / again.best(256 * BLOCK)).toBeLessThan(1.1)
  })

  it("is found again when the disk changes", async () => {
    const disk = new Moves({ direct: 2 * GB, buffered: GB })
    const ways = new Ways([direct, buffered], { now: disk.now })
    await disk.move(ways, 200 * BLOCK)
    expect(ways.best).toMatchObject(direct)
    disk.become({ direct: 0.5 * GB, buffered: GB })
    await disk.move(ways, 200 * BLOCK)
    expect(ways.best).toMatchObject(buffered)
  })

  it("no more blocks are under way than the way has, and turns come in order", async () => {
    const ways = new Ways([{ direct: false, inFlight: 2 }])
    const granted: Array<number> = []
    const turns = Array.from({ length: 5 }, (_, i) => ways.take(BLOCK).then((turn) => (granted.push(i), turn)))
    await Promise.all(turns.slice(0, 2))
    expect(granted).toEqual([0, 1])
    await (await turns[1]!).end()
    await turns[2]
    expect(granted).toEqual([0, 1, 2])
  })

  it("direct I/O that is refused is not asked for again", async () => {
    const ways = new Ways([direct, buffered])
    const turn = await ways.take(BLOCK)
    expect(turn.direct).toBe(true)
    ways.refuse()
    await turn.end()
    for (let i = 0; i < 100; i++) {
      const next = await ways.take(BLOCK)
      expect(next.direct).toBe(false)
      await next.end()
    }
  })

  it("making durable that fails, fails the turn, and the next ones are granted", async () => {
    const disk = new Moves({ direct: GB, buffered: GB })
    const ways = new Ways([buffered, direct], { now: disk.now })
    let failures = 0
    for (let i = 0; i < 60; i++) {
      const turn = await ways.take(BLOCK)
      disk.seconds += 0.001
      await turn.end(() => Promise.reject(new Error("full"))).catch(() => { failures++ })
    }
    expect(failures).toBeGreaterThan(0)
  })

  it("of two sides only one is tried at a time", async () => {
    const disk = new Moves({ direct: GB, buffered: GB })
    const trials = new Trials()
    const sides = [new Ways([direct, buffered], { now: disk.now, trials }), new Ways([direct, buffered], { now: disk.now, trials, order: 1 })]
    for (let i = 0; i < 40; i++) {
      for (const side of sides) await disk.move(side, BLOCK, 1)
      const running = trials.running
      expect(running === undefined || sides.includes(running)).toBe(true)
    }
    for (const side of sides) expect(side.seen.length).toBe(2)
  })
})
