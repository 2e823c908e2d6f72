/** CRC-32 as ZIP uses it, and the CRC of two pieces from the CRCs of each. */
import { crc32 } from "node:zlib"

export { crc32 }

/** The CRC-32 polynomial, reflected: bit 31 is x^0. */
const POLYNOMIAL = 0xedb88320

/** a·b modulo the polynomial. */
const multiply = (a: number, b: number): number => {
  let product = 0
  for (let bit = 0x80000000; bit !== 0; bit >>>= 1) {
    if (a & bit) product ^= b
    b = b & 1 ? (b >>> 1) ^ POLYNOMIAL : b >>> 1
  }
  return product >>> 0
}

/** x^(8·2^k) for k = 0, 1, …, 52: appending 2^k zero bytes multiplies a CRC by this. */
const APPEND: ReadonlyArray<number> = (() => {
  const powers = [0x00800000]
  while (powers.length < 53) powers.push(multiply(powers.at(-1)!, powers.at(-1)!))
  return powers
})()

/**
 * The CRC-32 of A‖B from `crc32(A)`, `crc32(B)` and the length of B in bytes, so that data written out of order or by
 * several writers can be checksummed.
 *
 * ```ts
 * crc32Combine(crc32("ab"), crc32("cde"), 3) // => crc32("abcde")
 * ```
 */
export const crc32Combine = (crcA: number, crcB: number, lengthB: number): number => {
  let shifted = crcA >>> 0
  for (let k = 0, rest = lengthB; rest > 0; k++, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) shifted = multiply(APPEND[k]!, shifted)
  }
  return (shifted ^ crcB) >>> 0
}
