/**
 * Codes times scales. A scale serves a run of codes, and comes back in the next row of its block: the products of all codes
 * with a scale are kept as a table, so that an element costs one look-up.
 */
import type { DType } from "../DType.ts"
import type { Codes, Dequantize } from "../Transform.ts"
import { castKernel } from "./cast.ts"
import { dtypeOfCodes, valuesOf } from "./codes.ts"
import { bf16OfF32Bits, bitsOfF32, f32BitsOfF16, f32OfBits } from "./float.ts"
import type { Kernel } from "./Kernel.ts"
import type { Memory } from "./Memory.ts"

/** Reads element `i` of the scales at a byte address. */
type Scale = (m: Memory, at: number, i: number) => number

const SCALES: Partial<Record<DType, Scale>> = {
  F32: ({ f32 }, at, i) => f32[(at >>> 2) + i]!,
  BF16: ({ u16 }, at, i) => f32OfBits(u16[(at >>> 1) + i]! << 16),
  F16: ({ u16 }, at, i) => f32OfBits(f32BitsOfF16(u16[(at >>> 1) + i]!)),
  F8_E8M0: ({ u8 }, at, i) => (u8[at + i] === 0xff ? NaN : 2 ** (u8[at + i]! - 127)),
  U8: ({ u8 }, at, i) => 2 ** (u8[at + i]! - 127)
}

const roundBf16: (scale: number) => number = (scale) => f32OfBits(bf16OfF32Bits(bitsOfF32(scale)) << 16)

/** A row of blocks of the widest matrices has some 150 scales; with this many places few of them share one. */
const PLACES_LOG2 = 10

/** BF16 bits of every code times a scale, for the scales seen last. */
class Products {
  readonly #values: Float64Array
  readonly #scales = new Float64Array(1 << PLACES_LOG2).fill(NaN)
  readonly #tables: Array<Uint16Array | undefined> = Array.from({ length: 1 << PLACES_LOG2 }, () => undefined)

  constructor(codes: Codes) {
    this.#values = valuesOf(codes)
  }

  of(scale: number): Uint16Array {
    const place = Math.imul(bitsOfF32(scale), 0x9e3779b1) >>> (32 - PLACES_LOG2)
    const known = this.#tables[place]
    if (known !== undefined && Object.is(this.#scales[place], scale)) return known
    const values = this.#values
    const table = this.#tables[place] ??= new Uint16Array(values.length)
    for (let code = 0; code < values.length; code++) table[code] = bf16OfF32Bits(bitsOfF32(values[code]! * scale))
    this.#scales[place] = scale
    return table
  }
}

const made = new Map<Codes, Products>()

const productsOf = (codes: Codes): Products => {
  let products = made.get(codes)
  if (products === undefined) made.set(codes, products = new Products(codes))
  return products
}

/** `out[i] = table[source[i]]`, four at a time where both sides are aligned. */
const lookUp = ({ u16, u32, u8 }: Memory, table: Uint16Array, source: number, out: number, count: number): void => {
  const whole = ((source | out) & 3) === 0 ? count & ~3 : 0
  for (let i = 0, s = source >>> 2, o = out >>> 2; i < whole; i += 4, s++, o += 2) {
    const word = u32[s]!
    u32[o] = table[word & 255]! | (table[(word >>> 8) & 255]! << 16)
    u32[o + 1] = table[(word >>> 16) & 255]! | (table[word >>> 24]! << 16)
  }
  for (let i = whole, o = out >>> 1; i < count; i++) u16[o + i] = table[u8[source + i]!]!
}

/**
 * From codes (one per byte) and scales to a floating dtype; undefined where there is no such step. Counts nothing: codes
 * are not restored by arithmetic.
 */
export const dequantizeKernel = (transform: Dequantize, source: DType, target: DType, scales: DType): Kernel | undefined => {
  const read = SCALES[scales]
  const cast = target === "BF16" ? undefined : castKernel("BF16", target)
  if (read === undefined || source !== dtypeOfCodes(transform.codes) || (target !== "BF16" && cast === undefined)) return undefined
  const products = productsOf(transform.codes)
  const rounded = transform.scale === "BF16"
  const multiply = (m: Memory, source: number, scales: number, out: number, count: number, run: number) => {
    for (let i = 0, r = 0; i < count; i += run, r++) {
      const scale = read(m, scales, r)
      lookUp(m, products.of(rounded ? roundBf16(scale) : scale), source + i, out + 2 * i, run)
    }
  }
  return {
    // An aligned copy of the codes, and BF16 on the way to another dtype.
    temporary: cast ? 3 : 1,
    elementwise: false,
    apply: (m, call) => {
      const { count, operands: [at], out, run, source, temporary } = call
      let aligned = source
      if (source % 4 !== 0) m.u8.copyWithin(aligned = temporary, source, source + count)
      if (cast === undefined) multiply(m, aligned, at!, out, count, run)
      else {
        const half = Math.ceil((temporary + count) / 8) * 8
        multiply(m, aligned, at!, half, count, run)
        cast.apply(m, { ...call, source: half })
      }
      return 0
    }
  }
}
