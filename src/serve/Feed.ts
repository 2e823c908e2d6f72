/** One reading of the weights that several consumers take from. */
import type { ArrayChunk, TargetArray } from "../engine/index.ts"
import { bytesOfTensor } from "../space/TensorSpace.ts"
import type { Selected } from "./Catalogue.ts"
import { encodeFrame, LARGEST_PIECE } from "./protocol.ts"
import { sliced } from "./slices.ts"

/** How far a consumer is: bytes of a tensor of its selection. */
export interface StreamPosition {
  readonly tensor: number
  readonly offset: number
}

const samePosition = (a: StreamPosition, b: StreamPosition): boolean => a.tensor === b.tensor && a.offset === b.offset

export interface Frame {
  readonly at: StreamPosition
  /** Where the next one begins. */
  readonly next: StreamPosition
  /** Of weights. */
  readonly bytes: number
  readonly data: Buffer
}

/** Whoever takes frames. */
export interface Taker {
  /** It would take another frame now. */
  readonly ready: boolean
  /** There is something new to take, or there will be nothing more. */
  readonly notify: () => void
  /** It is left behind, so that others need not wait. */
  readonly adrift: () => void
  readonly failed: (error: unknown) => void
}

/** Bytes of frames that are kept for the slowest. */
const WINDOW = 8 << 20
/** Milliseconds that the others wait for one consumer, all in all. */
export const PATIENCE = 1000
const GLANCE = 50

/** How arrays are read. Chunks are lent: valid until the next is asked for. */
export type Reader = (arrays: Iterable<TargetArray>) => AsyncIterable<ArrayChunk>

/** The array from a byte on, as far as whole rows go; `skipped`: the bytes before it. */
const from = (array: TargetArray, offset: number): { readonly array: TargetArray; readonly skipped: number } => {
  const rows = array.shape[0] ?? 0
  const row = rows === 0 ? 0 : bytesOfTensor(array.dtype, array.shape) / rows
  const first = row > 0 && Number.isInteger(row) ? Math.floor(offset / row) : 0
  return first === 0 ? { array, skipped: 0 } : { array: sliced(array, { axis: 0, ranges: [[first, rows]] }), skipped: first * row }
}

/** The frames of a selection from a position on. */
const frames = async function*(selected: Selected, begin: StreamPosition, reader: Reader): AsyncGenerator<Frame, void> {
  const start = begin.offset === 0 ? undefined : from(selected.tensor(begin.tensor).array(), begin.offset)
  const arrays = function*(): Generator<TargetArray> {
    for (let at = begin.tensor; at < selected.tensors; at++) yield at === begin.tensor && start ? start.array : selected.tensor(at).array()
  }
  let at = begin.tensor
  let { description } = selected.tensor(at)
  for await (const { bytes, last, offset } of reader(arrays())) {
    const before = at === begin.tensor && start ? start.skipped : 0
    // What the consumer has of the first row.
    let done = Math.max(0, at === begin.tensor ? begin.offset - before - offset : 0)
    do {
      const piece = bytes.subarray(Math.min(done, bytes.byteLength), done + LARGEST_PIECE)
      const [place, end] = [before + offset + done, done + piece.byteLength >= bytes.byteLength]
      if (piece.byteLength > 0 || (last && bytes.byteLength === 0)) {
        const closes = last && end
        yield {
          at: { tensor: at, offset: place },
          next: closes ? { tensor: at + 1, offset: 0 } : { tensor: at, offset: place + piece.byteLength },
          bytes: piece.byteLength,
          data: encodeFrame(description, place, closes, piece)
        }
      }
      done += piece.byteLength
      if (piece.byteLength === 0) break
    } while (done < bytes.byteLength)
    if (last && ++at < selected.tensors) ({ description } = selected.tensor(at))
  }
}

export class Feed {
  readonly selected: Selected
  readonly #begin: StreamPosition
  readonly #reader: Reader
  #frames: Array<Frame> = []
  /** The number of the first frame that is kept. */
  #first = 0
  #bytes = 0
  #ended = false
  #started = false
  #lastTaken = performance.now()
  #released: (() => void) | undefined
  /** The number of the frame that each takes next, and for how many milliseconds others waited for it. */
  readonly #takers = new Map<Taker, { next: number; waited: number }>()

