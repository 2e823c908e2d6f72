/**
 * What rank 0 does for the others: it lets them in, completes their steps, deals out work, adds up progress, and ends the job for all
 * when one fails. A plain state machine: no sockets, no timers; connections and the clock are given.
 *
 * **Details**
 *
 * - Every message carries the run and the attempt: one of another run, or of an older attempt, is refused.
 * - The first failure wins. A process whose connection ends before it said `leave`, or that gives no sign of life, has failed.
 * - A process that cannot be let in for what it is (another plan, another version) fails the job, for without it there is none. One that
 *   is merely too many (two holders of a rank, a former attempt) is sent away.
 */
import { type ClusterError, ExitCode, quote } from "../errors.ts"
import type { Ground } from "./ground.ts"
import { Attention, type Limits, seconds } from "./limits.ts"
import { decodeToCoordinator, encode, type Envelope, type JobFailure, PROTOCOL, type ToCoordinator, type ToMember } from "./messages.ts"
import { someRanks } from "./rankRuns.ts"
import { StepTable } from "./Steps.ts"
import { WorkTable } from "./WorkTable.ts"

export interface Peer {
  readonly send: (data: string) => void
  readonly close: () => void
}

/** A connection, and the rank that said hello on it. */
export class Seat {
  readonly peer: Peer
  seen: number
  rank = -1
  host = ""
  nonce = ""
  /** Bytes. */
  done = 0
  /** It has planned: from here on it gives signs of life. */
  hasBegun = false
  hasLeft = false
  isClosed = false
  constructor(peer: Peer, now: number) {
    this.peer = peer
    this.seen = now
  }
}

export interface CoordinatorOptions {
  readonly run: Envelope
  readonly world: number
  /** Digest of what is to be done, and the version that does it: the same everywhere. */
  readonly plan: string
  readonly version: string
  readonly limits: Limits
  /** Milliseconds, monotonic. */
  readonly now: () => number
  /** Whether a process that is not here may still come; by default any may. */
  readonly mayCome?: ((rank: number) => boolean) | undefined
}

type Hello = Extract<ToCoordinator, { is: "hello" }>

export class Coordinator {
  readonly #options: CoordinatorOptions
  readonly #seats: Array<Seat | undefined>
  readonly #waiting = new Set<Seat>()
  readonly #steps: StepTable
  readonly #work: WorkTable
  readonly #attention: Attention
  readonly #joinBy: number
  /** Ranks without a seat that know of the failure, or are not waited for. */
  readonly #told = new Set<number>()
  #joined = 0
  #left = 0
  #turnedAway = 0
  #beaten = 0
  #total = 0
  #failure: JobFailure | undefined

  constructor(options: CoordinatorOptions) {
    const now = options.now()
    this.#options = options
    this.#seats = new Array<Seat | undefined>(options.world).fill(undefined)
    this.#attention = new Attention(options.limits.beat, now)
    this.#joinBy = now + options.limits.join
    this.#beaten = now
    const ground: Ground = {
      now: options.now,
      send: (ranks, message) => this.#tell(ranks, message),
      fail: (rank, code, problem) => this.#fail({ rank, host: this.#hostOf(rank), code, problem, exitCode: code.startsWith("launch/") ? ExitCode.usage : ExitCode.cluster })
    }
    this.#steps = new StepTable(ground)
    this.#work = new WorkTable(ground, options.world, options.limits)
  }

  /** Why the job ended, if it failed. */
  get failure(): JobFailure | undefined {
    return this.#failure
  }

