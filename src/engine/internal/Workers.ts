/**
 * Who computes in the engine's memory: this thread, and, where the machine has further cores, threads beside it that share the
 * memory, so that reading and writing go on meanwhile. What is computed does not depend on who does it.
 */
import { Worker } from "node:worker_threads"
import type { ElementSums } from "../../arithmetic/matrixSums.ts"
import { TABLES } from "../../tensor/kernels/Memory.ts"
import type { Arena } from "./Arena.ts"
import { type Answer, bytesOfItem, type TaskKind, type Tasks, perform, type Question, type RangeToSum, type WorkerData } from "./workerTasks.ts"
import { workerScript } from "./workerScript.ts"
import type { Placing, WorkRoom } from "./placeCopy.ts"
import type { RangeSum } from "./WindowSums.ts"

/** When threads are used, in bytes. */
export interface Sharing {
  /** Less than this at a time is done sooner than sent. */
  readonly from: number
  /** They are started after this much: what is smaller is finished before they are. */
  readonly after: number
}

export const SHARING: Sharing = { from: 256 << 10, after: 64 << 20 }

/** Questions that a thread has at once: one to work on and one to go on with. */
const MOST_WAITING = 2

interface Thread {
  readonly worker: Worker
  /** Whether it could be started. */
  readonly ready: Promise<boolean>
  works: boolean
  readonly waiting: Array<{ readonly resolve: (results: ReadonlyArray<never>) => void; readonly reject: (error: unknown) => void }>
}

export class Workers {
  /** Bytes of memory beside the arena that each thread computes in. */
  static readonly room = (1 << 20) + TABLES

  readonly #arena: Arena
  readonly #most: number
  readonly #sharing: Sharing
  readonly #threads: Array<Thread> = []
  #asked = 0

  /** `threads`: how many beside this one. */
  constructor(arena: Arena, threads: number, sharing: Sharing = SHARING) {
    this.#arena = arena
    this.#most = threads
    this.#sharing = sharing
  }

  /** Start the threads, which happens by itself once there is enough to do; how many were ready in the end. */
  async start(): Promise<number> {
    if (this.#threads.length === 0) for (let i = 0; i < this.#most; i++) this.#threads.push(this.#thread(i))
    const ready = await Promise.all(this.#threads.map((thread) => thread.ready))
    return ready.filter((it) => it).length
  }

  /** Put pieces in place; how many elements of each changed value. `room` serves what is done by this thread. */
  place(placings: ReadonlyArray<Placing>, room: WorkRoom): Promise<ReadonlyArray<number>> {
    return this.#do("place", placings, room)
  }

  /** The checksums of ranges of memory. */
  sum(ranges: ReadonlyArray<RangeToSum>): Promise<ReadonlyArray<ReadonlyArray<RangeSum>>> {
    return this.#do("sum", ranges, { work: 0, workEnd: 0 })
  }

  /** Add products to elements in place; `room` as above. */
  async add(sums: ReadonlyArray<ElementSums>, room: WorkRoom): Promise<void> {
    await this.#do("add", sums, room)
  }

  /** Ends the threads; nothing may be under way. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.splice(0).map(({ worker }) => worker.terminate()))
  }

  async #do<O extends TaskKind>(order: O, items: ReadonlyArray<Tasks[O][0]>, room: WorkRoom): Promise<ReadonlyArray<Tasks[O][1]>> {
    const thread = this.#most > 0 ? this.#free(items.reduce((sum, item) => sum + bytesOfItem[order](item), 0)) : undefined
    if (thread === undefined) return items.map((item) => perform[order](this.#arena.memory, item, room))
    return new Promise((resolve, reject) => {
      thread.waiting.push({ resolve, reject })
      thread.worker.postMessage({ order, items } satisfies Question)
    })
  }

  /** A thread that can take this much; undefined if it is better done here. */
  #free(bytes: number): Thread | undefined {
    this.#asked += bytes
    if (this.#asked < this.#sharing.after) return undefined
    if (this.#threads.length === 0) void this.start()
    if (bytes < this.#sharing.from) return undefined
    let best: Thread | undefined
    for (const thread of this.#threads) {
      if (thread.works && thread.waiting.length < (best?.waiting.length ?? MOST_WAITING)) best = thread
    }
    return best
  }

  #thread(index: number): Thread {
    const tables = this.#arena.beside + index * Workers.room
    const workerData: WorkerData = { memory: this.#arena.memory.wasm, tables, work: tables + TABLES, workEnd: tables + Workers.room }
    const { eval: inline, script } = workerScript()
    const worker = new Worker(script, { eval: inline, workerData, execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: 4 } })
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const thread: Thread = { worker, ready: promise, works: false, waiting: [] }
    worker.on("message", (message: Answer | "ready") => {
      if (message === "ready") resolve(thread.works = true)
      else if ("error" in message) thread.waiting.shift()!.reject(message.error)
      else thread.waiting.shift()!.resolve(message.results as ReadonlyArray<never>)
    })
    // One that cannot start (a bundle without its file) or ends leaves the work to the others.
    worker.on("error", (error) => {
      resolve(thread.works = false)
      for (const { reject } of thread.waiting.splice(0)) reject(error)
    })
    return thread
  }
}
