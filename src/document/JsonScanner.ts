/**
 * A cursor over the bytes of a JSON document (RFC 8259, stricter): tokens in, plain values out, every complaint with its
 * byte offset. {@link parseJson} builds documents on it; formats with a fixed grammar (the safetensors header) drive it directly.
 */
import { FormatError, type Place } from "../FormatError.ts"
import { decodeAscii, decodeUtf8, encodeUtf8Into, firstInvalidUtf8 } from "./utf8.ts"

/** BigInt(text) is slower than linear; no honest integer or float in a document is this long. */
const LONGEST_NUMBER = 1024

const QUOTE = 0x22
const BACKSLASH = 0x5c
const MINUS = 0x2d
const ZERO = 0x30

/** Single-character escapes: the byte after the backslash → the byte it stands for. */
const ESCAPES: ReadonlyMap<number, number> = new Map(
  [['"', '"'], ["\\", "\\"], ["/", "/"], ["b", "\b"], ["f", "\f"], ["n", "\n"], ["r", "\r"], ["t", "\t"]]
    .map(([letter, meaning]) => [letter!.charCodeAt(0), meaning!.charCodeAt(0)])
)

const isDigit = (byte: number): boolean => byte >= ZERO && byte <= 0x39

export interface ScannerOptions {
  /** Put before every error code, e.g. `json/` gives `json/syntax`. */
  readonly codes: string
  /** Where `bytes` start in their file; offsets in errors count from the start of the file. */
  readonly base?: number
}

export class JsonScanner {
  /** Index of the next unread byte, relative to the given bytes. */
  position = 0
  readonly #bytes: Uint8Array
  readonly #end: number
  readonly #codes: string
  readonly #base: number

  /** @throws FormatError `utf8` or `bom` (with the prefix of `codes`). */
  constructor(bytes: Uint8Array, { base = 0, codes }: ScannerOptions) {
    this.#bytes = bytes
    this.#end = bytes.byteLength
    this.#codes = codes
    this.#base = base
    const invalid = firstInvalidUtf8(bytes)
    if (invalid >= 0) this.fail("utf8", "not valid UTF-8", invalid)
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.fail("bom", "starts with a byte order mark", 0)
  }

