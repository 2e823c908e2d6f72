/** F32 to E4M3 (without infinities), to nearest, ties to even; beyond the largest finite value: that one. */

export const LARGEST_E4M3 = 448

/** F32 bits of 2⁻⁶, the smallest normal E4M3. */
const NORMAL = 0x3c800000
/** Difference of the exponents' biases, where E4M3 has its exponent. */
const REBIAS = (127 - 7) << 3
const LARGEST_CODE = 0x7e
/** Below 2⁻⁶ E4M3 counts steps of 2⁻⁹. */
const STEPS = 512
/** An F32 from here on has no fraction. */
const INTEGERS = 2 ** 23

/** `codes[i] = E4M3(values[i] · scale)` from `start` to `end`; the product is rounded to F32, and takes the value's place. `bits` are those of the values, which are finite. */
export const scaledE4m3 = (values: Float32Array, bits: Uint32Array, scale: number, codes: Uint8Array, start: number, end: number): void => {
  for (let i = start; i < end; i++) {
    values[i]! *= scale
    const sign = (bits[i]! >>> 24) & 0x80
    const magnitude = bits[i]! & 0x7fffffff
    const code = magnitude < NORMAL
      ? Math.fround(Math.abs(values[i]!) * STEPS + INTEGERS) - INTEGERS
      : ((magnitude + 0x7ffff + ((magnitude >>> 20) & 1)) >>> 20) - REBIAS
    codes[i] = sign | (code > LARGEST_CODE ? LARGEST_CODE : code)
  }
}
