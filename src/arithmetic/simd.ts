/** The driver that is always there: WebAssembly vectors on one core, nothing to install. */
import { bytesOf } from "../tensor/DType.ts"
import { type Memory, memoryOf, TABLES } from "../tensor/kernels/Memory.ts"
import { allocate } from "../tensor/kernels/simd/Simd.ts"
import { type Arithmetic, type Product, productSizes, type SumRounding, type Weights } from "./Arithmetic.ts"
import { convertIn } from "./convert.ts"
import { type Kernels, kernelsOf, TILE } from "./kernels.ts"
import { vectors } from "./plain.ts"

/** A block of the product, in elements: the parts of both factors and of the result that are worked on stay in a core's caches. */
const BLOCK = { rows: 256, columns: 512, k: 512 } as const

/** Bytes for rows of each factor: whole rows are brought by one copy, where they fit. */
const ROOM = { a: 1 << 20, b: 1 << 21 } as const

/** Byte addresses in the driver's memory. Rows may be loaded in whole vectors: a little room behind each part. */
const SPARE = 64
const A = 0
const RAW = A + ROOM.a + SPARE
const WIDE = RAW + ROOM.b + SPARE
const PANELS = WIDE + 2 * ROOM.b + SPARE
const C = PANELS + BLOCK.columns * BLOCK.k * 4 + SPARE
const FACTOR = C + BLOCK.rows * BLOCK.columns * 4 + SPARE
const END = FACTOR + SPARE

const roundedUp = (n: number, step: number): number => Math.ceil(n / step) * step

/** A part of a matrix. */
interface MatrixPart {
  readonly row: number
  readonly rows: number
  readonly column: number
  readonly columns: number
}

/** Copy a part of a row-major matrix to an address, its rows there `stride` elements apart. */
const place = (target: Uint8Array, at: number, stride: number, source: Uint8Array, width: number, across: number, part: MatrixPart): void => {
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

/** Where rows lie, and how many bytes apart. */
interface Laid {
  readonly at: number
  readonly stride: number
}

/** Some rows of a matrix, brought whole if there is room for them, else column by column as they are asked for. */
const rowsAt = (memory: Memory, at: number, room: number, source: Uint8Array, width: number, across: number, row: number, rows: number): (column: number, columns: number) => Laid => {
  const whole = rows * across * width <= room
  if (whole) place(memory.u8, at, across, source, width, across, { row, rows, column: 0, columns: across })
  return (column, columns) => {
    if (whole) return { at: at + column * width, stride: across * width }
    place(memory.u8, at, columns, source, width, across, { row, rows, column, columns })
    return { at, stride: columns * width }
  }
}

/** Parts of b in panels of 8 columns of the product, each in the bytes of the room that it has. */
type Panels = (at: number, depth: number) => void

/** Rows of b are columns of the product. */
const panelsOfRows = ({ kernels, memory }: Room, b: Weights, column: number, columns: number): Panels => {
  const width = bytesOf(b.dtype)
  const part = rowsAt(memory, RAW, ROOM.b, b.bytes, width, b.columns, column, columns)
  const panels = Math.ceil(columns / TILE.columns)
  return (at, depth) => {
    const raw = part(at, depth)
    if (b.dtype === "F16") {
      // Row by row: between them may be what is not asked for.
      for (let i = 0; i < columns; i++) convertIn(memory, "F16", "F32", raw.at + i * raw.stride, WIDE + i * depth * 4, depth)
      kernels.packRowsF32(WIDE, depth * 4, PANELS, panels, roundedUp(depth, 4))
    } else kernels[`packRows${b.dtype}`](raw.at, raw.stride, PANELS, panels, roundedUp(depth, 4))
  }
}

const panelsOfColumns = ({ kernels, memory }: Room, b: Weights, column: number, columns: number): Panels => {
  const width = bytesOf(b.dtype)
  const panels = Math.ceil(columns / TILE.columns)
  const stride = panels * TILE.columns
  return (at, depth) => {
    place(memory.u8, RAW, stride, b.bytes, width, b.columns, { row: at, rows: depth, column, columns })
    if (b.dtype === "F16") {
      convertIn(memory, "F16", "F32", RAW, WIDE, depth * stride)
      kernels.packColumnsF32(WIDE, stride * 4, PANELS, panels, depth)
    } else kernels[`packColumns${b.dtype}`](RAW, stride * width, PANELS, panels, depth)
  }
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
interface ProductBlock extends MatrixPart {
  readonly stride: number
}

/** Columns of a block whose rows of b, of so many bytes, can be brought whole; all of them where that would be too few. */
const columnsThatFit = (bytes: number): number => {
  const fitting = Math.min(BLOCK.columns, Math.floor(ROOM.b / bytes / TILE.columns) * TILE.columns)
  return fitting >= BLOCK.columns / 8 ? fitting : BLOCK.columns
}

/** Compute a product block by block; each is whole in k. */
const eachBlock = (room: Room, call: Product, use: (block: ProductBlock) => void): void => {
  const { k, m, n } = productSizes(call)
  const { kernels, memory } = room
  const a = bytesOfF32(call.a)
  const compute = (panels: Panels, row: number, rows: number, column: number, columns: number): void => {
    const stride = roundedUp(columns, TILE.columns)
    const paddedRows = roundedUp(rows, TILE.rows)
    memory.f32.fill(0, C / 4, C / 4 + paddedRows * stride)
    const left = rowsAt(memory, A, ROOM.a, a, 4, k, row, rows)
    for (let at = 0; at < k; at += BLOCK.k) {
      const depth = Math.min(BLOCK.k, k - at)
      panels(at, depth)
      const part = left(at, depth)
      const panelStep = (call.transposed ? roundedUp(depth, 4) : depth) * TILE.columns * 4
      kernels.multiply(part.at, part.stride, PANELS, panelStep, C, stride * 4, paddedRows, stride / TILE.columns, depth)
    }
    use({ row, rows, column, columns, stride })
  }
  const step = call.transposed ? columnsThatFit(k * bytesOf(call.b.dtype)) : BLOCK.columns
  for (let column = 0; column < n; column += step) {
    const columns = Math.min(step, n - column)
    const panels = (call.transposed ? panelsOfRows : panelsOfColumns)(room, call.b, column, columns)
    for (let row = 0; row < m; row += BLOCK.rows) compute(panels, row, Math.min(BLOCK.rows, m - row), column, columns)
  }
}

const product = (room: Room, call: Product): Float32Array<ArrayBuffer> => {
  const { m, n } = productSizes(call)
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
  const { m, n } = productSizes(call)
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

/** A driver with a memory of its own of some 10 MB. */
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
