/**
 * Statistics of the elements of a tensor, gathered block by block in any cutting. 8- and 16-bit types are counted by bit pattern
 * (exact, and as fast as memory); wider ones are summed in doubles, blocks being joined by Chan's formula.
 */
import { bitsOf, type DType } from "../tensor/DType.ts"
import { f32BitsOfF16, f32OfBits } from "../tensor/kernels/float.ts"

/** Numbers about the values of one tensor. */
export interface Statistics {
  readonly elements: number
  /** Of the finite values; undefined if there is none. */
  readonly min?: number
  readonly max?: number
  readonly mean?: number
  readonly std?: number
  readonly zeros: number
  readonly nans: number
  readonly infinities: number
  /** Non-zero values below 2^-24 and values above 2^10: weights have next to none of either. */
  readonly tiny: number
  readonly huge: number
}

const TINY = 2 ** -24
const HUGE = 2 ** 10

/** Decode a float of `exponent` and `mantissa` bits; `finite`: the format has no infinities, only the last code is NaN. */
const smallFloat = (exponent: number, mantissa: number, finite: boolean) => (code: number): number => {
  const sign = code >> (exponent + mantissa) ? -1 : 1
  const e = (code >> mantissa) & ((1 << exponent) - 1)
  const m = code & ((1 << mantissa) - 1)
  const bias = (1 << (exponent - 1)) - 1
  const last = (1 << exponent) - 1
  if (e === last && (finite ? m === (1 << mantissa) - 1 : true)) return finite || m !== 0 ? Number.NaN : sign * Infinity
  return sign * (e === 0 ? m * 2 ** (1 - bias - mantissa) : (1 + m / (1 << mantissa)) * 2 ** (e - bias))
}

/** Value of each bit pattern of a type of at most 16 bits. */
const DECODE: Partial<Record<DType, (code: number) => number>> = {
  BOOL: (code) => code,
  U8: (code) => code,
  I8: (code) => (code << 24) >> 24,
  F8_E4M3: smallFloat(4, 3, true),
  F8_E5M2: smallFloat(5, 2, false),
  F8_E8M0: (code) => (code === 255 ? Number.NaN : 2 ** (code - 127)),
  U16: (code) => code,
  I16: (code) => (code << 16) >> 16,
  F16: (code) => f32OfBits(f32BitsOfF16(code)),
  BF16: (code) => f32OfBits(code << 16)
}

type Wide = Float32Array | Float64Array | Int32Array | Uint32Array | BigInt64Array | BigUint64Array

const WIDE: Partial<Record<DType, new(buffer: ArrayBuffer) => Wide>> = {
  F32: Float32Array,
  F64: Float64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I64: BigInt64Array,
  U64: BigUint64Array
}

/** The types whose elements are numbers that can be looked at. */
export const hasStatistics = (dtype: DType): boolean => dtype in DECODE || dtype in WIDE

const tables = new Map<DType, Float64Array>()

const tableOf = (dtype: DType): Float64Array | undefined => {
  const decode = DECODE[dtype]
  if (!decode) return undefined
  let table = tables.get(dtype)
  if (!table) tables.set(dtype, table = Float64Array.from({ length: 1 << bitsOf(dtype) }, (_, code) => decode(code)))
  return table
}

/** Below this, a table of counts costs more than it saves. */
const WORTH_COUNTING = 128 << 10

const codesOf = (bytes: Uint8Array, codes: number): Uint8Array | Uint16Array => {
  if (codes === 256) return bytes
  if (bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 1)
  return new Uint16Array(bytes.slice().buffer)
}

const wideValues = (dtype: DType, bytes: Uint8Array): Wide => {
  const view = WIDE[dtype]
  if (!view) throw new RangeError(`no statistics of ${dtype}`)
  return new view(bytes.slice().buffer as ArrayBuffer)
}

/** Gathers one tensor. */
export class Gatherer {
  readonly #dtype: DType
  readonly #table: Float64Array | undefined
  #counts: Uint32Array | undefined
  /** Bytes counted since the counts were last turned into sums. */
  #pending = 0
  #elements = 0
  #finite = 0
  #mean = 0
  #squares = 0
  #min = Infinity
  #max = -Infinity
  #zeros = 0
  #nans = 0
  #infinities = 0
  #tiny = 0
  #huge = 0

