/**
 * Which bit was flipped? Flipping one bit changes the CRC-32 by a value that depends only on how far the bit is from the end,
 * and within 512 MB no two bits change it alike. So the difference of two checksums names the bit, if it was a single one.
 */

const POLYNOMIAL = 0xedb88320

/** The CRC register after one more zero byte, per value of its low byte. */
const ZERO_BYTE: Uint32Array = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1
  return value
})

/** Longer data is searched for seconds. */
const LONGEST = 64 << 20

export interface FlippedBit {
  /** From the start of the data. */
  readonly byte: number
  /** 0 is the lowest. */
  readonly bit: number
}

/** The one bit whose flipping turns data of `length` bytes (at most 64 MiB) with CRC-32 `expected` into data with `actual`. */
export const flippedBit = (expected: number, actual: number, length: number): FlippedBit | undefined => {
  if (length > LONGEST) return undefined
  const difference = (expected ^ actual) >>> 0
  const effects = Uint32Array.from({ length: 8 }, (_, bit) => ZERO_BYTE[1 << bit]!)
  for (let byte = length - 1; byte >= 0; byte--) {
    for (let bit = 0; bit < 8; bit++) {
      const effect = effects[bit]!
      if (effect === difference) return { byte, bit }
      effects[bit] = ZERO_BYTE[effect & 0xff]! ^ (effect >>> 8)
    }
  }
  return undefined
}
