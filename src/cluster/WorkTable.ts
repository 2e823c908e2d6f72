/**
 * Units of work and who has them: leases that progress renews, stealing from whoever has most left, and a second holder for a unit whose
 * first one makes no progress or is much slower than the others. Whoever finishes a unit first counts; another holder is told to leave off,
 * and the work is complete when nobody is at it any more: until then one of them may still write.
 */
import { quote } from "../errors.ts"
import type { Ground } from "./ground.ts"
import { seconds } from "./limits.ts"

interface Lease {
  readonly since: number
  until: number
}

interface Entry {
  readonly sizes: ReadonlyArray<number>
  /** Units of each rank that nobody has begun, the last to be given first. */
  readonly queues: ReadonlyArray<Array<number>>
  /** Bytes in each of them. */
  readonly queued: Float64Array
  /** By unit, of its holders. */
  readonly leases: Map<number, Map<number, Lease>>
  readonly accepted: Uint8Array
  readonly values: Array<unknown>
  readonly opened: number
  /** Ranks that have asked for work: what they have left, others may take. */
  readonly begun: Set<number>
  /** Of units that were finished: milliseconds and bytes. */
  spent: number
  finished: number
  /** Ranks that found nothing to take while others still work. */
  readonly idle: Set<number>
  left: number
  unbegun: number
}

const MOST_WORKS = 1024
/** A holder that takes so many times as long as units of that size have taken is slow. */
const SLOW = 3
const MOST_HOLDERS = 2

export interface WorkLimits {
  /** Milliseconds without progress, until another rank gets the unit as well. */
  readonly lease: number
  /** Milliseconds that a holder has to leave off. */
  readonly silence: number
}

export class WorkTable {
  readonly #ground: Ground
  readonly #world: number
  readonly #limits: WorkLimits
  readonly #entries = new Map<string, Entry>()
  /** Asked for before rank 0 opened it. */
  readonly #early = new Map<string, Array<readonly [rank: number, units: number]>>()
  readonly #asked = new Map<string, { readonly until: number; readonly timeout: number }>()
  constructor(ground: Ground, world: number, limits: WorkLimits) {
    this.#ground = ground
    this.#world = world
    this.#limits = limits
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
      opened: this.#ground.now(), begun: new Set(), spent: 0, finished: 0, left: sizes.length, unbegun: sizes.length
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
    entry.begun.add(rank)
    const unit = entry.left === 0 ? null : this.#next(rank, entry)
    if (unit === undefined) entry.idle.add(rank)
    else this.#ground.send([rank], { is: "unit", work, unit })
  }

  done(rank: number, work: string, unit: number, value: unknown): void {
    const entry = this.#entryOf(rank, work, unit)
    if (entry === undefined) return
    const lease = this.#release(rank, unit, entry)
    const accepted = entry.accepted[unit] === 0
    this.#ground.send([rank], { is: "accepted", work, unit, accepted })
    if (accepted) this.#accept(work, unit, value, entry, lease)
    this.#conclude(work, entry)
  }

  /** The rank has left off: nothing of the unit is under way there. */
  leave(rank: number, work: string, unit: number): void {
    const entry = this.#entryOf(rank, work, unit)
    if (entry === undefined) return
    this.#release(rank, unit, entry)
    if (entry.accepted[unit] === 0) return this.#ground.fail(rank, "cluster/protocol", `rank ${rank} has left off unit ${unit} of work ${quote(work)}, which nobody else has done`)
    this.#conclude(work, entry)
  }

  results(work: string, timeout: number): void {
    const entry = this.#entries.get(work)
    if (entry === undefined) return this.#ground.fail(0, "cluster/protocol", `work ${quote(work)} was never opened`)
    this.#asked.set(work, { timeout, until: this.#ground.now() + timeout })
    this.#conclude(work, entry)
  }