  constructor(selected: Selected, begin: StreamPosition, reader: Reader) {
    this.selected = selected
    this.#begin = begin
    this.#reader = reader
  }

  get takers(): number { return this.#takers.size }

  /** Nobody takes from it, and nobody would. */
  get isStalled(): boolean {
    return performance.now() - this.#lastTaken > PATIENCE && [...this.#takers.keys()].every(({ ready }) => !ready)
  }

  /** Let it take from here on, if its position is in the window. */
  join(taker: Taker, position: StreamPosition): boolean {
    const at = this.#started || this.#frames.length > 0 ? this.#frames.findIndex((frame) => samePosition(frame.at, position)) : samePosition(this.#begin, position) ? 0 : -1
    if (at < 0) return false
    this.#takers.set(taker, { next: this.#first + at, waited: 0 })
    return true
  }

  leave(taker: Taker): void {
    if (this.#takers.delete(taker)) this.#evict()
  }

  /** The next frame for a taker; `end`: there will be none. */
  peek(taker: Taker): Frame | "end" | undefined {
    const { next } = this.#takers.get(taker)!
    return this.#frames[next - this.#first] ?? (this.#ended ? "end" : undefined)
  }

  take(taker: Taker): void {
    this.#takers.get(taker)!.next++
    this.#lastTaken = performance.now()
    this.#evict()
  }

  /** Everybody is left behind; the reading ends. */
  close(): void {
    const takers = [...this.#takers.keys()]
    this.#takers.clear()
    for (const taker of takers) taker.adrift()
    this.#released?.()
  }

  /** Reads until the end, or until nobody takes any more. `onRead`: told the bytes. */
  async run(onRead: (bytes: number) => void): Promise<void> {
    this.#started = true
    this.#lastTaken = performance.now()
    try {
      for await (const frame of frames(this.selected, this.#begin, this.#reader)) {
        await this.#room(frame.bytes)
        if (this.#takers.size === 0) return
        onRead(frame.bytes)
        this.#frames.push(frame)
        this.#bytes += frame.data.byteLength
        this.#notify()
      }
      this.#ended = true
      this.#notify()
      while (this.#takers.size > 0) await this.#wait()
    } catch (error) {
      this.fail(error)
    } finally {
      this.#frames = []
    }
  }

  /** There will be nothing more, for this reason. */
  fail(error: unknown): void {
    const takers = [...this.#takers.keys()]
    this.#takers.clear()
    for (const taker of takers) taker.failed(error)
  }

  #notify(): void {
    for (const taker of this.#takers.keys()) taker.notify()
  }

  #evict(): void {
    let lowest = Number.POSITIVE_INFINITY
    for (const { next } of this.#takers.values()) lowest = Math.min(lowest, next)
    const gone = Math.min(this.#frames.length, lowest - this.#first)
    if (gone > 0) {
      for (const { data } of this.#frames.splice(0, gone)) this.#bytes -= data.byteLength
      this.#first += gone
    }
    this.#released?.()
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GLANCE)
      this.#released = () => {
        clearTimeout(timer)
        this.#released = undefined
        resolve()
      }
    })
  }

  /** Wait until a frame more fits; who keeps others waiting for too long is left behind. */
  async #room(bytes: number): Promise<void> {
    while (this.#bytes + bytes > WINDOW && this.#takers.size > 0) {
      const before = performance.now()
      await this.#wait()
      if (this.#bytes + bytes <= WINDOW) return
      const end = this.#first + this.#frames.length
      if (![...this.#takers].some(([taker, { next }]) => next === end && taker.ready)) continue
      for (const [taker, state] of this.#takers) {
        if (state.next !== this.#first) continue
        state.waited += performance.now() - before
        if (state.waited <= PATIENCE) continue
        this.leave(taker)
        taker.adrift()
      }
    }
  }
}
