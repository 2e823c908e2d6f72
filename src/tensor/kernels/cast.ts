/**
 * Casts between BF16, F16, F32 and F64, with torch's results (2.13): F64 reaches the 16-bit types by way of F32. Each
 * returns how many elements would not come back bit for bit; widening loses nothing.
 */
import type { DType } from "../DType.ts"
import { bf16OfF32Bits, bitsOfF32, f16OfF32Bits, f32BitsOfF16, f32OfBits } from "./float.ts"
import type { Kernel } from "./Kernel.ts"
import type { Memory } from "./Memory.ts"

// `| 0` keeps bit patterns in 32-bit integers: an unsigned one would be computed with as a double.

type Loop = (m: Memory, source: number, out: number, count: number) => number

/** F32 bits of every F16: 256 KB, made at first use. */
let halves: Uint32Array | undefined
const halfTable = (): Uint32Array => halves ??= Uint32Array.from({ length: 1 << 16 }, (_, h) => f32BitsOfF16(h))

/** Elements that the vector loops leave to the others: they do 8 at a time. */
const whole = (count: number): number => count & ~7

const bf16ToF32: Loop = ({ simd, u16, u32 }, source, out, count) => {
  simd.widen(source, out, whole(count))
  for (let i = whole(count), s = source >>> 1, o = out >>> 2; i < count; i++) u32[o + i] = u16[s + i]! << 16
  return 0
}

const f32ToBf16: Loop = (m, source, out, count) => {
  const vectors = whole(count)
  const changed = m.simd.narrow(source, out, vectors)
  if (changed < 0) return anyF32ToBf16(m, source, out, count)
  return changed + anyF32ToBf16(m, source + 4 * vectors, out + 2 * vectors, count - vectors)
}

const anyF32ToBf16: Loop = ({ u16, u32 }, source, out, count) => {
  let changed = 0
  for (let i = 0, s = source >>> 2, o = out >>> 1; i < count; i++) {
    const x = u32[s + i]! | 0
    u16[o + i] = bf16OfF32Bits(x)
    if ((x & 0xffff) !== 0) changed++
  }
  return changed
}

const f16ToF32: Loop = ({ u16, u32 }, source, out, count) => {
  const table = halfTable()
  for (let i = 0, s = source >>> 1, o = out >>> 2; i < count; i++) u32[o + i] = table[u16[s + i]!]!
  return 0
}

const f32ToF16: Loop = ({ u16, u32 }, source, out, count) => {
  const table = halfTable()
  let changed = 0
  for (let i = 0, s = source >>> 2, o = out >>> 1; i < count; i++) {
    const x = u32[s + i]! | 0
    const h = f16OfF32Bits(x)
    u16[o + i] = h
    if ((table[h]! | 0) !== x) changed++
  }
  return changed
}

const bf16ToF16: Loop = ({ u16 }, source, out, count) => {
  const table = halfTable()
  let changed = 0
  for (let i = 0, s = source >>> 1, o = out >>> 1; i < count; i++) {
    const x = u16[s + i]! << 16
    const h = f16OfF32Bits(x)
    u16[o + i] = h
    if ((table[h]! | 0) !== x) changed++
  }
  return changed
}

const f16ToBf16: Loop = ({ u16 }, source, out, count) => {
  const table = halfTable()
  let changed = 0
  for (let i = 0, s = source >>> 1, o = out >>> 1; i < count; i++) {
    const x = table[u16[s + i]!]! | 0
    u16[o + i] = bf16OfF32Bits(x)
    if ((x & 0xffff) !== 0) changed++
  }
  return changed
}

const f32ToF64: Loop = ({ f32, f64 }, source, out, count) => {
  for (let i = 0, s = source >>> 2, o = out >>> 3; i < count; i++) f64[o + i] = f32[s + i]!
  return 0
}

const bf16ToF64: Loop = ({ f64, u16 }, source, out, count) => {
  for (let i = 0, s = source >>> 1, o = out >>> 3; i < count; i++) f64[o + i] = f32OfBits(u16[s + i]! << 16)
  return 0
}

const f16ToF64: Loop = ({ f64, u16 }, source, out, count) => {
  const table = halfTable()
  for (let i = 0, s = source >>> 1, o = out >>> 3; i < count; i++) f64[o + i] = f32OfBits(table[u16[s + i]!]!)
  return 0
}

const f64ToF32: Loop = ({ f32, f64 }, source, out, count) => {
  let changed = 0
  for (let i = 0, s = source >>> 3, o = out >>> 2; i < count; i++) {
    const x = f64[s + i]!
    f32[o + i] = x
    if (Math.fround(x) !== x && x === x) changed++
  }
  return changed
}

const f64ToBf16: Loop = ({ f64, u16 }, source, out, count) => {
  let changed = 0
  for (let i = 0, s = source >>> 3, o = out >>> 1; i < count; i++) {
    const x = f64[s + i]!
    const b = bf16OfF32Bits(bitsOfF32(x))
    u16[o + i] = b
    if (x === x && f32OfBits(b << 16) !== x) changed++
  }
  return changed
}

const f64ToF16: Loop = ({ f64, u16 }, source, out, count) => {
  const table = halfTable()
  let changed = 0
  for (let i = 0, s = source >>> 3, o = out >>> 1; i < count; i++) {
    const x = f64[s + i]!
    const h = f16OfF32Bits(bitsOfF32(x))
    u16[o + i] = h
    if (x === x && f32OfBits(table[h]!) !== x) changed++
  }
  return changed
}

const LOOPS: ReadonlyMap<string, Loop> = new Map([
  ["BF16>F32", bf16ToF32], ["BF16>F16", bf16ToF16], ["BF16>F64", bf16ToF64],
  ["F16>F32", f16ToF32], ["F16>BF16", f16ToBf16], ["F16>F64", f16ToF64],
  ["F32>BF16", f32ToBf16], ["F32>F16", f32ToF16], ["F32>F64", f32ToF64],
  ["F64>BF16", f64ToBf16], ["F64>F16", f64ToF16], ["F64>F32", f64ToF32]
])

/** The kernel of a cast, or undefined where there is none (integers, booleans, 8-bit floats, equal dtypes). */
export const castKernel = (from: DType, to: DType): Kernel | undefined => {
  const loop = LOOPS.get(`${from}>${to}`)
  return loop && { temporary: 0, elementwise: true, apply: (m, c) => loop(m, c.source, c.out, c.count) }
}
