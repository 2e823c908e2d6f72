/**
 * Single floating-point values as bit patterns. Rounding is to nearest, ties to even; overflow gives infinity, as torch 2.13
 * does. A NaN keeps its sign and the payload bits that fit, so that widening and narrowing back gives the same bits.
 */

const word = new Uint32Array(1)
const single = new Float32Array(word.buffer)

export const f32OfBits = (bits: number): number => {
  word[0] = bits
  return single[0]!
}

export const bitsOfF32 = (value: number): number => {
  single[0] = value
  return word[0]!
}

/** BF16 bits of F32 bits, which may be given signed. */
export const bf16OfF32Bits = (x: number): number => {
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | ((x & 0x7f0000) === 0 ? 0x40 : 0)
  return (((x + 0x7fff) | 0) + ((x >>> 16) & 1)) >>> 16
}

/** F16 bits of F32 bits, which may be given signed. */
export const f16OfF32Bits = (x: number): number => {
  const sign = (x >>> 16) & 0x8000
  const magnitude = x & 0x7fffffff
  // 65520 and above round to 65536, which is infinity.
  if (magnitude >= 0x477ff000) {
    if (magnitude <= 0x7f800000) return sign | 0x7c00
    const payload = (magnitude >>> 13) & 0x3ff
    return sign | 0x7c00 | (payload === 0 ? 0x200 : payload)
  }
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13)
  }
  // Below 2^-14 the unit is 2^-24; below 2^-25 everything is zero.
  if (magnitude < 0x33000000) return sign
  const shift = 126 - (magnitude >>> 23)
  const significand = (magnitude & 0x7fffff) | 0x800000
  const half = (1 << (shift - 1)) - 1
  return sign | ((significand + half + ((significand >>> shift) & 1)) >>> shift)
}

/** F32 bits of F16 bits; exact. */
export const f32BitsOfF16 = (h: number): number => {
  const sign = (h & 0x8000) << 16
  const magnitude = h & 0x7fff
  if (magnitude >= 0x7c00) return (sign | 0x7f800000 | ((magnitude & 0x3ff) << 13)) >>> 0
  if (magnitude >= 0x400) return (sign | ((magnitude << 13) + 0x38000000)) >>> 0
  if (magnitude === 0) return sign >>> 0
  // A subnormal: its leading bit becomes the hidden one.
  const leading = 31 - Math.clz32(magnitude)
  return (sign | ((leading + 103) << 23) | ((magnitude << (23 - leading)) & 0x7fffff)) >>> 0
}
