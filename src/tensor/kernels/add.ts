/** `y = x + constant`, computed and rounded in the dtype of x, as torch 2.13 does for a tensor and a Python number. */
import { bytesOf, type DType } from "../DType.ts"
import { castKernel } from "./cast.ts"
import { bf16OfF32Bits, bitsOfF32, f16OfF32Bits, f32BitsOfF16, f32OfBits } from "./float.ts"
import type { Kernel } from "./Kernel.ts"
import type { Memory } from "./Memory.ts"

/** One element by index, as a number; `round` is what storing it does. */
interface Scalar {
  readonly load: (m: Memory, address: number, index: number) => number
  readonly store: (m: Memory, address: number, index: number, value: number) => void
  readonly round: (value: number) => number
}

const roundBf16 = (value: number): number => f32OfBits(bf16OfF32Bits(bitsOfF32(value)) << 16)
const roundF16 = (value: number): number => f32OfBits(f32BitsOfF16(f16OfF32Bits(bitsOfF32(value))))

export const SCALARS: Partial<Record<DType, Scalar>> = {
  BF16: {
    load: ({ u16 }, at, i) => f32OfBits(u16[(at >>> 1) + i]! << 16),
    store: ({ u16 }, at, i, value) => { u16[(at >>> 1) + i] = bf16OfF32Bits(bitsOfF32(value)) },
    round: roundBf16
  },
  F16: {
    load: ({ u16 }, at, i) => f32OfBits(f32BitsOfF16(u16[(at >>> 1) + i]!)),
    store: ({ u16 }, at, i, value) => { u16[(at >>> 1) + i] = f16OfF32Bits(bitsOfF32(value)) },
    round: roundF16
  },
  F32: {
    load: ({ f32 }, at, i) => f32[(at >>> 2) + i]!,
    store: ({ f32 }, at, i, value) => { f32[(at >>> 2) + i] = value },
    round: Math.fround
  },
  F64: {
    load: ({ f64 }, at, i) => f64[(at >>> 3) + i]!,
    store: ({ f64 }, at, i, value) => { f64[(at >>> 3) + i] = value },
    round: (value) => value
  }
}

/**
 * Add in `from`, then cast to `to`; undefined where either is no floating dtype. Counts the values that the way back (a cast
 * to `from`, then subtracting) does not give.
 */
export const addKernel = (constant: number, from: DType, to: DType): Kernel | undefined => {
  const scalar = SCALARS[from]
  if (scalar === undefined) return undefined
  const { load, round, store } = scalar
  // torch rounds a Python number to the tensor's dtype before anything else.
  const c = round(constant)
  const add = (m: Memory, source: number, out: number, count: number): void => {
    for (let i = 0; i < count; i++) store(m, out, i, load(m, source, i) + c)
  }
  const lost = (m: Memory, source: number, sums: number, count: number): number => {
    let n = 0
    for (let i = 0; i < count; i++) if (!Object.is(round(load(m, sums, i) - c), load(m, source, i))) n++
    return n
  }
  if (from === to) {
    return {
      temporary: 0,
      elementwise: true,
      apply: (m, { count, out, source }) => {
        add(m, source, out, count)
        return lost(m, source, out, count)
      }
    }
  }
  const there = castKernel(from, to)
  const back = castKernel(to, from)
  return there && back && {
    temporary: bytesOf(from),
    elementwise: true,
    apply: (m, call) => {
      const { count, out, source, temporary } = call
      add(m, source, temporary, count)
      there.apply(m, { ...call, source: temporary })
      back.apply(m, { ...call, source: out, out: temporary })
      return lost(m, source, temporary, count)
    }
  }
}
