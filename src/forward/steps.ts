/**
 * The forward pass as a sequence of reads: parameters in the order in which they are computed with, each taken row by row as its bytes
 * arrive. Memory holds no more of a parameter than the rows in hand.
 */
import { Effect, Stream } from "effect"
import { isWeightDType, type Weights } from "../arithmetic/Arithmetic.ts"
import { widened } from "../arithmetic/convert.ts"
import { type EngineOptions, stream, type TargetArray } from "../engine/index.ts"
import { volume } from "../tensor/Copy.ts"
import { bytesOf } from "../tensor/DType.ts"
import { Later, Promised } from "./Later.ts"

/** A parameter that is read, and what becomes of its rows. */
export interface Read<P> {
  readonly parameter: P
  /** Only these of its rows, in this order. */
  readonly rows?: ReadonlyArray<number>
  /** Some whole rows of `of`; their bytes are lent until it returns. */
  readonly take: (rows: Weights, first: number, of: number) => void
  readonly done?: () => void
}

/** What is computed once all reads before are done. */
export interface Compute {
  readonly compute: () => void
}

/** `settle`: which steps follow depends on those before. */
export type PassStep<P> = Read<P> | Compute | "settle"

/** Steps, and what is known once they are taken. */
export type Steps<P, T> = Generator<PassStep<P>, T, void>

/** All numbers of a parameter. */
export function* wholeParameter<P>(parameter: P): Steps<P, Later<Float32Array>> {
  const parts: Array<Float32Array> = []
  const all = new Promised<Float32Array>()
  yield {
    parameter,
    take: (rows) => void parts.push(widened(rows)),
    done: () => all.give(parts.length === 1 ? parts[0]! : joined(parts))
  }
  return all
}

const joined = (parts: ReadonlyArray<Float32Array>): Float32Array => {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

/** Cuts the bytes of an array, as they come, into whole rows. */
class RowCutter<P> {
  readonly #read: Read<P>
  readonly #array: TargetArray
  readonly #columns: number
  readonly #total: number
  readonly #rest: Uint8Array
  #held = 0
  #row = 0

  constructor(read: Read<P>, array: TargetArray) {
    this.#read = read
    this.#array = array
    this.#columns = array.shape.at(-1) ?? 1
    this.#total = volume(array.shape) / this.#columns
    this.#rest = new Uint8Array(this.#columns * bytesOf(array.dtype))
  }

  add(bytes: Uint8Array): void {
    const size = this.#rest.byteLength
    let at = 0
    if (this.#held > 0) {
      at = Math.min(size - this.#held, bytes.byteLength)
      this.#rest.set(bytes.subarray(0, at), this.#held)
      this.#held += at
      if (this.#held < size) return
      this.#held = 0
      this.#give(this.#rest)
    }
    const end = at + Math.floor((bytes.byteLength - at) / size) * size
    if (end > at) this.#give(bytes.subarray(at, end))
    this.#rest.set(bytes.subarray(end))
    this.#held = bytes.byteLength - end
  }

  #give(bytes: Uint8Array): void {
    const { dtype } = this.#array
    if (!isWeightDType(dtype)) throw new RangeError(`${this.#array.id} has ${dtype} elements`)
    const rows = bytes.byteLength / this.#rest.byteLength
    this.#read.take({ dtype, rows, columns: this.#columns, bytes }, this.#row, this.#total)
    this.#row += rows
  }
}

/** Reads that are asked for and not done, and what is to be computed between them. */
class PendingReads<P> {
  readonly #steps: Array<Compute | { readonly read: Read<P>; readonly cutter: RowCutter<P> }> = []

  add(read: Read<P>, array: TargetArray): void {
    this.#steps.push({ read, cutter: new RowCutter(read, array) })
  }

  compute(step: Compute): void {
    this.#steps.push(step)
    this.#computeFirst()
  }

  /** Bytes of the first read; `last`: its last ones. */
  bytes(bytes: Uint8Array, last: boolean): void {
    const [first] = this.#steps
    if (first === undefined || !("read" in first)) throw new RangeError("bytes that nobody asked for")
    first.cutter.add(bytes)
    if (!last) return
    this.#steps.shift()
    first.read.done?.()
    this.#computeFirst()
  }

  #computeFirst(): void {
    for (let [first] = this.#steps; first !== undefined && "compute" in first; [first] = this.#steps) {
      this.#steps.shift()
      first.compute()
    }
  }
}

/** Take the steps. `array`: a parameter, or some rows of it, in a dtype that is computed with. */
export const takeSteps = <P>(steps: Steps<P, void>, array: (read: Read<P>) => TargetArray, options: EngineOptions & { readonly onBytes?: (bytes: number) => void }) =>
  Effect.gen(function*() {
    for (let ended = false; !ended;) {
      const pending = new PendingReads<P>()
      // The engine asks for arrays ahead of those that it delivers.
      const arrays = function*(): Generator<TargetArray> {
        for (;;) {
          const { done, value } = steps.next()
          if (done) ended = true
          if (done || value === "settle") return
          if ("compute" in value) {
            pending.compute(value)
            continue
          }
          const target = array(value)
          pending.add(value, target)
          yield target
        }
      }
      yield* Stream.runForEach(stream(arrays(), { ...options, lend: true }), ({ bytes, last }) =>
        Effect.sync(() => {
          pending.bytes(bytes, last)
          options.onBytes?.(bytes.byteLength)
        }))
    }
  })
