/** One process's end of the line to the coordinator: calls become promises, the answers settle them. No sockets, no timers. */
import { hostname } from "node:os"
import { ClusterError, LaunchError, type PeerFailed, quote } from "../errors.ts"
import { errorOf } from "./failures.ts"
import { Attention, type Limits, seconds } from "./limits.ts"
import { decodeToMember, encode, type Envelope, type JobFailure, LARGEST_MESSAGE, PROTOCOL, type StepKind, type ToCoordinator } from "./messages.ts"
import type { RankRun } from "./rankRuns.ts"

export interface MemberOptions {
  readonly run: Envelope
  readonly rank: number
  readonly world: number
  readonly plan: string
  readonly version: string
  readonly limits: Limits
  readonly now: () => number
  readonly send: (data: string) => void
}

export type MemberError = ClusterError | LaunchError | PeerFailed

interface Pending<A> {
  readonly resolve: (value: A) => void
  readonly reject: (error: MemberError) => void
}

export class Member {
  readonly #options: MemberOptions
  readonly #attention: Attention
  readonly #steps = new Map<string, Pending<unknown>>()
  readonly #units = new Map<string, Pending<number | undefined>>()
  readonly #takes = new Map<string, Promise<unknown>>()
  readonly #running = new Map<string, PromiseWithResolvers<void>>()
  readonly #accepted = new Map<string, Pending<boolean>>()
  readonly #results = new Map<string, Pending<ReadonlyArray<unknown>>>()
  readonly #nonce = crypto.randomUUID()
  readonly #failed = Promise.withResolvers<MemberError>()
  #welcome: Pending<void> | undefined
  #bye: Pending<void> | undefined
  #error: MemberError | undefined
  #heard: number
  #beaten: number
  #done = 0
  #told = 0
  #isJoined = false
  /** The others have planned, as far as this process waits for them. */
  #hasBegun = false
  #isLeaving = false
  #isGone = false

  constructor(options: MemberOptions) {
    this.#options = options
    this.#heard = options.now()
    this.#beaten = this.#heard
    this.#attention = new Attention(options.limits.beat, this.#heard)
  }

  /** Settles with what ended the job for this process; never, if all goes well. */
  get failed(): Promise<MemberError> {
    return this.#failed.promise
  }

  get error(): MemberError | undefined {
    return this.#error
  }

