/** How two blocks of equal dtype differ. */
import { bytesOf, type DType } from "../../tensor/DType.ts"
import { f32BitsOfF16, f32OfBits } from "../../tensor/kernels/float.ts"
import type { Memory } from "../../tensor/kernels/Memory.ts"

export interface Difference {
  /** Elements whose bits differ. */
  readonly differing: number
  /** Largest |a − b|, floating dtypes only; infinite where only one side is a number. */
  readonly maxAbsDiff?: number
  /** Index of the first differing element. */
  readonly first?: number
}

/** Compared this many bytes at a time before looking at elements: nearly always all of them are equal. */
const STRETCH = 64 * 1024

/** Compare `count` elements at two byte addresses, both multiples of the element's size. */
export const differenceOf = (m: Memory, dtype: DType, a: number, b: number, count: number): Difference => {
  const width = bytesOf(dtype)
  const value = VALUES[dtype]
  const bytes = Buffer.from(m.u8.buffer, m.u8.byteOffset, m.u8.byteLength)
  let differing = 0
  let largest = 0
  let first: number | undefined
  for (let at = 0; at < count * width; at += STRETCH) {
    const end = Math.min(count * width, at + STRETCH)
    if (bytes.compare(bytes, b + at, b + end, a + at, a + end) === 0) continue
    for (let i = at / width; i < end / width; i++) {
      if (bytes.compare(bytes, b + i * width, b + (i + 1) * width, a + i * width, a + (i + 1) * width) === 0) continue
      differing++
      first ??= i
      if (value === undefined) continue
      const [x, y] = [value(m, a + i * width), value(m, b + i * width)]
      if (Number.isNaN(x) !== Number.isNaN(y)) largest = Infinity
      else if (Math.abs(x - y) > largest) largest = Math.abs(x - y)
    }
  }
  return {
    differing,
    ...(value && differing > 0 ? { maxAbsDiff: largest } : {}),
    ...(first === undefined ? {} : { first })
  }
}

type Value = (m: Memory, at: number) => number

const VALUES: Partial<Record<DType, Value>> = {
  BF16: ({ u16 }, at) => f32OfBits(u16[at >>> 1]! << 16),
  F16: ({ u16 }, at) => f32OfBits(f32BitsOfF16(u16[at >>> 1]!)),
  F32: ({ f32 }, at) => f32[at >>> 2]!,
  F64: ({ f64 }, at) => f64[at >>> 3]!
}

/** The element at a byte address for people: a number, or the bytes in hexadecimal. */
export const printElement = (m: Memory, dtype: DType, at: number): string =>
  VALUES[dtype] ? String(VALUES[dtype](m, at)) : `0x${Buffer.from(m.u8.slice(at, at + bytesOf(dtype)).reverse()).toString("hex")}`