  /** Nobody is there any more who might still want something, nor will anybody come who must be told of a failure. */
  get isOver(): boolean {
    if (this.#failure === undefined && this.#left < this.#options.world) return false
    const { mayCome } = this.#options
    return this.#seats.every((seat, rank) => (seat === undefined ? this.#told.has(rank) || mayCome?.(rank) === false : seat.hasLeft || seat.isClosed))
  }

  get joined(): number {
    return this.#joined
  }

  /** Bytes done by all ranks. */
  get total(): number {
    return this.#total
  }

  /** A connection that did not know the token. */
  turnedAway(): void {
    this.#turnedAway++
  }

  connect(peer: Peer): Seat {
    const seat = new Seat(peer, this.#options.now())
    this.#waiting.add(seat)
    return seat
  }

  receive(seat: Seat, data: string): void {
    if (seat.isClosed) return
    seat.seen = this.#options.now()
    let received
    try {
      received = decodeToCoordinator(data)
    } catch (error) {
      return this.#misbehaved(seat, (error as ClusterError).problem)
    }
    const { attempt, message, run } = received
    if (run !== this.#options.run.run) return this.#refuse(seat, "launch/run", `this is run ${quote(this.#options.run.run)}, not ${quote(run)}`)
    if (attempt < this.#options.run.attempt) return this.#refuse(seat, "cluster/superseded", `attempt ${attempt} was given up: attempt ${this.#options.run.attempt} runs`)
    if (attempt > this.#options.run.attempt) {
      this.#refuse(seat, "cluster/duplicate", `attempt ${this.#options.run.attempt} still has this place; it ends now`)
      return this.#fail({ rank: 0, host: this.#hostOf(0), code: "cluster/superseded", problem: `attempt ${attempt} of the job has begun, this was attempt ${this.#options.run.attempt}`, exitCode: ExitCode.cluster })
    }
    if (seat.rank >= 0) this.#handle(seat, message)
    else if (message.is === "hello") this.#admit(seat, message)
    else this.#misbehaved(seat, "a process spoke before it said hello")
  }

  /** The connection is gone. */
  closed(seat: Seat, how = "its connection closed"): void {
    if (seat.isClosed) return
    seat.isClosed = true
    this.#waiting.delete(seat)
    if (seat.rank < 0 || seat.hasLeft) return
    this.#fail({ rank: seat.rank, host: seat.host, code: "cluster/lost", problem: `it was lost: ${how}`, exitCode: ExitCode.cluster })
  }

  /** To be called several times a beat. */
  tick(): void {
    const { limits, now, world } = this.#options
    const at = now()
    const counts = this.#attention.isPaid(at)
    if (at - this.#beaten >= limits.beat) {
      this.#beaten = at
      this.#tell(this.#seats.flatMap((seat) => (seat ? [seat.rank] : [])), { is: "beat" })
    }
    if (!counts) return
    for (const seat of this.#waiting) if (at - seat.seen > limits.silence) this.#drop(seat)
    if (this.#failure !== undefined) {
      // Whoever does not leave by itself is not waited for.
      for (const seat of this.#seats) if (seat && !seat.hasLeft && at - seat.seen > limits.silence) this.#drop(seat)
      return
    }
    if (this.#joined < world && at > this.#joinBy) {
      const missing = this.#seats.flatMap((seat, rank) => (seat ? [] : [rank]))
      for (const rank of missing) this.#told.add(rank)
      const away = this.#turnedAway > 0 ? `; ${this.#turnedAway} connections without the right token were turned away` : ""
      return this.#fail({ rank: 0, host: this.#hostOf(0), code: "cluster/join", problem: `${missing.length} of ${world} processes did not join within ${seconds(limits.join)}: ranks ${someRanks(missing)}${away}`, exitCode: ExitCode.cluster })
    }
    for (const seat of this.#seats) {
      const silence = seat?.hasBegun ? limits.silence : limits.planning
      if (seat && !seat.hasLeft && at - seat.seen > silence) {
        this.#fail({ rank: seat.rank, host: seat.host, code: "cluster/lost", problem: `it was lost: no sign of life for ${seconds(silence)}`, exitCode: ExitCode.cluster })
        return this.#drop(seat)
      }
    }
    this.#steps.tick()
    this.#work.tick()
  }

  /** End the job, unless it has ended: what rank 0 finds out elsewhere. */
  fail(failure: JobFailure): void {
    this.#fail(failure)
  }

  #hostOf(rank: number): string {
    return this.#seats[rank]?.host ?? "unknown"
  }

  #admit(seat: Seat, hello: Hello): void {
    const { plan, version, world } = this.#options
    if (this.#failure !== undefined) {
      this.#told.add(hello.rank)
      this.#say(seat, { is: "stop", failure: this.#failure })
      return this.#drop(seat)
    }
    const held = this.#seats[hello.rank]
    if (held !== undefined) {
      return this.#refuse(seat, "cluster/duplicate", `rank ${hello.rank} is held by another process, on host ${quote(held.host)}`)
    }
    const wrong = hello.protocol !== PROTOCOL || hello.version !== version
      ? ["launch/version", `rank ${hello.rank} on host ${quote(hello.host)} runs version ${quote(hello.version)} (protocol ${hello.protocol}), rank 0 runs ${version} (protocol ${PROTOCOL})`]
      : hello.world !== world ? ["launch/world", `rank ${hello.rank} on host ${quote(hello.host)} was told of ${hello.world} processes, rank 0 of ${world}`]
      : hello.rank >= world ? ["launch/world", `rank ${hello.rank} on host ${quote(hello.host)} is outside a world of ${world}`]
      : hello.plan !== plan ? ["launch/plan", `rank ${hello.rank} on host ${quote(hello.host)} would do something else than rank 0: other options, or it sees another source`]
      : undefined
    if (wrong !== undefined) {
      const [code, problem] = wrong as [string, string]
      this.#told.add(hello.rank)
      this.#refuse(seat, code, problem)
      return this.#fail({ rank: hello.rank, host: hello.host, code, problem, exitCode: ExitCode.usage })
    }
    seat.rank = hello.rank
    seat.host = hello.host
    seat.nonce = hello.nonce
    this.#waiting.delete(seat)
    this.#seats[hello.rank] = seat
    this.#joined++
    this.#say(seat, { is: "welcome" })
  }

  #handle(seat: Seat, message: ToCoordinator): void {
    if (message.is === "leave") {
      if (!seat.hasLeft) this.#left++
      seat.hasLeft = true
      return this.#say(seat, { is: "bye" })
    }
    if (seat.hasLeft || this.#failure !== undefined) return
    if (message.is === "take" || (message.is === "step" && message.kind !== "broadcast")) seat.hasBegun = true
    switch (message.is) {
      case "beat": {
        if (message.done > seat.done) {
          this.#total += message.done - seat.done
          seat.done = message.done
          this.#work.renew(seat.rank)
        }
        return
      }
      case "fail":
        return this.#fail({ ...message.failure, rank: seat.rank, host: seat.host })
      case "step":
        return this.#steps.join(seat.rank, message)
      case "open":
        if (seat.rank !== 0) return this.#misbehaved(seat, "only rank 0 opens work")
        return this.#work.open(message.work, message.sizes, message.owners)
      case "take":
        return this.#work.take(seat.rank, message.work, message.units)
      case "done":
        return this.#work.done(seat.rank, message.work, message.unit, message.value)
      case "leaveOff":
        return this.#work.leave(seat.rank, message.work, message.unit)
      case "results":
        if (seat.rank !== 0) return this.#misbehaved(seat, "only rank 0 asks for results")
        return this.#work.results(message.work, message.timeout)
      case "hello":
        return this.#misbehaved(seat, "a process said hello twice")
    }
  }

  #misbehaved(seat: Seat, problem: string): void {
    if (seat.rank < 0) return this.#drop(seat)
    this.#fail({ rank: seat.rank, host: seat.host, code: "cluster/protocol", problem, exitCode: ExitCode.cluster })
  }

  #refuse(seat: Seat, code: string, problem: string): void {
    this.#say(seat, { is: "refused", code, problem })
    this.#drop(seat)
  }

  #drop(seat: Seat): void {
    seat.isClosed = true
    this.#waiting.delete(seat)
    seat.peer.close()
  }

  #fail(failure: JobFailure): void {
    if (this.#failure !== undefined) return
    this.#failure = failure
    this.#tell(this.#seats.flatMap((seat) => (seat && !seat.hasLeft ? [seat.rank] : [])), { is: "stop", failure })
  }

  /** The same to several: written once. */
  #tell(ranks: ReadonlyArray<number>, message: ToMember): void {
    const data = encode(this.#options.run, message)
    for (const rank of ranks) {
      const seat = this.#seats[rank]
      if (seat && !seat.isClosed) seat.peer.send(data)
    }
  }

  #say(seat: Seat, message: ToMember): void {
    if (!seat.isClosed) seat.peer.send(encode(this.#options.run, message))
  }
}
