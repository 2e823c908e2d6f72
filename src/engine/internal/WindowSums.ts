/** Checksums of what is written, taken once per byte and joined to those of arrays, windows, blocks and files. */
import { crc32, crc32Combine } from "../../torch/Crc32.ts"

/** CRC-32 of the `length` bytes from `position` of a file on. */
export interface RangeSum {
  readonly position: number
  readonly length: number
  readonly crc32: number
}

/** Files are summed in blocks of this size, whatever the windows they are written in. */
export const SUM_BLOCK = 1 << 20

/** Of bytes that lie at `position` of a file, cut where its blocks end. */
export const sumsOf = (bytes: Uint8Array, position: number): ReadonlyArray<RangeSum> => {
  const sums: Array<RangeSum> = []
  for (let at = 0; at < bytes.byteLength;) {
    const length = Math.min(bytes.byteLength - at, SUM_BLOCK - (position + at) % SUM_BLOCK)
    sums.push({ position: position + at, length, crc32: crc32(bytes.subarray(at, at + length)) })
    at += length
  }
  return sums
}

/** CRC-32 of ranges that follow one another. */
export const joined = (sums: ReadonlyArray<RangeSum>): number =>
  sums.length === 1 ? sums[0]!.crc32 : sums.reduce((crc, next) => crc32Combine(crc, next.crc32, next.length), 0)
