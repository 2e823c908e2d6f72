/** When every stage works on which microbatch: one forward, one backward (1F1B), without interleaving. For pictures. */

export interface StageSeconds {
  readonly forward: number
  readonly backward: number
}

export interface TimelineEvent {
  readonly stage: number
  readonly kind: "forward" | "backward"
  readonly microBatch: number
  readonly start: number
  readonly end: number
}

/** The order of work of one stage: as many forwards as there are stages behind it, then by turns, then the backwards left. */
const orderOf = (stage: number, depth: number, microBatches: number): ReadonlyArray<Pick<TimelineEvent, "kind" | "microBatch">> => {
  const ahead = Math.min(microBatches, depth - stage - 1)
  const order: Array<Pick<TimelineEvent, "kind" | "microBatch">> = []
  for (let m = 0; m < ahead; m++) order.push({ kind: "forward", microBatch: m })
  for (let m = ahead; m < microBatches; m++) order.push({ kind: "forward", microBatch: m }, { kind: "backward", microBatch: m - ahead })
  for (let m = microBatches - ahead; m < microBatches; m++) order.push({ kind: "backward", microBatch: m })
  return order
}

/** All work of a step, in no order. `stages`: seconds per microbatch along the path. */
export const timeline = (stages: ReadonlyArray<StageSeconds>, microBatches: number): ReadonlyArray<TimelineEvent> => {
  const depth = stages.length
  const orders = stages.map((_, stage) => orderOf(stage, depth, microBatches))
  const next = stages.map(() => 0)
  const free = stages.map(() => 0)
  const done = new Map<string, number>()
  const events: Array<TimelineEvent> = []
  const needs = (stage: number, { kind, microBatch }: Pick<TimelineEvent, "kind" | "microBatch">): number | undefined => {
    if (kind === "forward") return stage === 0 ? 0 : done.get(`${stage - 1} forward ${microBatch}`)
    return stage === depth - 1 ? done.get(`${stage} forward ${microBatch}`) : done.get(`${stage + 1} backward ${microBatch}`)
  }
  for (let moved = true; moved;) {
    moved = false
    for (let stage = 0; stage < depth; stage++) {
      for (let work = orders[stage]![next[stage]!]; work !== undefined; work = orders[stage]![next[stage]!]) {
        const ready = needs(stage, work)
        if (ready === undefined) break
        const start = Math.max(ready, free[stage]!)
        const end = start + stages[stage]![work.kind]
        events.push({ stage, ...work, start, end })
        done.set(`${stage} ${work.kind} ${work.microBatch}`, end)
        free[stage] = end
        next[stage]!++
        moved = true
      }
    }
  }
  return events
}
