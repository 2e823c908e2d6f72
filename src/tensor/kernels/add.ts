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

const SCALARS: Partial<Record<DType, Scalar>> = {
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

/** Add in `from`, then cast to `to`; undefined where either is no floating dtype. Counts the values that subtracting does not give back. */
export const addKernel = (constant: number, from: DType, to: DType): Kernel | undefined => {
  const scalar = SCALARS[from]
  if (scalar === undefined) return undefined
  // A Python number meets a 16-bit or 32-bit tensor as a float32.
  const c = from === "F64" ? constant : Math.fround(constant)
  const { load, round, store } = scalar
  const add = (m: Memory, source: number, out: number, count: number): number => {
    let changed = 0
    for (let i = 0; i < count; i++) {
      const x = load(m, source, i)
      const y = round(from === "F64" ? x + c : Math.fround(x + c))
      store(m, out, i, y)
      if (!Object.is(round(from === "F64" ? y - c : Math.fround(y - c)), x)) changed++
    }
    return changed
  }
  if (from === to) return { temporary: 0, elementwise: true, apply: (m, call) => add(m, call.source, call.out, call.count) }
  const cast = castKernel(from, to)
  return cast && {
    temporary: bytesOf(from),
    elementwise: true,
    apply: (m, call) => {
      const changed = add(m, call.source, call.temporary, call.count)
      return Math.max(changed, cast.apply(m, { ...call, source: call.temporary }))
    }
  }
}
