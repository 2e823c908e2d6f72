/** The driver that is always there: WebAssembly vectors on one core, nothing to install. */
import { bytesOf } from "../tensor/DType.ts"
import { type Memory, memoryOf, TABLES } from "../tensor/kernels/Memory.ts"
import { allocate } from "../tensor/kernels/simd/Simd.ts"
import { type Arithmetic, type Product, sizesOf, type SumRounding, type Weights } from "./Arithmetic.ts"
import { convertIn } from "./convert.ts"
import { type Kernels, kernelsOf, TILE } from "./kernels.ts"
import { vectors } from "./plain.ts"

/** A block of the product, in elements: the parts of both factors and of the result that are worked on stay in a core's caches. */
const BLOCK = { rows: 256, columns: 512, k: 512 } as const

/** Byte addresses in the driver's memory. Rows may be loaded in whole vectors: a little room behind each part. */
const SPARE = 64
const A = 0
const RAW = A + BLOCK.rows * BLOCK.k * 4 + SPARE
const WIDE = RAW + BLOCK.columns * BLOCK.k * 4 + SPARE
const PANELS = WIDE + BLOCK.columns * BLOCK.k * 4 + SPARE
const C = PANELS + BLOCK.columns * BLOCK.k * 4 + SPARE
const FACTOR = C + BLOCK.rows * BLOCK.columns * 4 + SPARE
const END = FACTOR + SPARE

const roundedUp = (n: number, step: number): number => Math.ceil(n / step) * step

/** A part of a matrix. */
interface Part {
  readonly row: number
  readonly rows: number
  readonly column: number
  readonly columns: number
}

/** Copy a part of a row-major matrix to an address, its rows there `stride` elements apart. */
const place = (target: Uint8Array, at: number, stride: number, source: Uint8Array, width: number, across: number, part: Part): void => {
  const length = part.columns * width
  if (part.columns === across && stride === across) {
    target.set(source.subarray(part.row * across * width, (part.row + part.rows) * across * width), at)
    return
  }
  for (let i = 0; i < part.rows; i++) {
    const from = ((part.row + i) * across + part.column) * width
    target.set(source.subarray(from, from + length), at + i * stride * width)
  }
}

/** Lays a part of b down in panels of 8 columns of the product; returns how many. */
const pack = (memory: Memory, kernels: Kernels, b: Weights, transposed: boolean, part: Part): number => {
  const [n, k] = transposed ? [part.rows, part.columns] : [part.columns, part.rows]
  const stride = roundedUp(part.columns, transposed ? 4 : TILE.columns)
  const width = bytesOf(b.dtype)
  place(memory.u8, RAW, stride, b.bytes, width, b.columns, part)
  const panels = Math.ceil(n / TILE.columns)
  const half = b.dtype === "F16"
  if (half) convertIn(memory, "F16", "F32", RAW, WIDE, part.rows * stride)
  const dtype = b.dtype === "BF16" ? "BF16" : "F32"
  kernels[`pack${transposed ? "Rows" : "Columns"}${dtype}`](half ? WIDE : RAW, stride * (half ? 4 : width), PANELS, panels, transposed ? stride : k)
  return panels
}

const bytesOfF32 = (numbers: Float32Array): Uint8Array => new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)

/** What the driver computes in; made when it is first needed. */
interface Room {
  readonly memory: Memory
  readonly kernels: Kernels
}

const makeRoom = (): Room => {
  const wasm = allocate(END + TABLES, false)
  return { memory: memoryOf(wasm, END), kernels: kernelsOf(wasm) }
}

/** A finished block of a product: in the memory at `C`, its rows `stride` elements apart. */
interface Block extends Part {
  readonly stride: number
}

/** Compute a product block by block; each is whole in k. */
const eachBlock = ({ kernels, memory }: Room, call: Product, use: (block: Block) => void): void => {
  const { k, m, n } = sizesOf(call)
  const a = bytesOfF32(call.a)
  const compute = (row: number, rows: number, column: number, columns: number): void => {
    const stride = roundedUp(columns, TILE.columns)
    const paddedRows = roundedUp(rows, TILE.rows)
    memory.f32.fill(0, C / 4, C / 4 + paddedRows * stride)
    for (let at = 0; at < k; at += BLOCK.k) {
      const depth = Math.min(BLOCK.k, k - at)
      const panels = pack(memory, kernels, call.b, call.transposed, call.transposed
        ? { row: column, rows: columns, column: at, columns: depth }
        : { row: at, rows: depth, column, columns })
      place(memory.u8, A, depth, a, 4, k, { row, rows, column: at, columns: depth })
      const panelStep = (call.transposed ? roundedUp(depth, 4) : depth) * TILE.columns * 4
      kernels.multiply(A, depth * 4, PANELS, panelStep, C, stride * 4, paddedRows, panels, depth)
    }
    use({ row, rows, column, columns, stride })
  }
  for (let column = 0; column < n; column += BLOCK.columns) {
    for (let row = 0; row < m; row += BLOCK.rows) {
      compute(row, Math.min(BLOCK.rows, m - row), column, Math.min(BLOCK.columns, n - column))
    }
  }
}

const product = (room: Room, call: Product): Float32Array<ArrayBuffer> => {
  const { m, n } = sizesOf(call)
  const out = new Float32Array(m * n)
  eachBlock(room, call, ({ column, columns, row, rows, stride }) => {
    for (let i = 0; i < rows; i++) {
      const from = C / 4 + i * stride
      out.set(room.memory.f32.subarray(from, from + columns), (row + i) * n + column)
    }
  })
  return out
}

/** A block of the sum stands where the factors were: they are not needed any more. */
const addProduct = (room: Room, base: Weights, call: Product, by: number, rounding: SumRounding): Uint8Array<ArrayBuffer> => {
  const { m, n } = sizesOf(call)
  if (base.rows !== m || base.columns !== n) throw new RangeError(`the sum of [${base.rows}, ${base.columns}] and [${m}, ${n}]`)
  const { kernels, memory } = room
  const width = bytesOf(base.dtype)
  const out = new Uint8Array(m * n * width)
  eachBlock(room, call, ({ stride, ...part }) => {
    const count = roundedUp(part.rows * stride, 4)
    place(memory.u8, RAW, stride, base.bytes, width, n, part)
    convertIn(memory, base.dtype, "F32", RAW, WIDE, count)
    memory.f32[FACTOR / 4] = by
    kernels.scale(C, FACTOR, count)
    if (rounding === "delta-first") {
      convertIn(memory, "F32", base.dtype, C, RAW, count)
      convertIn(memory, base.dtype, "F32", RAW, C, count)
    }
    kernels.add(WIDE, C, count)
    convertIn(memory, "F32", base.dtype, WIDE, RAW, count)
    for (let i = 0; i < part.rows; i++) {
      const from = RAW + i * stride * width
      out.set(memory.u8.subarray(from, from + part.columns * width), ((part.row + i) * n + part.column) * width)
    }
  })
  return out
}

/** A driver with a memory of its own of some 4.5 MB. */
export const makeSimd = (): Arithmetic => {
  let made: Room | undefined
  const room = (): Room => made ??= makeRoom()
  return {
    name: "simd",
    product: (call) => product(room(), call),
    addProduct: (base, call, by, rounding) => addProduct(room(), base, call, by, rounding),
    ...vectors
  }
}
