/** The values of quantised codes, by code. Verified against torch 2.13 (`float8_e4m3fn`, `float8_e5m2`, `float8_e8m0fnu`). */
import { bitsOf, type DType } from "../DType.ts"
import type { Codes } from "../Transform.ts"

/** Sign, `8 − 1 − mantissa` bits of exponent, `mantissa` bits of fraction; the all-ones exponent included. */
const float8 = (code: number, mantissa: number, bias: number): number => {
  const exponent = (code & 0x7f) >>> mantissa
  const fraction = (code & ((1 << mantissa) - 1)) / (1 << mantissa)
  const magnitude = exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias)
  return code & 0x80 ? -magnitude : magnitude
}

const e4m3 = (code: number): number => ((code & 0x7f) === 0x7f ? NaN : float8(code, 3, 7))

const e5m2 = (code: number): number => {
  const magnitude = code & 0x7f
  return magnitude > 0x7c ? NaN : magnitude === 0x7c ? (code & 0x80 ? -Infinity : Infinity) : float8(code, 2, 15)
}

const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6]

const table = (bits: number, value: (code: number) => number): Float64Array => Float64Array.from({ length: 1 << bits }, (_, code) => value(code))

const VALUES: Readonly<Record<Codes, Float64Array>> = {
  e4m3: table(8, e4m3),
  e5m2: table(8, e5m2),
  e2m1: table(4, (code) => E2M1[code]!),
  int4: table(4, (code) => code - 8)
}

export const valuesOf = (codes: Codes): Float64Array => VALUES[codes]

const DTYPES: Readonly<Record<Codes, DType>> = { e4m3: "F8_E4M3", e5m2: "F8_E5M2", e2m1: "F4", int4: "F4" }

/** The dtype under which codes are read: 4-bit ones as `F4`, whatever they mean. */
export const dtypeOfCodes = (codes: Codes): DType => DTYPES[codes]

/** Codes smaller than a byte reach kernels with a byte each (see `unpack.ts`). */
export const isPacked = (dtype: DType): boolean => bitsOf(dtype) < 8
