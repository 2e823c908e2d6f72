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

const EXPONENTS = Float64Array.from({ length: 256 }, (_, e) => 2 ** (e - 127))
/** The same, but for the last one. */
const E8M0 = EXPONENTS.with(255, NaN)

const SCALES: Partial<Record<DType, Scale>> = {
  F32: ({ f32 }, at, i) => f32[(at >>> 2) + i]!,
  BF16: ({ u16 }, at, i) => f32OfBits(u16[(at >>> 1) + i]! << 16),
  F16: ({ u16 }, at, i) => f32OfBits(f32BitsOfF16(u16[(at >>> 1) + i]!)),
  F8_E8M0: ({ u8 }, at, i) => E8M0[u8[at + i]!]!,
  U8: ({ u8 }, at, i) => EXPONENTS[u8[at + i]!]!
}

const roundBf16: (scale: number) => number = (scale) => f32OfBits(bf16OfF32Bits(bitsOfF32(scale)) << 16)

const products = new Float32Array(256)
const bits = new Uint32Array(products.buffer)

const fill = (table: Uint16Array, values: Float64Array, scale: number): void => {
  for (let code = 0; code < values.length; code++) products[code] = values[code]! * scale
  for (let code = 0; code < table.length; code++) table[code] = bf16OfF32Bits(bits[code]!)
}

/** A row of blocks of the widest matrices has some 150 scales: with so many places, rarely three of them have to share two. */
const PLACES_LOG2 = 11

/** BF16 bits of every code times a scale, for the scales seen last. Places come in pairs, the later table first. */
class Products {
  readonly #values: Float64Array
  readonly #scales = new Float64Array(1 << PLACES_LOG2)
  readonly #tables: Array<Uint16Array | undefined> = Array.from({ length: 1 << PLACES_LOG2 }, () => undefined)

  constructor(codes: Codes) {
    this.#values = valuesOf(codes)
  }

  of(scale: number): Uint16Array {
    const place = (Math.imul(bitsOfF32(scale), 0x9e3779b1) >>> (32 - PLACES_LOG2)) & ~1
    return this.#at(place, scale) ?? this.#at(place + 1, scale) ?? this.#make(place, scale)
  }

  #at(place: number, scale: number): Uint16Array | undefined {
    return Object.is(this.#scales[place], scale) ? this.#tables[place] : undefined
  }

  /** The older of the two tables gives way. */
  #make(place: number, scale: number): Uint16Array {
    const other = place + 1
    const table = this.#tables[other] ?? new Uint16Array(this.#values.length)
    this.#tables[other] = this.#tables[place]
    this.#scales[other] = this.#scales[place]!
    fill(table, this.#values, scale)
    this.#tables[place] = table
    this.#scales[place] = scale
    return table
  }
}

const made = new Map<Codes, Products>()

const productsOf = (codes: Codes): Products => {
  let found = made.get(codes)
  if (found === undefined) made.set(codes, found = new Products(codes))
  return found
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
  const known = productsOf(transform.codes)
  const rounded = transform.scale === "BF16"
  const multiply = (m: Memory, source: number, scales: number, out: number, count: number, run: number) => {
    for (let i = 0, r = 0; i < count; i += run, r++) {
      const scale = read(m, scales, r)
      lookUp(m, known.of(rounded ? roundBf16(scale) : scale), source + i, out + 2 * i, run)
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