  /** The characters from `start` to the position. */
  textFrom(start: number): string {
    return decodeAscii(this.#bytes, start, this.position)
  }

  /** Always throws. `at` is relative to the given bytes. */
  fail(code: string, problem: string, at: number = this.position, place: Place = {}): never {
    throw new FormatError(this.#codes + code, problem, { ...place, offset: this.#base + at })
  }

  /** Always throws: what was expected, and what stands there instead. */
  unexpected(expected: string, at: number = this.position): never {
    const byte = this.#bytes[at]
    this.fail("syntax", byte === undefined
      ? `ends where ${expected} was expected`
      : `expected ${expected}, found ${
        byte > 0x20 && byte < 0x7f ? `'${String.fromCharCode(byte)}'` : `byte 0x${byte.toString(16).padStart(2, "0")}`
      }`, at)
  }

  /** Skip white space and look at the next byte; -1 at the end. */
  peek(): number {
    const bytes = this.#bytes
    let i = this.position
    while (i < this.#end) {
      const byte = bytes[i]!
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) {
        this.position = i
        return byte
      }
      i++
    }
    this.position = i
    return -1
  }

  /** Skip white space; consume `byte` if it is next. */
  take(byte: number): boolean {
    if (this.peek() !== byte) return false
    this.position++
    return true
  }

  /** Skip white space; consume `byte` or fail. */
  expect(byte: number): void {
    if (!this.take(byte)) this.unexpected(`'${String.fromCharCode(byte)}'`)
  }

  /** Consume an ASCII word such as `true` if it is next. */
  takeWord(word: string): boolean {
    for (let i = 0; i < word.length; i++) if (this.#bytes[this.position + i] !== word.charCodeAt(i)) return false
    this.position += word.length
    return true
  }

  /** Only white space may follow. */
  finish(): void {
    if (this.peek() !== -1) this.fail("trailing", "more bytes follow the end of the document")
  }

  /** Skip white space; read a string. */
  string(): string {
    if (this.peek() !== QUOTE) this.unexpected("a string")
    const bytes = this.#bytes
    const start = this.position + 1
    let seen = 0
    let escaped = false
    let i = start
    for (;; i++) {
      if (i >= this.#end) this.fail("syntax", "the string never ends", start - 1)
      const byte = bytes[i]!
      if (byte === QUOTE) break
      if (byte < 0x20) this.fail("control-character", "control characters in strings must be escaped", i)
      if (byte === BACKSLASH) {
        escaped = true
        i++ // whatever it is, it does not end the string; `#unescape` checks it
      }
      seen |= byte
    }
    this.position = i + 1
    if (escaped) return this.#unescape(start, i)
    return (seen < 0x80 ? decodeAscii : decodeUtf8)(bytes, start, i)
  }

  /** Escapes never shrink below what they stand for in UTF-8, so one buffer of the raw length is enough. */
  #unescape(start: number, end: number): string {
    const bytes = this.#bytes
    const out = new Uint8Array(end - start)
    let length = 0
    for (let i = start; i < end;) {
      const byte = bytes[i]!
      if (byte !== BACKSLASH) {
        out[length++] = byte
        i++
        continue
      }
      const letter = bytes[i + 1]!
      const simple = ESCAPES.get(letter)
      if (simple !== undefined) {
        out[length++] = simple
        i += 2
        continue
      }
      if (letter !== 0x75) this.fail("syntax", "unknown escape in a string", i)
      let point = this.#unit(i, end)
      const at = i
      i += 6
      if (point >= 0xdc00 && point <= 0xdfff) this.fail("lone-surrogate", "half of a surrogate pair", at)
      if (point >= 0xd800 && point <= 0xdbff) {
        const low = bytes[i] === BACKSLASH && bytes[i + 1] === 0x75 && i + 6 <= end ? this.#unit(i, end) : 0
        if (low < 0xdc00 || low > 0xdfff) this.fail("lone-surrogate", "half of a surrogate pair", at)
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00)
        i += 6
      }
      length += encodeUtf8Into(String.fromCodePoint(point), out.subarray(length))
    }
    return decodeUtf8(out, 0, length)
  }

  /** The four hexadecimal digits of the `\uXXXX` at `at`. */
  #unit(at: number, end: number): number {
    let unit = 0
    for (let i = at + 2; i < at + 6; i++) {
      const byte = i < end ? this.#bytes[i]! : -1
      const lower = byte | 0x20
      const digit = isDigit(byte) ? byte - ZERO : lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
      if (digit < 0) this.fail("syntax", "\\u needs four hexadecimal digits", at)
      unit = unit * 16 + digit
    }
    return unit
  }

  /** Read a number: exact if it is written as an integer (`bigint` beyond 2^53), the nearest double otherwise. */
  number(): number | bigint {
    const bytes = this.#bytes
    const start = this.position
    const negative = bytes[start] === MINUS
    let i = negative ? start + 1 : start
    const digits = (): void => {
      const first = i
      while (i < this.#end && isDigit(bytes[i]!)) i++
      if (i === first) this.unexpected("a digit", i)
    }
    const whole = i
    digits()
    if (bytes[whole] === ZERO && i > whole + 1) this.fail("syntax", "numbers have no leading zeros", start)
    const integer = i
    if (bytes[i] === 0x2e) {
      i++
      digits()
    }
    if (i < this.#end && (bytes[i]! | 0x20) === 0x65) {
      i++
      if (bytes[i] === 0x2b || bytes[i] === MINUS) i++
      digits()
    }
    if (i - start > LONGEST_NUMBER) this.fail("number-range", `a number of ${i - start} characters`, start)
    this.position = i
    const text = decodeAscii(bytes, start, i)
    const value = Number(text)
    if (i === integer) return Number.isSafeInteger(value) ? value : BigInt(text)
    if (!Number.isFinite(value)) this.fail("number-range", "the number is too large for a double", start)
    return value
  }

  /**
   * Skip white space; read an integer written with digits only (no sign, point or exponent), at most 2^53 - 1.
   * `undefined`, with the position unchanged, if something else stands there.
   */
  unsigned(): number | undefined {
    this.peek()
    const bytes = this.#bytes
    const start = this.position
    let value = 0
    let i = start
    // Past 2^53 the value is only approximate, but stays past it.
    while (i < this.#end && isDigit(bytes[i]!)) value = value * 10 + (bytes[i++]! - ZERO)
    const next = i < this.#end ? bytes[i]! : -1
    const sound = i > start && (bytes[start] !== ZERO || i === start + 1) && value <= Number.MAX_SAFE_INTEGER &&
      next !== 0x2e && (next | 0x20) !== 0x65
    if (!sound) return undefined
    this.position = i
    return value
  }
}