  /** The rank makes progress: it keeps what it has. */
  renew(rank: number): void {
    const until = this.#ground.now() + this.#limits.lease
    for (const { accepted, leases } of this.#entries.values()) {
      for (const [unit, holders] of leases) {
        const lease = accepted[unit] === 0 ? holders.get(rank) : undefined
        if (lease !== undefined) lease.until = until
      }
    }
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
      for (const [unit, holders] of entry.leases) {
        if (entry.accepted[unit] === 0) continue
        for (const [rank, { until }] of holders) {
          if (now > until) return this.#ground.fail(rank, "cluster/lost", `it was lost: it does not leave off a part of work ${quote(work)} that another process has done meanwhile; a read or a write of it hangs`)
        }
      }
      const asked = this.#asked.get(work)
      if (asked === undefined || now < asked.until) continue
      this.#asked.delete(work)
      this.#ground.send([0], { is: "late", key: work, problem: `${entry.left} of ${entry.sizes.length} units of work ${quote(work)} were not done within ${seconds(asked.timeout)}` })
    }
  }

  #entryOf(rank: number, work: string, unit: number): Entry | undefined {
    const entry = this.#entries.get(work)
    if (entry !== undefined && unit < entry.sizes.length) return entry
    this.#ground.fail(rank, "cluster/protocol", `rank ${rank} speaks of what is no unit of work ${quote(work)}`)
    return undefined
  }

  #release(rank: number, unit: number, { leases }: Entry): Lease | undefined {
    const holders = leases.get(unit)
    const lease = holders?.get(rank)
    holders?.delete(rank)
    if (holders?.size === 0) leases.delete(unit)
    return lease
  }

  #accept(work: string, unit: number, value: unknown, entry: Entry, lease: Lease | undefined): void {
    const now = this.#ground.now()
    entry.accepted[unit] = 1
    entry.values[unit] = value ?? null
    entry.left--
    if (lease !== undefined) {
      entry.spent += now - lease.since
      entry.finished += entry.sizes[unit]!
    }
    const others = entry.leases.get(unit)
    if (others !== undefined) {
      for (const other of others.values()) other.until = now + this.#limits.silence
      this.#ground.send([...others.keys()], { is: "superseded", work, unit })
    }
    if (entry.left > 0) return
    this.#ground.send([...entry.idle], { is: "unit", work, unit: null })
    entry.idle.clear()
  }

  /** Rank 0 gets what it has asked for, once all is done and nobody is at it any more. */
  #conclude(work: string, { leases, left, values }: Entry): void {
    if (left > 0 || leases.size > 0 || !this.#asked.delete(work)) return
    this.#ground.send([0], { is: "results", work, values })
  }

  #next(rank: number, entry: Entry): number | undefined {
    const now = this.#ground.now()
    const unit = this.#unbegun(rank, now, entry) ?? this.#again(rank, now, entry)
    if (unit === undefined) return undefined
    const holders = entry.leases.get(unit) ?? new Map<number, Lease>()
    entry.leases.set(unit, holders.set(rank, { since: now, until: now + this.#limits.lease }))
    return unit
  }

  /** Of its own share, else of the share with most bytes left: one whose rank is there, or should have been long ago. */
  #unbegun(rank: number, now: number, entry: Entry): number | undefined {
    if (entry.unbegun === 0) return undefined
    let from = entry.queues[rank]!.length > 0 ? rank : undefined
    if (from === undefined) {
      const isLate = now - entry.opened > this.#limits.lease
      for (const [other, queue] of entry.queues.entries()) {
        if (queue.length > 0 && (isLate || entry.begun.has(other)) && (from === undefined || entry.queued[other]! > entry.queued[from]!)) from = other
      }
    }
    if (from === undefined) return undefined
    const unit = entry.queues[from]!.pop()!
    entry.queued[from]! -= entry.sizes[unit]!
    entry.unbegun--
    return unit
  }

  /** One that others have, who make no progress or are slow. */
  #again(rank: number, now: number, { accepted, finished, leases, sizes, spent }: Entry): number | undefined {
    for (const [unit, holders] of leases) {
      if (accepted[unit] !== 0 || holders.has(rank)) continue
      const usual = finished === 0 ? Infinity : spent / finished * sizes[unit]!
      const isSlow = ({ since }: Lease): boolean => now - since > Math.max(SLOW * usual, this.#limits.lease / 4)
      const all = [...holders.values()]
      if (all.every(({ until }) => until <= now) || (all.length < MOST_HOLDERS && all.every(isSlow))) return unit
    }
    return undefined
  }
}