  constructor(dtype: DType) {
    this.#dtype = dtype
    this.#table = tableOf(dtype)
  }

  /** Whole elements, little-endian. */
  add(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    const table = this.#table
    if (!table) this.#sum(wideValues(this.#dtype, bytes))
    else if (this.#counts || bytes.byteLength >= WORTH_COUNTING) this.#count(bytes, table.length)
    else this.#sum(codesOf(bytes, table.length))
  }

  #count(bytes: Uint8Array, codes: number): void {
    const counts = this.#counts ??= new Uint32Array(codes)
    const all = codesOf(bytes, codes)
    for (let i = 0; i < all.length; i++) counts[all[i]!]!++
    // A bin holds at most 2^32 - 1; empty them long before.
    this.#pending += bytes.byteLength
    if (this.#pending >= 2 ** 31) this.#settle()
  }

  /** Turn the counts into sums. */
  #settle(): void {
    const counts = this.#counts
    if (!counts) return
    const table = this.#table!
    let [finite, sum] = [0, 0]
    for (let code = 0; code < counts.length; code++) {
      const n = counts[code]!
      if (n === 0) continue
      const v = table[code]!
      this.#elements += n
      if (Number.isNaN(v)) this.#nans += n
      else if (!Number.isFinite(v)) this.#infinities += n
      else {
        finite += n
        sum += n * v
        this.#see(v, n)
      }
    }
    const mean = finite > 0 ? sum / finite : 0
    let squares = 0
    for (let code = 0; code < counts.length; code++) {
      if (counts[code] !== 0 && Number.isFinite(table[code]!)) squares += counts[code]! * (table[code]! - mean) ** 2
    }
    this.#join(finite, mean, squares)
    counts.fill(0)
    this.#pending = 0
  }

  #sum(raw: Wide | Uint8Array | Uint16Array): void {
    const table = this.#table
    const values = table ? Float64Array.from(raw as Uint8Array, (code) => table[code]!) : raw
    this.#elements += values.length
    let [finite, sum] = [0, 0]
    for (let i = 0; i < values.length; i++) {
      const v = Number(values[i]!)
      if (v !== v) this.#nans++
      else if (v === Infinity || v === -Infinity) this.#infinities++
      else {
        finite++
        sum += v
        this.#see(v, 1)
      }
    }
    const mean = finite > 0 ? sum / finite : 0
    let squares = 0
    for (let i = 0; i < values.length; i++) {
      const v = Number(values[i]!)
      if (Number.isFinite(v)) squares += (v - mean) ** 2
    }
    this.#join(finite, mean, squares)
  }

  #see(v: number, n: number): void {
    if (v < this.#min) this.#min = v
    if (v > this.#max) this.#max = v
    if (v === 0) this.#zeros += n
    else {
      const size = v < 0 ? -v : v
      if (size < TINY) this.#tiny += n
      else if (size > HUGE) this.#huge += n
    }
  }

  /** Chan, Golub, LeVeque: join the moments of two sets. */
  #join(n: number, mean: number, squares: number): void {
    if (n === 0) return
    const total = this.#finite + n
    const delta = mean - this.#mean
    this.#squares += squares + delta * delta * this.#finite * (n / total)
    this.#mean += delta * (n / total)
    this.#finite = total
  }

  result(): Statistics {
    this.#settle()
    return {
      elements: this.#elements,
      ...(this.#finite > 0
        ? { min: this.#min, max: this.#max, mean: this.#mean, std: Math.sqrt(this.#squares / this.#finite) }
        : {}),
      zeros: this.#zeros,
      nans: this.#nans,
      infinities: this.#infinities,
      tiny: this.#tiny,
      huge: this.#huge
    }
  }
}

/** Not the values of a weight: NaNs, or magnitudes spread over dozens of powers of two, as bytes of another type give. */
export const looksWrong = (dtype: DType, s: Statistics): string | undefined => {
  if (bitsOf(dtype) < 16 || !/^(BF16|F16|F32|F64)$/.test(dtype) || s.elements === 0) return undefined
  if (s.nans + s.infinities > 0) return `${s.nans} NaN and ${s.infinities} infinite values`
  if (s.tiny > s.elements / 100 && s.huge > s.elements / 1000) {
    return `magnitudes from below 2^-24 to above 2^10: bytes of another type (packed FP8?) read as ${dtype}`
  }
  return undefined
}
