/** A job in one process: coordinator and members over queues instead of sockets, in time that the test moves. */
import { Effect } from "effect"
import { Coordinator, type CoordinatorOptions, type Seat } from "../../../src/cluster/Coordinator.ts"
import { type Limits, LIMITS } from "../../../src/cluster/limits.ts"
import { Member } from "../../../src/cluster/Member.ts"
import { memberWorld } from "../../../src/cluster/memberWorld.ts"
import type { Envelope } from "../../../src/cluster/messages.ts"

export interface JobOptions {
  readonly world: number
  readonly limits?: Partial<Limits>
  readonly run?: Envelope
}

export interface Process {
  readonly rank: number
  readonly member: Member
  /** Nothing passes any more in this direction; nobody is told. */
  toCoordinator: "open" | "silent"
  toMember: "open" | "silent"
  /** It neither reads nor looks at the clock (SIGSTOP). */
  isStopped: boolean
  /** The connection ends: both ends are told. */
  readonly cut: () => void
  /** Only the coordinator is told (SIGKILL). */
  readonly kill: () => void
  /** Bytes of its own making arrive at the coordinator. */
  readonly inject: (data: string) => void
}

export class Job {
  readonly run: Envelope
  readonly limits: Limits
  readonly coordinator: Coordinator
  readonly processes: Array<Process> = []
  isCoordinatorStopped = false
  /** To and from the coordinator. */
  messages = 0
  now = 0
  readonly #queue: Array<() => void> = []
  readonly #held: Array<() => void> = []

  constructor({ limits, run, world }: JobOptions) {
    this.run = run ?? { run: "run", attempt: 0 }
    this.limits = { ...LIMITS, ...limits }
    this.coordinator = new Coordinator({ run: this.run, world, plan: "plan", version: "1", limits: this.limits, now: () => this.now } satisfies CoordinatorOptions)
  }

  start(rank: number, world: number, other: { readonly plan?: string; readonly version?: string; readonly run?: Envelope } = {}): Process {
    let seat: Seat | undefined
    const process: Process = {
      rank,
      toCoordinator: "open",
      toMember: "open",
      isStopped: false,
      member: new Member({
        run: other.run ?? this.run, rank, world, plan: other.plan ?? "plan", version: other.version ?? "1", limits: this.limits, now: () => this.now,
        send: (data) => {
          if (process.toCoordinator === "silent") return
          this.messages++
          this.#queue.push(() => {
            const deliver = (): void => { if (process.toCoordinator === "open") this.coordinator.receive(seat!, data) }
            if (this.isCoordinatorStopped) this.#held.push(deliver)
            else deliver()
          })
        }
      }),
      cut: () => {
        this.#queue.push(() => { this.coordinator.closed(seat!, "the connection was cut") }, () => process.member.closed())
      },
      inject: (data) => { this.coordinator.receive(seat!, data) },
      kill: () => {
        process.toCoordinator = "silent"
        process.toMember = "silent"
        process.isStopped = true
        this.#queue.push(() => { this.coordinator.closed(seat!) })
      }
    }
    seat = this.coordinator.connect({
      send: (data) => { this.messages++; if (process.toMember === "open") this.#queue.push(() => { if (process.toMember === "open" && !process.isStopped) process.member.receive(data) }) },
      close: () => { this.#queue.push(() => { if (process.toMember === "open") process.member.closed() }) }
    })
    this.processes.push(process)
    return process
  }

  /** The coordinator's process dies. */
  loseCoordinator(): void {
    for (const process of this.processes) this.#queue.push(() => { if (process.rank !== 0 && process.toMember === "open") process.member.closed() })
    this.isCoordinatorStopped = true
  }

  /** Everything that is on its way arrives. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 8;) {
      const work = this.#queue.splice(0)
      for (const step of work) step()
      await Promise.resolve()
      await new Promise((resolve) => setImmediate(resolve))
      quiet = work.length === 0 && this.#queue.length === 0 ? quiet + 1 : 0
    }
  }

  /** Let time pass in steps of a fifth of a beat. */
  async pass(milliseconds: number): Promise<void> {
    const step = this.limits.beat / 5
    for (const end = this.now + milliseconds; this.now < end;) {
      this.now += step
      if (!this.isCoordinatorStopped) this.coordinator.tick()
      for (const process of this.processes) if (!process.isStopped) process.member.tick()
      await this.settle()
    }
  }
}

/** A job whose processes have all joined. */
export const begun = async (size: number, options: Partial<JobOptions> = {}) => {
  const job = new Job({ world: size, ...options })
  const processes = Array.from({ length: size }, (_, rank) => job.start(rank, size))
  const hellos = Promise.all(processes.map(({ member }) => member.hello()))
  await job.settle()
  await hellos
  const worlds = processes.map(({ member, rank }) =>
    memberWorld({ member, rank, world: size, run: job.run, limits: job.limits, coordinator: rank === 0 ? job.coordinator : undefined, notes: [] }))
  return { job, processes, worlds }
}

/** All at once; messages arrive as they are sent. */
export const together = async <A>(job: Job, effects: ReadonlyArray<Effect.Effect<A, unknown>>): Promise<ReadonlyArray<A>> => {
  const all = Promise.all(effects.map((effect) => Effect.runPromise(effect)))
  all.catch(() => {})
  await job.settle()
  return all
}

/** Settled or not, without waiting. */
export const watch = <A>(promise: Promise<A>) => {
  const seen: { value?: A; error?: unknown } = {}
  promise.then((value) => { seen.value = value }, (error: unknown) => { seen.error = error })
  return seen
}
