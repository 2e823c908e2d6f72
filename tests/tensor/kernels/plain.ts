/** The vector loops of `src/tensor/kernels/simd`, element by element in plain TypeScript: what they are held against. */
import { bf16OfF32Bits } from "../../../src/tensor/kernels/float.ts"
import type { Simd } from "../../../src/tensor/kernels/simd/Simd.ts"

type Plain = { readonly [Name in keyof Simd]: (u8: Uint8Array, ...parameters: ReadonlyArray<number>) => number | void }

type Numbers = ReadonlyArray<number>

const copyElements = (width: number) => (u8: Uint8Array, ...parameters: Numbers): void => {
  const [rows, columns, source, sourceRow, sourceColumn, target, targetRow, targetColumn] = parameters as [number, number, number, number, number, number, number, number]
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const from = source + row * sourceRow + column * sourceColumn
      const to = target + row * targetRow + column * targetColumn
      for (let byte = 0; byte < width; byte++) u8[to + byte] = u8[from + byte]!
    }
  }
}

const transpose = (width: number) => (u8: Uint8Array, ...parameters: Numbers): void => {
  const [rows, columns, source, sourceStride, target, targetStride] = parameters as [number, number, number, number, number, number]
  copyElements(width)(u8, columns, rows, source, width, sourceStride, target, targetStride, width)
}

const words = (u8: Uint8Array, at: number, count: number): DataView => new DataView(u8.buffer, u8.byteOffset + at, count)

export const plain: Plain = {
  copyRuns: (u8, ...parameters) => {
    const [count, source, sourceStep, target, targetStep, length] = parameters as [number, number, number, number, number, number]
    copyElements(1)(u8, count, length, source, sourceStep, 1, target, targetStep, 1)
  },
  copyElements1: copyElements(1),
  copyElements2: copyElements(2),
  copyElements4: copyElements(4),
  copyElements8: copyElements(8),
  transpose1: transpose(1),
  transpose2: transpose(2),
  transpose4: transpose(4),
  transpose8: transpose(8),
  widen: (u8, ...parameters) => {
    const [source, target, count] = parameters as [number, number, number]
    const [from, to] = [words(u8, source, 2 * count), words(u8, target, 4 * count)]
    for (let i = 0; i < count; i++) to.setUint32(4 * i, from.getUint16(2 * i, true) << 16, true)
  },
  narrow: (u8, ...parameters) => {
    const [source, target, count] = parameters as [number, number, number]
    const [from, to] = [words(u8, source, 4 * count), words(u8, target, 2 * count)]
    let changed = 0
    for (let i = 0; i < count; i++) {
      const x = from.getUint32(4 * i, true)
      to.setUint16(2 * i, bf16OfF32Bits(x | 0), true)
      if ((x & 0xffff) !== 0) changed++
    }
    return changed
  },
  lookUp: (u8, ...parameters) => {
    const [source, tables, target, runs, run] = parameters as [number, number, number, number, number]
    const all = words(u8, 0, u8.byteLength)
    for (let i = 0; i < runs * run; i++) {
      const table = all.getUint32(tables + 4 * Math.floor(i / run), true)
      all.setUint16(target + 2 * i, all.getUint16(table + 2 * u8[source + i]!, true), true)
    }
  },
  unpack: (u8, ...parameters) => {
    const [source, target, count] = parameters as [number, number, number]
    for (let i = 0; i < 2 * count; i++) u8[target + i] = (u8[source + (i >> 1)]! >>> (4 * (i % 2))) & 15
  },
  xor: (u8, ...parameters) => {
    const [target, source, length] = parameters as [number, number, number]
    for (let i = 0; i < length; i++) u8[target + i]! ^= u8[source + i]!
  }
}
