/** Steps that members of a group take together: they are complete when the last has come. */
import { quote } from "../errors.ts"
import type { Ground } from "./ground.ts"
import { seconds } from "./limits.ts"
import type { StepKind, ToCoordinator } from "./messages.ts"
import { ranksIn, someRanks } from "./rankRuns.ts"
import { LARGEST_EXCHANGE } from "./World.ts"

type StepMessage = Extract<ToCoordinator, { is: "step" }>

interface Waiting {
  readonly until: number
  readonly timeout: number
}

interface Step {
  readonly kind: StepKind
  readonly what: string
  /** As the first of them wrote it. */
  readonly written: string
  readonly ranks: ReadonlyArray<number>
  readonly indices: ReadonlyMap<number, number>
  readonly values: Array<unknown>
  readonly here: Set<number>
  readonly waiting: Map<number, Waiting>
  bytes: number
}

/** Under way at once. Members are in one step of each group at a time. */
const MOST_STEPS = 65_536

export class StepTable {
  readonly #ground: Ground
  readonly #steps = new Map<string, Step>()
  constructor(ground: Ground) {
    this.#ground = ground
  }

  join(rank: number, message: StepMessage): void {
    const { kind, key, timeout, value, what } = message
    const step = this.#steps.get(key) ?? this.#begin(rank, message)
    if (step === undefined) return
    if (step.kind !== kind || step.what !== what) {
      const [other] = step.here
      return this.#ground.fail(rank, "cluster/order", `rank ${rank} is at ${kind} ${quote(what)} where rank ${other} is at ${step.kind} ${quote(step.what)}: the members of a group must take the same steps`)
    }
    const index = step.indices.get(rank)
    if (index === undefined || step.here.has(rank) || step.written !== JSON.stringify(message.members)) {
      return this.#ground.fail(rank, "cluster/order", `rank ${rank} at ${kind} ${quote(what)}: it has another idea of who is in group ${quote(key)}`)
    }
    step.here.add(rank)
    if (kind === "agree" && step.here.size > 1 && value !== step.values.find((other) => other !== undefined)) {
      const first = [...step.here][0]!
      return this.#ground.fail(rank, "launch/plan", `rank ${rank} does not have what rank ${first} has at ${quote(what)}: it sees another source, or was given other options`)
    }
    if (kind !== "broadcast" || index === 0) step.values[index] = value ?? null
    step.bytes += kind === "barrier" || kind === "agree" ? 0 : Buffer.byteLength(JSON.stringify(value ?? null))
    if (step.bytes > LARGEST_EXCHANGE) return this.#ground.fail(rank, "cluster/too-large", `the values of ${kind} ${quote(what)} have more than ${LARGEST_EXCHANGE} bytes`)
    step.waiting.set(rank, { until: this.#ground.now() + timeout, timeout })
    this.#advance(key, step)
  }

  /** Those who waited long enough are told for whom. */
  tick(): void {
    const now = this.#ground.now()
    for (const [key, step] of this.#steps) {
      for (const [rank, { timeout, until }] of step.waiting) {
        if (now < until) continue
        step.waiting.delete(rank)
        const missing = step.kind === "broadcast" ? [step.ranks[0]!] : step.ranks.filter((other) => !step.here.has(other))
        this.#ground.send([rank], { is: "late", key, problem: `${step.kind} ${quote(step.what)} was not complete within ${seconds(timeout)}: ranks ${someRanks(missing)} are missing` })
      }
    }
  }

  #begin(rank: number, { key, kind, members, what }: StepMessage): Step | undefined {
    const count = members.reduce((sum, [, length]) => sum + length, 0)
    const ranks = count > 1_048_576 ? [] : ranksIn(members)
    if (ranks.length === 0 || this.#steps.size >= MOST_STEPS) {
      this.#ground.fail(rank, "cluster/protocol", `rank ${rank} at ${kind} ${quote(what)}: a group larger than any world, or too many steps at once`)
      return undefined
    }
    const step: Step = {
      kind, what, written: JSON.stringify(members), ranks, indices: new Map(ranks.map((other, index) => [other, index])),
      values: new Array(kind === "barrier" ? 0 : ranks.length), here: new Set(), waiting: new Map(), bytes: 0
    }
    this.#steps.set(key, step)
    return step
  }

  #advance(key: string, step: Step): void {
    const complete = step.here.size === step.ranks.length
    const release = (ranks: ReadonlyArray<number>, value: unknown): void => {
      if (ranks.length === 0) return
      for (const rank of ranks) step.waiting.delete(rank)
      this.#ground.send(ranks, { is: "release", key, value })
    }
    const root = step.ranks[0]!
    if (step.kind === "broadcast") {
      if (step.here.has(root)) release([...step.waiting.keys()], step.values[0])
    } else if (step.kind === "gather") {
      release([...step.waiting.keys()].filter((rank) => rank !== root), null)
      if (complete) release([root], step.values)
    } else if (complete) release([...step.waiting.keys()], step.kind === "allGather" ? step.values : null)
    if (complete) this.#steps.delete(key)
  }
}
