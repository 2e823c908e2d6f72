/**
 * Products added to elements of matrices where they lie in a memory: what merging adapters spends its time with. Plain data, so that any
 * thread that has the memory can do it; each element is a sum in the order of k, whoever computes it and however the work is cut.
 */
import { bytesOf } from "../tensor/DType.ts"
import type { Memory } from "../tensor/kernels/Memory.ts"
import type { WasmMemory } from "../tensor/kernels/simd/Simd.ts"
import type { SumSteps, WeightDType, Weights } from "./Arithmetic.ts"
import { convertIn } from "./convert.ts"
import { type Kernels, kernelsOf, TILE } from "./kernels.ts"

/** The dtypes that are summed in place. */
const SUMMED = ["BF16", "F32"] as const
export type SummedDType = (typeof SUMMED)[number]
export const isSummedDType = (dtype: string): dtype is SummedDType => (SUMMED as ReadonlyArray<string>).includes(dtype)

/** `scale · left · right`, added to a matrix [rows, columns]. Factors in shared memory are not copied on their way to a thread. */
export interface Addend {
  readonly scale: number
  /** [rows, k] */
  readonly left: Weights
  /** [k, columns] */
  readonly right: Weights
}

/** What is added to the matrices of a tensor that lie one behind the other; the addends of one are added one after the other. */
export interface MatrixSums {
  readonly dtype: SummedDType
  readonly steps: SumSteps
  readonly matrices: ReadonlyArray<{ readonly rows: number; readonly columns: number; readonly addends: ReadonlyArray<Addend> }>
}

/** `count` elements of one matrix from element `first` on, at an address: rows at either end may be cut. */
export interface ElementSums {
  readonly at: number
  readonly first: number
  readonly count: number
  readonly dtype: SummedDType
  readonly steps: SumSteps
  readonly columns: number
  readonly addends: ReadonlyArray<Addend>
}

/** Addresses of room for computing. */
interface ComputeRoom {
  readonly work: number
  readonly workEnd: number
}

/** The largest k: of 1 MiB of room, tiles of both factors fit twice, packed and as they come. */
export const LARGEST_RANK = 4096

/** Elements from `first` on that lie at an address, matrix by matrix. */
export const sumsWithin = ({ dtype, matrices, steps }: MatrixSums, at: number, first: number, count: number): ReadonlyArray<ElementSums> => {
  const size = matrices[0]!.rows * matrices[0]!.columns
  const width = bytesOf(dtype)
  const sums: Array<ElementSums> = []
  for (let done = 0; done < count;) {
    const index = Math.floor((first + done) / size)
    const start = first + done - index * size
    const part = Math.min(count - done, size - start)
    const { addends, columns } = matrices[index]!
    if (addends.length > 0) sums.push({ at: at + done * width, first: start, count: part, dtype, steps, columns, addends })
    done += part
  }
  return sums
}

/** A part of a matrix in memory; rows lie `stride` bytes apart. */
interface Rectangle {
  readonly at: number
  readonly stride: number
  readonly row: number
  readonly rows: number
  readonly column: number
  readonly columns: number
}

/** The rows that the elements make up: one that is cut at the start, whole ones, one that is cut at the end. */
const rectanglesOf = ({ at, columns, count, dtype, first }: ElementSums): ReadonlyArray<Rectangle> => {
  const width = bytesOf(dtype)
  const found: Array<Rectangle> = []
  for (let done = 0; done < count;) {
    const [row, column] = [Math.floor((first + done) / columns), (first + done) % columns]
    const rows = column > 0 ? 1 : Math.max(1, Math.floor((count - done) / columns))
    const across = Math.min(columns - column, count - done)
    found.push({ at: at + done * width, stride: columns * width, row, rows, column, columns: across })
    done += rows * across
  }
  return found
}

const libraries = new WeakMap<WasmMemory, Kernels>()
const kernelsIn = (wasm: WasmMemory): Kernels => {
  const known = libraries.get(wasm)
  if (known) return known
  const made = kernelsOf(wasm)
  libraries.set(wasm, made)
  return made
}

const ADDS = { once: "addBF16", "delta-first": "addBF16DeltaFirst", stepwise: "addBF16Stepwise" } as const

/** At most this many elements of a product at once: b's panels stay in the first cache, a's in the second. */
const BLOCK = { rows: 512, columns: 512 } as const

/** What whole vectors read behind the end of what they are asked for, and rounding. */
const SPARE = 64

const roundedUp = (n: number, step: number): number => Math.ceil(n / step) * step
const roundedDown = (n: number, step: number): number => Math.floor(n / step) * step

/** Where things lie in the room, for blocks of so many rows and columns. */
const layOut = (work: number, k: number, rows: number, columns: number) => {
  const depth = roundedUp(k, TILE.rows)
  let at = roundedUp(work, 16)
  const room = (bytes: number): number => {
    const start = at
    at = roundedUp(at + bytes + SPARE, 16)
    return start
  }
  return {
    left: room(rows * depth * 4),
    right: room(columns * depth * 4),
    raw: room(4 * Math.max((rows + 1) * depth, k * columns)),
    wide: room(4 * Math.max((rows + 1) * depth, k * columns)),
    staged: room(4 * Math.max(TILE.rows * columns, rows * TILE.columns)),
    factor: room(4),
    end: at
  }
}

