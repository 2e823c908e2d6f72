/**
 * Codes times scales. A scale serves a run of codes, and comes back in the next row of its block: the products of all codes
 * with a scale are kept as a table, so that an element costs one look-up.
 */
import type { DType } from "../DType.ts"
import type { Codes, Dequantize } from "../Transform.ts"
import { castKernel } from "./cast.ts"
import { dtypeOfCodes, valuesOf } from "./codes.ts"
import { bf16OfF32Bits, bitsOfF32, f32BitsOfF16, f32OfBits } from "./float.ts"
import type { Kernel, KernelCall } from "./Kernel.ts"
import { type Memory, TABLES } from "./Memory.ts"

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

/** Room for the products of one scale: 256 of 2 bytes. */
const TABLE = 512

/**
 * Tables of the scales seen last. A row of blocks of the widest matrices has some 150 scales: with so many places, rarely three of
 * them have to share two.
 */
const PLACES_LOG2 = Math.log2(TABLES / TABLE)

/** BF16 bits of every code times a scale, in a memory's tables. Places come in pairs, the later table first. */
class Products {
  readonly #memory: Memory
  readonly #scales = new Float64Array(1 << PLACES_LOG2)
  readonly #codes: Array<Codes | undefined> = Array.from({ length: 1 << PLACES_LOG2 }, () => undefined)

  constructor(memory: Memory) {
    this.#memory = memory
  }

  /** The address of a table; 0 if it is not there. */
  find(codes: Codes, scale: number): number {
    const place = placeOf(scale)
    return this.#has(place, codes, scale) ? this.#at(place) : this.#has(place + 1, codes, scale) ? this.#at(place + 1) : 0
  }

  /** Make a table at the place of two others, of which the older one goes and the other moves. */
  make(codes: Codes, scale: number): number {
    const place = placeOf(scale)
    const { u16, u8 } = this.#memory
    const at = this.#at(place)
    u8.copyWithin(at + TABLE, at, at + TABLE)
    this.#scales[place + 1] = this.#scales[place]!
    this.#codes[place + 1] = this.#codes[place]
    const values = valuesOf(codes)
    for (let code = 0; code < values.length; code++) products[code] = values[code]! * scale
    for (let code = 0; code < values.length; code++) u16[(at >>> 1) + code] = bf16OfF32Bits(bits[code]!)
    this.#scales[place] = scale
    this.#codes[place] = codes
    return at
  }

  #at(place: number): number {
    return this.#memory.tables + place * TABLE
  }

  #has(place: number, codes: Codes, scale: number): boolean {
    return this.#codes[place] === codes && Object.is(this.#scales[place], scale)
  }
}

const placeOf = (scale: number): number => (Math.imul(bitsOfF32(scale), 0x9e3779b1) >>> (32 - PLACES_LOG2)) & ~1

const made = new WeakMap<Memory, Products>()

const productsIn = (memory: Memory): Products => {
  let found = made.get(memory)
  if (found === undefined) made.set(memory, found = new Products(memory))
  return found
}

/**
 * From codes (one per byte) and scales to a floating dtype; undefined where there is no such step. Counts nothing: codes
 * are not restored by arithmetic.
 */
export const dequantizeKernel = (transform: Dequantize, source: DType, target: DType, scales: DType): Kernel | undefined => {
  const read = SCALES[scales]
  const cast = target === "BF16" ? undefined : castKernel("BF16", target)
  if (read === undefined || source !== dtypeOfCodes(transform.codes) || (target !== "BF16" && cast === undefined)) return undefined
  const { codes } = transform
  const rounded = transform.scale === "BF16"
  const multiply = (m: Memory, { count, operands: [scales], run, source, temporary: tables }: KernelCall, out: number) => {
    const products = productsIn(m)
    let done = 0
    const upTo = (end: number) => {
      m.simd.lookUp(source + done * run, tables + 4 * done, out + 2 * done * run, end - done, run)
      done = end
    }
    const runs = count / run
    for (let r = 0; r < runs; r++) {
      const exact = read(m, scales!, r)
      const scale = rounded ? roundBf16(exact) : exact
      let table = products.find(codes, scale)
      if (table === 0) {
        // Making one takes the place of one that is still to be used.
        upTo(r)
        table = products.make(codes, scale)
      }
      m.u32[(tables >>> 2) + r] = table
    }
    upTo(runs)
  }
  return {
    // The address of a table per run, and BF16 on the way to another dtype.
    temporary: cast ? 6 : 4,
    elementwise: false,
    apply: (m, call) => {
      if (cast === undefined) multiply(m, call, call.out)
      else {
        const half = Math.ceil((call.temporary + 4 * call.count) / 8) * 8
        multiply(m, call, half)
        cast.apply(m, { ...call, source: half })
      }
      return 0
    }
  }
}
