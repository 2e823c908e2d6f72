/**
 * Work on a sequence of items, several at a time, each in its own range of an arena; results in the order of the items. The
 * arena bounds how far the work runs ahead of whoever takes the results.
 */
import type { Arena, AddressRange } from "./Arena.ts"

export interface Pipeline<Item, Result> {
  readonly items: Iterable<Item>
  readonly arena: Arena
  /** Bytes of arena that an item needs. */
  readonly room: (item: Item) => number
  /** Items under way, most of them waiting for the arena. */
  readonly ahead: number
  /** The range may be used until the returned promise settles, or, with `keep`, until the next result is asked for. */
  readonly work: (item: Item, range: AddressRange) => Promise<Result>
  readonly keep: boolean
  /** No item is started after this; what is under way is waited for. */
  readonly signal: AbortSignal
  /** Called once with the first failure, so that work which waits for other work can stop. */
  readonly onFailure?: (error: unknown) => void
}

/** Runs the pipeline. Whatever ends it, it ends only when no work is under way. */
export const pipeline = async function*<Item, Result>(p: Pipeline<Item, Result>): AsyncGenerator<Result, void> {
  const underWay: Array<Promise<{ readonly result: Result; readonly range: AddressRange }>> = []
  let finished = false
  let failure: { readonly error: unknown } | undefined
  const fail = (error: unknown) => {
    if (failure) return
    failure = { error }
    p.onFailure?.(error)
  }
  const start = async (item: Item) => {
    const range = await p.arena.take(p.room(item))
    try {
      if (failure || p.signal.aborted) throw failure?.error ?? p.signal.reason
      return { result: await p.work(item, range), range }
    } catch (error) {
      fail(error)
      if (p.keep) p.arena.release(range)
      throw error
    } finally {
      if (!p.keep) p.arena.release(range)
    }
  }
  const onAbort = () => fail(p.signal.reason)
  p.signal.addEventListener("abort", onAbort)
  try {
    const items = p.items[Symbol.iterator]()
    let exhausted = false
    while (!finished) {
      while (!exhausted && !failure && underWay.length < p.ahead) {
        const next = items.next()
        if (next.done) exhausted = true
        else {
          const task = start(next.value)
          task.catch(() => {})
          underWay.push(task)
        }
      }
      const head = underWay.shift()
      if (head === undefined) {
        finished = true
        break
      }
      const { range, result } = await head
      try {
        if (failure) throw failure.error
        yield result
      } finally {
        if (p.keep) p.arena.release(range)
      }
    }
  } catch (error) {
    fail(error)
    throw failure!.error
  } finally {
    if (!finished) fail(p.signal.reason)
    p.signal.removeEventListener("abort", onAbort)
    for (const result of await Promise.allSettled(underWay)) {
      if (p.keep && result.status === "fulfilled") p.arena.release(result.value.range)
    }
  }
}
