/** `into[i] ^= other[i]`, word by word where both are aligned. */
export const xor = (into: Uint8Array, other: Uint8Array): void => {
  const n = other.byteLength
  if (into.byteLength !== n) throw new RangeError(`${into.byteLength} and ${n} bytes`)
  let done = 0
  if (into.byteOffset % 4 === 0 && other.byteOffset % 4 === 0) {
    const words = n >>> 2
    const a = new Int32Array(into.buffer, into.byteOffset, words)
    const b = new Int32Array(other.buffer, other.byteOffset, words)
    for (let i = 0; i < words; i++) a[i]! ^= b[i]!
    done = words * 4
  }
  for (let i = done; i < n; i++) into[i]! ^= other[i]!
}

/** `into[i] = a[i] ^ b[i]`; all begin at a multiple of four bytes of their buffers. */
export const xorOf = (into: Uint8Array, a: Uint8Array, b: Uint8Array): void => {
  into.set(a)
  xor(into, b)
}

/** Two runs of bytes, of the same length: are they equal? */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength))
