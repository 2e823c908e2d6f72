/**
 * How large the change of an adapter is, without forming it: `‖B·A‖² = Σ (BᵀB) ∘ (AAᵀ)`, two matrices of the rank's size. Streams the
 * matrices; one A and some rows of B are in memory at a time.
 */
import { Effect, Stream } from "effect"
import { type Arithmetic, isWeightDType } from "../../arithmetic/Arithmetic.ts"
import { widened } from "../../arithmetic/convert.ts"
import { makeSimd } from "../../arithmetic/simd.ts"
import { stream, type TargetArray } from "../../engine/index.ts"
import { openTensors, type OpenTensors } from "../../space/openTensors.ts"
import { bytesOf } from "../../tensor/DType.ts"
import type { FoundPair, MatrixPlace } from "./storedPairs.ts"

/** Frobenius norms of B·A and of B. */
export interface PairNorms {
  readonly change: number
  readonly output: number
}

/** Sums of products of rows (or columns), in doubles. */
class Gram {
  readonly sums: Float64Array
  constructor(rank: number) {
    this.sums = new Float64Array(rank * rank)
  }
  add(products: Float32Array): void {
    for (let i = 0; i < products.length; i++) this.sums[i]! += products[i]!
  }
  get trace(): number {
    const rank = Math.sqrt(this.sums.length)
    let sum = 0
    for (let i = 0; i < rank; i++) sum += this.sums[i * (rank + 1)]!
    return sum
  }
}

const bytesIn = (x: Float32Array): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength)

/** x·xᵀ of rows `[rank, columns]`. */
const rowGram = (arithmetic: Arithmetic, x: Float32Array, rank: number): Float32Array =>
  arithmetic.product({ a: x, m: rank, b: { dtype: "F32", rows: rank, columns: x.length / rank, bytes: bytesIn(x) }, transposed: true })

/** Rows of a matrix in which the ranks of `experts` matrices lie beside each other, column `k·experts + e`: xᵀ of expert e. */
const turned = (x: Float32Array, rank: number, experts: number, e: number): Float32Array => {
  const width = rank * experts
  const rows = x.length / width
  const out = new Float32Array(x.length / experts)
  for (let k = 0; k < rank; k++) for (let i = 0, at = k * experts + e; i < rows; i++, at += width) out[k * rows + i] = x[at]!
  return out
}

/** An array, and what is done with whole rows of it. */
interface Task {
  readonly pair: Work
  readonly rowLength: number
  /** Rows that are needed together: all ranks of an A; of B any number of rows will do. */
  readonly together?: number
  readonly rows: (x: Float32Array, first: number) => void
}

/** The Grams of one pair, for as long as its matrices are read. */
class Work {
  readonly pair: FoundPair
  readonly #arithmetic: Arithmetic
  readonly #a: Array<Gram> = []
  readonly #b: Array<Gram> = []

  constructor(pair: FoundPair, arithmetic: Arithmetic) {
    this.pair = pair
    this.#arithmetic = arithmetic
  }

  *tasks({ box }: OpenTensors): Generator<readonly [TargetArray, Task]> {
    const { a, b, experts = 1, inputs, packed, rank } = this.pair
    const array = ({ box: own, tensor }: MatrixPlace): TargetArray => box(tensor, own)
    for (const [index, piece] of a.entries()) {
      yield [array(piece), { pair: this, rowLength: inputs, together: rank, rows: (x, first) => (this.#a[index + first / rank] ??= new Gram(rank)).add(rowGram(this.#arithmetic, x, rank)) }]
    }
    const width = packed ? experts : 1
    for (const [index, pieces] of b.entries()) {
      for (const piece of pieces) {
        yield [array(piece), {
          pair: this,
          rowLength: rank * width,
          rows: (x) => {
            for (let e = 0; e < width; e++) (this.#b[index + e] ??= new Gram(rank)).add(rowGram(this.#arithmetic, turned(x, rank, width, e), rank))
          }
        }]
      }
    }
  }

  get norms(): PairNorms {
    const [a, b] = [this.#a, this.#b]
    let [change, output] = [0, 0]
    if (a.length === 0 || b.length === 0) return { change, output }
    for (let e = 0; e < Math.max(a.length, b.length); e++) {
      // What all experts share is there once.
      const [left, right] = [b[e % b.length]!.sums, a[e % a.length]!.sums]
      for (let i = 0; i < left.length; i++) change += left[i]! * right[i]!
    }
    for (const gram of b) output += gram.trace
    // A sum of F32 products may fall below zero by its own rounding.
    return { change: Math.sqrt(Math.max(0, change)), output: Math.sqrt(Math.max(0, output)) }
  }
}

/** Cuts the bytes of an array into whole rows, as many as a task needs at once. */
class Rows {
  readonly #task: Task
  readonly #array: TargetArray
  #rest: Uint8Array = new Uint8Array(0)
  #first = 0

  constructor(array: TargetArray, task: Task) {
    this.#array = array
    this.#task = task
  }

  add(bytes: Uint8Array): void {
    const { dtype } = this.#array
    if (!isWeightDType(dtype)) return
    const { rowLength, rows, together } = this.#task
    const size = (together ?? 1) * rowLength * bytesOf(dtype)
    const joined = this.#rest.byteLength === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    const whole = joined.byteLength - (joined.byteLength % size)
    // Of A one matrix after the other; of B all rows that are there.
    const step = together === undefined ? whole : size
    for (let at = 0; at < whole; at += step) {
      rows(widened({ dtype, bytes: joined.subarray(at, at + step) }), this.#first)
      this.#first += step / rowLength / bytesOf(dtype)
    }
    this.#rest = joined.slice(whole)
  }
}

/** The norms of each pair; matrices of a dtype without arithmetic are left out. InvalidFile, IoError of what is read. */
export const measurePairs = Effect.fnUntraced(function*(pairs: ReadonlyArray<FoundPair>) {
  const arithmetic = makeSimd()
  const norms = new Map<FoundPair, PairNorms>()
  const countable = pairs.filter(({ a, b }) => [...a, ...b.flat()].every(({ tensor }) => isWeightDType(tensor.dtype)))
  const data = yield* openTensors([...new Set(countable.flatMap(({ a, b }) => [...a, ...b.flat()].map(({ tensor }) => tensor)))])
  const tasks = new Map<TargetArray, Task>()
  const arrays = function*() {
    for (const pair of countable) {
      for (const [array, task] of new Work(pair, arithmetic).tasks(data)) {
        tasks.set(array, task)
        yield array
      }
    }
  }
  let current: { readonly array: TargetArray; readonly work: Work; readonly rows: Rows } | undefined
  const finish = (next?: Work) => {
    if (current && current.work !== next) norms.set(current.work.pair, current.work.norms)
  }
  yield* stream(arrays(), { lend: true }).pipe(Stream.runForEach(({ array, bytes }) => Effect.sync(() => {
    if (current?.array !== array) {
      const task = tasks.get(array)!
      tasks.delete(array)
      finish(task.pair)
      current = { array, work: task.pair, rows: new Rows(array, task) }
    }
    current.rows.add(bytes)
  })))
  finish()
  return norms as ReadonlyMap<FoundPair, PairNorms>
})
