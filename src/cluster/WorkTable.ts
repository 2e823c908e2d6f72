/** Units of work and who has them: leases that progress renews, and stealing from whoever has most left. */
import { quote } from "../errors.ts"
import type { Ground } from "./ground.ts"
import { seconds } from "./limits.ts"

interface Lease {
  readonly rank: number
  until: number
}

interface Entry {
  readonly sizes: ReadonlyArray<number>
  /** Units of each rank that nobody has begun, the last to be given first. */
  readonly queues: ReadonlyArray<Array<number>>
  /** Bytes in each of them. */
  readonly queued: Float64Array
  readonly leases: Map<number, Lease>
  readonly accepted: Uint8Array
  readonly values: Array<unknown>
  /** Ranks that found nothing to take while others still work. */
  readonly idle: Set<number>
  left: number
  unbegun: number
}

const MOST_WORKS = 1024

export class WorkTable {
  readonly #ground: Ground
  readonly #world: number
  readonly #lease: number
  readonly #entries = new Map<string, Entry>()
  /** Asked for before rank 0 opened it. */
  readonly #early = new Map<string, Array<readonly [rank: number, units: number]>>()
  readonly #asked = new Map<string, { readonly until: number; readonly timeout: number }>()
  constructor(ground: Ground, world: number, lease: number) {
    this.#ground = ground
    this.#world = world
    this.#lease = lease
  }

  open(work: string, sizes: ReadonlyArray<number>, owners: ReadonlyArray<number>): void {
    if (this.#entries.has(work) || this.#entries.size >= MOST_WORKS || owners.length !== sizes.length || owners.some((rank) => rank >= this.#world)) {
      return this.#ground.fail(0, "cluster/protocol", `work ${quote(work)} is opened twice, or not as work is`)
    }
    const queues = Array.from({ length: this.#world }, (): Array<number> => [])
    const queued = new Float64Array(this.#world)
    // Largest first, so that what is left at the end is small.
    const order = sizes.map((_, unit) => unit).sort((a, b) => sizes[a]! - sizes[b]! || b - a)
    for (const unit of order) {
      queues[owners[unit]!]!.push(unit)
      queued[owners[unit]!]! += sizes[unit]!
    }
    this.#entries.set(work, {
      sizes, queues, queued, leases: new Map(), accepted: new Uint8Array(sizes.length), values: new Array(sizes.length), idle: new Set(),
      left: sizes.length, unbegun: sizes.length
    })
    for (const [rank, units] of this.#early.get(work) ?? []) this.take(rank, work, units)
    this.#early.delete(work)
  }

  take(rank: number, work: string, units: number): void {
    const entry = this.#entries.get(work)
    if (entry === undefined) {
      const early = this.#early.get(work) ?? []
      if (early.length >= this.#world || this.#early.size >= MOST_WORKS) return this.#ground.fail(rank, "cluster/protocol", `rank ${rank} asks for work ${quote(work)}, which nobody opened`)
      early.push([rank, units])
      this.#early.set(work, early)
      return
    }
    if (units !== entry.sizes.length) return this.#ground.fail(rank, "launch/plan", `rank ${rank} knows ${units} units of work ${quote(work)}, rank 0 ${entry.sizes.length}`)
    const unit = entry.left === 0 ? null : this.#next(rank, entry)
    if (unit === undefined) entry.idle.add(rank)
    else this.#ground.send([rank], { is: "unit", work, unit })
  }

  done(rank: number, work: string, unit: number, value: unknown): void {
    const entry = this.#entries.get(work)
    if (entry === undefined || unit >= entry.sizes.length) return this.#ground.fail(rank, "cluster/protocol", `rank ${rank} finished what is no unit of work ${quote(work)}`)
    const accepted = entry.accepted[unit] === 0
    this.#ground.send([rank], { is: "accepted", work, unit, accepted })
    if (!accepted) return
    entry.accepted[unit] = 1
    entry.values[unit] = value ?? null
    entry.leases.delete(unit)
    entry.left--
    if (entry.left > 0) return
    this.#ground.send([...entry.idle], { is: "unit", work, unit: null })
    entry.idle.clear()
    if (this.#asked.has(work)) this.#answer(work, entry)
  }

  results(work: string, timeout: number): void {
    const entry = this.#entries.get(work)
    if (entry === undefined) return this.#ground.fail(0, "cluster/protocol", `work ${quote(work)} was never opened`)
    if (entry.left === 0) this.#answer(work, entry)
    else this.#asked.set(work, { timeout, until: this.#ground.now() + timeout })
  }

  /** The rank makes progress: it keeps what it has. */
  renew(rank: number): void {
    const until = this.#ground.now() + this.#lease
    for (const { leases } of this.#entries.values()) for (const lease of leases.values()) if (lease.rank === rank) lease.until = until
  }

  tick(): void {
    const now = this.#ground.now()
    for (const [work, entry] of this.#entries) {
      for (const rank of entry.idle) {
        const unit = this.#next(rank, entry)
        if (unit === undefined) continue
        entry.idle.delete(rank)
        this.#ground.send([rank], { is: "unit", work, unit })
      }
      const asked = this.#asked.get(work)
      if (asked === undefined || now < asked.until) continue
      this.#asked.delete(work)
      this.#ground.send([0], { is: "late", key: work, problem: `${entry.left} of ${entry.sizes.length} units of work ${quote(work)} were not done within ${seconds(asked.timeout)}` })
    }
  }

  #answer(work: string, { values }: Entry): void {
    this.#asked.delete(work)
    this.#ground.send([0], { is: "results", work, values })
  }

  #next(rank: number, entry: Entry): number | undefined {
    const until = this.#ground.now() + this.#lease
    const unit = entry.unbegun > 0 ? this.#unbegun(rank, entry) : this.#expired(rank, entry)
    if (unit !== undefined) entry.leases.set(unit, { rank, until })
    return unit
  }

  /** Of its own share, else of the share with most bytes left. */
  #unbegun(rank: number, entry: Entry): number {
    let from = rank
    if (entry.queues[rank]!.length === 0) {
      let most = -1
      for (const [other, queue] of entry.queues.entries()) {
        if (queue.length > 0 && entry.queued[other]! > most) {
          most = entry.queued[other]!
          from = other
        }
      }
    }
    const unit = entry.queues[from]!.pop()!
    entry.queued[from]! -= entry.sizes[unit]!
    entry.unbegun--
    return unit
  }

  #expired(rank: number, { leases }: Entry): number | undefined {
    const now = this.#ground.now()
    for (const [unit, lease] of leases) if (lease.rank !== rank && lease.until <= now) return unit
    return undefined
  }
}