  hello(): Promise<void> {
    const { plan, rank, version, world } = this.#options
    return this.#wait((pending) => {
      this.#welcome = pending
      this.#say({ is: "hello", protocol: PROTOCOL, version, rank, world, pid: process.pid, host: hostname().slice(0, 255), plan, nonce: this.#nonce })
    })
  }

  step(key: string, kind: StepKind, what: string, members: ReadonlyArray<RankRun>, value: unknown, timeout: number): Promise<unknown> {
    return this.#wait<unknown>((pending) => {
      this.#steps.set(key, {
        ...pending,
        resolve: (outcome) => {
          this.#hasBegun ||= kind !== "broadcast"
          pending.resolve(outcome)
        }
      })
      this.#say({ is: "step", key, kind, what, members: members as never, value, timeout })
    })
  }

  open(work: string, sizes: ReadonlyArray<number>, owners: ReadonlyArray<number>): void {
    this.#say({ is: "open", work, sizes: sizes as Array<number>, owners: owners as Array<number> })
  }

  /** One at a time: several callers get their units one after the other. */
  take(work: string, units: number): Promise<number | undefined> {
    const next = (): Promise<number | undefined> => this.#wait((pending) => {
      this.#units.set(work, pending)
      this.#say({ is: "take", work, units })
    })
    const taken = (this.#takes.get(work) ?? Promise.resolve()).then(next, next)
    this.#takes.set(work, taken)
    return taken
  }

  done(work: string, unit: number, value: unknown): Promise<boolean> {
    return this.#wait((pending) => {
      this.#beat()
      this.#running.delete(`${work}#${unit}`)
      this.#accepted.set(`${work}#${unit}`, pending)
      this.#say({ is: "done", work, unit, value })
    })
  }

  /** Settles when another process has done a unit that this one has. */
  superseded(work: string, unit: number): Promise<void> {
    return this.#runningOf(work, unit).promise
  }

  /** Nothing of the unit is under way any more. */
  leaveOff(work: string, unit: number): void {
    this.#running.delete(`${work}#${unit}`)
    this.#say({ is: "leaveOff", work, unit })
  }

  results(work: string, timeout: number): Promise<ReadonlyArray<unknown>> {
    return this.#wait((pending) => {
      this.#results.set(work, pending)
      this.#say({ is: "results", work, timeout })
    })
  }

  progress(bytes: number): void {
    this.#done += bytes
  }

  /** Tell the others; unless the job has ended already. */
  fail(failure: JobFailure): void {
    if (this.#error === undefined && this.#isJoined) this.#say({ is: "fail", failure })
  }

  /** The other processes are not needed any more. */
  leave(): Promise<void> {
    if (!this.#isJoined || this.#isGone) return Promise.resolve()
    this.#isLeaving = true
    this.#beat()
    return new Promise((resolve) => {
      this.#bye = { resolve, reject: () => resolve() }
      this.#say({ is: "leave" })
    })
  }

  receive(data: string): void {
    this.#heard = this.#options.now()
    try {
      const { attempt, message, run } = decodeToMember(data)
      if (run !== this.#options.run.run || (attempt !== this.#options.run.attempt && message.is !== "refused")) {
        return this.#end(new ClusterError({ code: "cluster/superseded", problem: `the coordinator runs ${quote(run)}, attempt ${attempt}; this is ${quote(this.#options.run.run)}, attempt ${this.#options.run.attempt}` }))
      }
      this.#handle(message)
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      this.#end(error)
    }
  }

  /** The connection is gone. */
  closed(how = "its connection closed"): void {
    this.#isGone = true
    if (this.#bye !== undefined) return this.#bye.resolve()
    this.#end(new ClusterError({ code: "cluster/coordinator-lost", problem: `the coordinator (rank 0) was lost: ${how}`, hint: "The first process to fail says why; start the job again with --resume." }))
  }

  /** To be called several times a beat. */
  tick(): void {
    const { limits, now } = this.#options
    const at = now()
    const counts = this.#attention.isPaid(at)
    // Progress goes out every second, a sign of life when there is none.
    if (this.#isJoined && (at - this.#beaten >= limits.beat || (this.#done > this.#told && at - this.#beaten >= Math.min(limits.beat, 1000)))) this.#beat()
    const silence = this.#hasBegun ? limits.silence : limits.planning
    if (counts && this.#isJoined && at - this.#heard > silence) this.closed(`no sign of life for ${seconds(silence)}`)
  }

  #beat(): void {
    this.#beaten = this.#options.now()
    this.#told = this.#done
    this.#say({ is: "beat", done: this.#done })
  }

  #handle(message: ReturnType<typeof decodeToMember>["message"]): void {
    switch (message.is) {
      case "welcome":
        this.#isJoined = true
        return this.#welcome?.resolve()
      case "refused":
        return this.#end(message.code.startsWith("launch/")
          ? new LaunchError({ code: message.code, problem: message.problem })
          : new ClusterError({ code: message.code, problem: message.problem }))
      case "release":
        return settle(this.#steps, message.key)?.resolve(message.value)
      case "late": {
        const late = new ClusterError({ code: "cluster/timeout", problem: message.problem })
        settle(this.#steps, message.key)?.reject(late)
        return settle(this.#results, message.key)?.reject(late)
      }
      case "unit":
        return settle(this.#units, message.work)?.resolve(message.unit ?? undefined)
      case "superseded":
        return this.#runningOf(message.work, message.unit).resolve()
      case "accepted":
        return settle(this.#accepted, `${message.work}#${message.unit}`)?.resolve(message.accepted)
      case "results":
        return settle(this.#results, message.work)?.resolve(message.values)
      case "stop":
        return this.#end(errorOf(message.failure, this.#options.rank))
      case "bye":
        return this.#bye?.resolve()
      case "beat":
        return
    }
  }

  #end(error: MemberError): void {
    this.#bye?.resolve()
    if (this.#error !== undefined || this.#isLeaving) return
    this.#error = error
    this.#welcome?.reject(error)
    for (const pending of [this.#steps, this.#units, this.#accepted, this.#results]) {
      for (const { reject } of pending.values()) reject(error)
      pending.clear()
    }
    this.#failed.resolve(error)
  }

  #runningOf(work: string, unit: number): PromiseWithResolvers<void> {
    const key = `${work}#${unit}`
    const known = this.#running.get(key) ?? Promise.withResolvers<void>()
    this.#running.set(key, known)
    return known
  }

  #wait<A>(ask: (pending: Pending<A>) => void): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      if (this.#error !== undefined) return reject(this.#error)
      try {
        ask({ resolve, reject })
      } catch (error) {
        reject(error)
      }
    })
  }

  #say(message: ToCoordinator): void {
    const data = encode(this.#options.run, message)
    // Rank 0 is in the coordinator's process: what it opens and fetches passes no socket.
    if (this.#options.rank !== 0 && Buffer.byteLength(data) > LARGEST_MESSAGE) {
      throw new ClusterError({ code: "cluster/too-large", problem: `a message of ${Buffer.byteLength(data)} bytes; at most ${LARGEST_MESSAGE} are sent` })
    }
    this.#options.send(data)
  }
}

const settle = <A>(pending: Map<string, Pending<A>>, key: string): Pending<A> | undefined => {
  const found = pending.get(key)
  pending.delete(key)
  return found
}
