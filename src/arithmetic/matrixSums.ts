/**
 * Products added to elements of matrices where they lie in a memory: what merging adapters spends its time with. Plain data, so that any
 * thread that has the memory can do it; each element is a sum in the order of k, whoever computes it and however the work is cut.
 */
import { bytesOf } from "../tensor/DType.ts"
import type { Memory } from "../tensor/kernels/Memory.ts"
import type { WasmMemory } from "../tensor/kernels/simd/Simd.ts"
import type { SumSteps, WeightDType, Weights } from "./Arithmetic.ts"
import { convertIn } from "./convert.ts"
import { type Kernels, kernelsOf, LANES, TILE } from "./kernels.ts"

/** The dtypes that kernels sum in place. */
const IN_PLACE = ["BF16", "F32"] as const
type InPlace = (typeof IN_PLACE)[number]
const isInPlace = (dtype: WeightDType): dtype is InPlace => (IN_PLACE as ReadonlyArray<string>).includes(dtype)

/** As {@link SumSteps}; `together`: all addends are added in F32, each row is multiplied by its factor, and that is rounded to the dtype of W. */
export type AddendSteps = SumSteps | "together"

/** `scale · left · right`, added to a matrix [rows, columns]. Factors in shared memory are not copied on their way to a thread. */
export interface Addend {
  readonly scale: number
  /** [rows, k] */
  readonly left: Weights
  /** [k, columns] */
  readonly right: Weights
}

/** What is added to one matrix: the addends one after the other. */
export interface MatrixSum {
  readonly columns: number
  readonly dtype: WeightDType
  readonly steps: AddendSteps
  readonly addends: ReadonlyArray<Addend>
  /** Of `together`: what each row is multiplied by in the end. */
  readonly rowFactors?: Float32Array
}

/** Matrices that lie one behind the other; of those that nothing is added to, `sum` is absent. */
export type MatrixSums = ReadonlyArray<{ readonly elements: number; readonly sum?: MatrixSum | undefined }>

/** `count` elements of one matrix from element `first` on, at an address: rows at either end may be cut. */
export interface ElementSums extends MatrixSum {
  readonly at: number
  readonly first: number
  readonly count: number
}

/** Whether such sums can be had of any thread; what cannot is the driver's. */
export const isSummed = ({ addends, dtype, steps }: MatrixSum): boolean =>
  (isInPlace(dtype) || steps === "together" || (steps === "once" && addends.length === 1)) && addends.every(({ left }) => left.columns <= LARGEST_RANK)

/** Addresses of room for computing. */
interface ComputeRoom {
  readonly work: number
  readonly workEnd: number
}

/** The largest k: of 1 MiB of room, tiles of both factors fit twice, packed and as they come. */
export const LARGEST_RANK = 4096

/** Elements from `first` on that lie at an address, matrix by matrix. */
export const sumsWithin = (matrices: MatrixSums, at: number, first: number, count: number): ReadonlyArray<ElementSums> => {
  const sums: Array<ElementSums> = []
  let start = 0
  for (const { elements, sum } of matrices) {
    const [from, to] = [Math.max(first, start), Math.min(first + count, start + elements)]
    if (sum && sum.addends.length > 0 && from < to) sums.push({ ...sum, at: at + (from - first) * bytesOf(sum.dtype), first: from - start, count: to - from })
    start += elements
    if (start >= first + count) break
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

const addTo = (memory: Memory, dtype: InPlace, steps: SumSteps, { left, right, scale }: Addend, whole: Rectangle, room: ComputeRoom): void => {
  const k = left.columns
  const kernels = kernelsIn(memory.wasm)
  const add = kernels[dtype === "F32" ? "addF32" : ADDS[steps]]
  const { columns: widest, places, rows: highest } = blocksFor(room, k)
  const width = bytesOf(dtype)
  const depth = roundedUp(k, TILE.rows)
  const [leftWidth, rightWidth] = [bytesOf(left.dtype), bytesOf(right.dtype)]
  memory.f32[places.factor / 4] = scale

  /** What has been copied to the raw place, in a dtype that is packed. */
  const packable = (dtype: WeightDType, count: number): { readonly at: number; readonly dtype: InPlace } => {
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

/** Elements that are widened at once, for whole blocks of a product. */
const WIDENED = { rows: 128, columns: 512 } as const

/** Half of the room for as many widened elements as fit, as they come and as F32. */
const widenedPlaces = ({ work, workEnd }: ComputeRoom) => {
  let { columns, rows }: { columns: number; rows: number } = WIDENED
  const size = (): number => 2 * (rows * columns * 4 + SPARE)
  while (size() > (workEnd - work) / 2 && rows * columns > TILE.columns) [rows, columns] = rows > 1 ? [rows / 2, columns] : [rows, columns / 2]
  const raw = roundedUp(work, 16)
  const wide = roundedUp(raw + rows * columns * 4 + SPARE, 16)
  return { rows, columns, raw, wide, rest: { work: wide + rows * columns * 4 + SPARE, workEnd } }
}

const addTogether = (memory: Memory, { addends, dtype, rowFactors }: ElementSums, whole: Rectangle, room: ComputeRoom): void => {
  const places = widenedPlaces(room)
  const width = bytesOf(dtype)
  for (let row = 0; row < whole.rows; row += places.rows) {
    const rows = Math.min(places.rows, whole.rows - row)
    for (let column = 0; column < whole.columns; column += places.columns) {
      const columns = Math.min(places.columns, whole.columns - column)
      const across = roundedUp(columns, LANES)
      const at = whole.at + row * whole.stride + column * width
      copyRows(memory, at, whole.stride, places.raw, across * width, rows, columns * width)
      convertIn(memory, dtype, "F32", places.raw, places.wide, rows * across)
      const part = { at: places.wide, stride: across * 4, row: whole.row + row, rows, column: whole.column + column, columns }
      for (const addend of addends) addTo(memory, "F32", "once", addend, part, places.rest)
      if (rowFactors) {
        for (let i = 0; i < rows; i++) {
          memory.f32[places.raw / 4] = rowFactors[part.row + i]!
          kernelsIn(memory.wasm).scale(places.wide + i * across * 4, places.raw, across)
        }
      }
      convertIn(memory, "F32", dtype, places.wide, places.raw, rows * across)
      copyRows(memory, places.raw, across * width, at, whole.stride, rows, columns * width)
    }
  }
}

/** Add what is to be added to elements in a memory. Sums are such as {@link isSummed} says. */
export const addSums = (memory: Memory, sums: ElementSums, room: ComputeRoom): void => {
  const { addends, dtype, steps } = sums
  const rectangles = rectanglesOf(sums)
  if (steps === "together" || !isInPlace(dtype)) for (const rectangle of rectangles) addTogether(memory, sums, rectangle, room)
  else for (const addend of addends) for (const rectangle of rectangles) addTo(memory, dtype, steps, addend, rectangle, room)
}