/** The largest blocks that fit. */
const blocksFor = ({ work, workEnd }: ComputeRoom, k: number) => {
  let { columns, rows }: { columns: number; rows: number } = BLOCK
  for (;; [rows, columns] = [Math.max(TILE.rows, rows / 2), Math.max(TILE.columns, columns / 2)]) {
    const places = layOut(work, k, rows, columns)
    if (places.end <= workEnd) return { rows, columns, places }
    if (rows === TILE.rows && columns === TILE.columns) throw new RangeError(`no room for a product of rank ${k}`)
  }
}

/** Copy rows between places with strides of their own. */
const copyRows = ({ u8 }: Memory, from: number, fromStride: number, to: number, toStride: number, rows: number, bytes: number): void => {
  for (let i = 0; i < rows; i++) u8.copyWithin(to + i * toStride, from + i * fromStride, from + i * fromStride + bytes)
}

const addTo = (memory: Memory, { dtype, steps }: ElementSums, { left, right, scale }: Addend, whole: Rectangle, room: ComputeRoom): void => {
  const k = left.columns
  const kernels = kernelsIn(memory.wasm)
  const add = kernels[dtype === "F32" ? "addF32" : ADDS[steps]]
  const { columns: widest, places, rows: highest } = blocksFor(room, k)
  const width = bytesOf(dtype)
  const depth = roundedUp(k, TILE.rows)
  const [leftWidth, rightWidth] = [bytesOf(left.dtype), bytesOf(right.dtype)]
  memory.f32[places.factor / 4] = scale

  /** What has been copied to the raw place, in a dtype that is packed. */
  const packable = (dtype: WeightDType, count: number): { readonly at: number; readonly dtype: SummedDType } => {
    if (dtype !== "F16") return { at: places.raw, dtype }
    convertIn(memory, dtype, "F32", places.raw, places.wide, count)
    return { at: places.wide, dtype: "F32" }
  }
  /** Whole tiles; `row` and `column` count within the block. */
  const tiles = (at: number, stride: number, row: number, rows: number, column: number, columns: number): void => {
    const [a, b] = [places.left + row * depth * 4, places.right + column * k * 4]
    add(a, depth * TILE.rows * 4, b, k * TILE.columns * 4, at, stride, rows, columns / TILE.columns, k, places.factor)
  }
  /** What is no whole tile is computed as one elsewhere. */
  const staged = (at: number, stride: number, row: number, rows: number, column: number, columns: number): void => {
    if (rows === 0 || columns === 0) return
    const across = roundedUp(columns, TILE.columns) * width
    copyRows(memory, at, stride, places.staged, across, rows, columns * width)
    tiles(places.staged, across, row, roundedUp(rows, TILE.rows), column, roundedUp(columns, TILE.columns))
    copyRows(memory, places.staged, across, at, stride, rows, columns * width)
  }

  for (let row = 0; row < whole.rows; row += highest) {
    const rows = Math.min(highest, whole.rows - row)
    const fromLeft = (whole.row + row) * k * leftWidth
    memory.u8.set(left.bytes.subarray(fromLeft, fromLeft + rows * k * leftWidth), places.raw)
    const a = packable(left.dtype, rows * k)
    kernels[`packLeft${a.dtype}`](a.at, k * bytesOf(a.dtype), places.left, Math.ceil(rows / TILE.rows), depth)
    for (let column = 0; column < whole.columns; column += widest) {
      const columns = Math.min(widest, whole.columns - column)
      const padded = roundedUp(columns, TILE.columns)
      for (let i = 0; i < k; i++) {
        const from = (i * right.columns + whole.column + column) * rightWidth
        memory.u8.set(right.bytes.subarray(from, from + columns * rightWidth), places.raw + i * padded * rightWidth)
      }
      const b = packable(right.dtype, k * padded)
      kernels[`packColumns${b.dtype}`](b.at, padded * bytesOf(b.dtype), places.right, padded / TILE.columns, k)
      const at = whole.at + row * whole.stride + column * width
      const [high, across] = [roundedDown(rows, TILE.rows), roundedDown(columns, TILE.columns)]
      tiles(at, whole.stride, 0, high, 0, across)
      staged(at + high * whole.stride, whole.stride, high, rows - high, 0, columns)
      staged(at + across * width, whole.stride, 0, high, across, columns - across)
    }
  }
}

/** Add what is to be added to elements in a memory. */
export const addSums = (memory: Memory, sums: ElementSums, room: ComputeRoom): void => {
  for (const addend of sums.addends) for (const rectangle of rectanglesOf(sums)) addTo(memory, sums, addend, rectangle, room)
}
