/** The bytes of a pickle, read opcode by opcode: numbers, strings and lengths, of which none reaches past the end. */
import { FormatError } from "../errors.ts"

/** The largest number of bytes a module or class name may take. */
export const MAX_NAME = 1024

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export class PickleInput {
  readonly bytes: Buffer
  at = 0
  /** Where the opcode began: the place that errors name. */
  opAt = 0

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  fail(code: string, problem: string): never {
    throw new FormatError(`pickle/${code}`, problem, { offset: this.opAt })
  }

  /** Moves past `count` bytes and returns where they start. */
  take(count: number): number {
    const start = this.at
    this.length(count)
    this.at = start + count
    return start
  }

  /** Checks a length from the file against the bytes left. */
  length(count: number) {
    if (count > this.bytes.length - this.at) {
      this.fail("truncated", `${Number.isFinite(count) ? count : "more than 2^53"} bytes should follow, ${this.bytes.length - this.at} are left: the file is cut short or damaged`)
    }
  }

  u64(): number {
    const value = this.bytes.readBigUInt64LE(this.take(8))
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Number.POSITIVE_INFINITY
  }

  /** Two's complement, little-endian, `count` (up to 255) bytes. */
  long(count: number): number | bigint {
    const start = this.take(count)
    if (count <= 6) return count === 0 ? 0 : this.bytes.readIntLE(start, count)
    let value = 0n
    for (let i = count - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[start + i]!)
    value = BigInt.asIntN(count * 8, value)
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }

  decode(start: number, end: number): string {
    const { bytes } = this
    let ascii = true
    for (let i = start; ascii && i < end; i++) ascii = bytes[i]! < 0x80
    if (ascii) return bytes.toString("latin1", start, end)
    try {
      return utf8.decode(bytes.subarray(start, end))
    } catch {
      return this.fail("text", "a string that is not UTF-8")
    }
  }

  line(): string {
    const end = this.bytes.subarray(0, this.at + MAX_NAME).indexOf(0x0a, this.at)
    if (end < 0) this.fail("truncated", "a name that does not end")
    const text = this.decode(this.at, end)
    this.at = end + 1
    return text
  }
}
