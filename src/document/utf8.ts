/** UTF-8, checked and decoded, wherever there is a TextDecoder. */

/** Keeps a byte order mark in the middle of a document what it is: a character. */
const decoder = new TextDecoder("utf-8", { ignoreBOM: true })
const encoder = new TextEncoder()

/** Below it, a call of the decoder costs more than the characters. */
const SHORT = 96

export const encodeUtf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text)

/** Writes what fits; returns how many bytes that took. */
export const encodeUtf8Into = (text: string, into: Uint8Array): number => encoder.encodeInto(text, into).written

export const decodeUtf8 = (bytes: Uint8Array, start = 0, end = bytes.byteLength): string => decoder.decode(bytes.subarray(start, end))

/** Of bytes that are known to be ASCII. */
export const decodeAscii = (bytes: Uint8Array, start: number, end: number): string =>
  end - start > SHORT ? decodeUtf8(bytes, start, end) : String.fromCharCode.apply(undefined, bytes.subarray(start, end) as unknown as Array<number>)

/** What the first of two or more bytes says: how many there are, and the range of the second (overlong forms, surrogates, the end of Unicode). */
const sequence = (first: number): readonly [length: number, low: number, high: number] | undefined => {
  if (first >= 0xc2 && first <= 0xdf) return [2, 0x80, 0xbf]
  if (first === 0xe0) return [3, 0xa0, 0xbf]
  if (first === 0xed) return [3, 0x80, 0x9f]
  if (first >= 0xe1 && first <= 0xef) return [3, 0x80, 0xbf]
  if (first === 0xf0) return [4, 0x90, 0xbf]
  if (first >= 0xf1 && first <= 0xf3) return [4, 0x80, 0xbf]
  return first === 0xf4 ? [4, 0x80, 0x8f] : undefined
}

/** Where the first sequence that is not UTF-8 begins; -1 if there is none. */
export const firstInvalidUtf8 = (bytes: Uint8Array): number => {
  const end = bytes.byteLength
  for (let i = 0; i < end;) {
    const first = bytes[i]!
    if (first < 0x80) {
      i++
      continue
    }
    const found = sequence(first)
    if (!found) return i
    const [length, low, high] = found
    const second = bytes[i + 1] ?? 0
    if (second < low || second > high) return i
    for (let k = 2; k < length; k++) if (((bytes[i + k] ?? 0) & 0xc0) !== 0x80) return i
    i += length
  }
  return -1
}
