/**
 * Weights that need no file: every element is a hash of the tensor's name and of its own row-major index, so any range of
 * any tensor can be produced anywhere and in any order, and an element that ends up in the wrong place is noticed.
 *
 * Scheme `fnv1a-murmur3-1`, all arithmetic modulo 2^32: `seed` is the 32-bit FNV-1a of the UTF-8 name,
 * `h = fmix32(i * 0x9E3779B1 + seed)` with the finaliser of murmur3, and the element's bits are cut from `h`. Floats are
 * finite, of both signs, with eight neighbouring exponents (BF16: 2^-9 to 2^-2); integers are 0 to 63.
 */
import { FormatError } from "../errors.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"

export const WEIGHT_SCHEME = "fnv1a-murmur3-1"

const GENERATED: ReadonlySet<DType> = new Set(["BF16", "F16", "F32", "F8_E4M3", "F8_E5M2", "U8", "I8", "I32", "I64"])

/** Whether the scheme defines elements of this dtype. */
export const canBeGenerated = (dtype: DType): boolean => GENERATED.has(dtype)

export interface WeightOptions {
  /** F32 elements get bits that BF16 cannot hold; without it their low half is zero and a cast to BF16 loses nothing. */
  readonly fp32Islands: boolean
}

const STEP = 0x9E3779B1

/** FNV-1a 32-bit of the UTF-8 name. */
export const seedOf = (name: string): number => {
  let hash = 0x811C9DC5
  for (const octet of new TextEncoder().encode(name)) hash = Math.imul(hash ^ octet, 0x01000193)
  return hash >>> 0
}

const fmix32 = (x: number): number => {
  let h = x
  h = Math.imul(h ^ (h >>> 16), 0x85EBCA6B)
  h = Math.imul(h ^ (h >>> 13), 0xC2B2AE35)
  return h ^ (h >>> 16)
}

/** A 16-bit float: sign, one of the eight exponents from `bias`, `shift` bits of mantissa. */
const half = (h: number, bias: number, shift: number): number =>
  ((h >>> 16) & 0x8000) | ((bias + ((h >>> 8) & 7)) << shift) | (h & ((1 << shift) - 1))

/** Two elements per store: the loop runs at memory speed, about 0.8 GB/s. Every loop below starts at `x = i * STEP + seed`. */
const fillHalves = (into: Uint8Array, start: number, bias: number, shift: number): void => {
  const words = new Uint32Array(into.buffer, into.byteOffset, into.byteLength >>> 2)
  let x = start
  for (let i = 0; i < words.length; i++) {
    words[i] = half(fmix32(x), bias, shift) | (half(fmix32(x + STEP), bias, shift) << 16)
    x = (x + 2 * STEP) | 0
  }
  if (into.byteLength % 4 !== 0) {
    new Uint16Array(into.buffer, into.byteOffset + words.byteLength, 1)[0] = half(fmix32(x), bias, shift)
  }
}

const fillFloats = (into: Uint8Array, start: number, lowMask: number): void => {
  const words = new Uint32Array(into.buffer, into.byteOffset, into.byteLength >>> 2)
  let x = start
  for (let i = 0; i < words.length; i++) {
    const h = fmix32(x)
    words[i] = (half(h, 118, 7) << 16) | ((h >>> 13) & lowMask)
    x = (x + STEP) | 0
  }
}

/** Sign and seven bits; 0x7f, which is NaN in both FP8 formats, becomes 0x7e. */
const fillOctets = (into: Uint8Array, start: number): void => {
  let x = start
  for (let i = 0; i < into.length; i++) {
    const h = fmix32(x)
    const low = h & 0x7f
    into[i] = (low === 0x7f ? 0x7e : low) | ((h >>> 24) & 0x80)
    x = (x + STEP) | 0
  }
}

/** Elements of `width` bytes whose lowest byte is `base` plus the masked hash and whose other bytes are zero. */
const fillSmall = (into: Uint8Array, start: number, width: number, base: number, mask: number): void => {
  into.fill(0)
  let x = start
  for (let i = 0; i < into.length; i += width) {
    into[i] = base + (fmix32(x) & mask)
    x = (x + STEP) | 0
  }
}

/**
 * Fills `into` with the elements of tensor `name` from `firstElement` on, little-endian; `into` must hold whole elements.
 *
 * **Details**: allocates nothing as long as `into` starts at a multiple of four bytes of its buffer. U8 tensors whose
 * name ends with `_scales` hold E8M0 exponents near 1.0.
 *
 * **Gotchas**: the index is taken modulo 2^32, so a tensor of more than 2^32 elements repeats itself. A dtype that the
 * scheme does not define is a {@link FormatError} `conformance/dtype`.
 */
export const fillWeights = (
  into: Uint8Array,
  name: string,
  dtype: DType,
  firstElement: number,
  { fp32Islands }: WeightOptions
): void => {
  const width = bytesOf(dtype)
  if (into.byteLength % width !== 0) throw new RangeError(`${into.byteLength} bytes are no whole number of ${dtype} elements`)
  if (!Number.isSafeInteger(firstElement) || firstElement < 0) throw new RangeError(`not an element index: ${firstElement}`)
  if (width > 1 && into.byteOffset % 4 !== 0) {
    const aligned = new Uint8Array(into.byteLength)
    fillWeights(aligned, name, dtype, firstElement, { fp32Islands })
    into.set(aligned)
    return
  }
  // `|` takes the index modulo 2^32, for any safe integer.
  const start = (Math.imul(firstElement | 0, STEP) + seedOf(name)) | 0
  switch (dtype) {
    case "BF16":
      return fillHalves(into, start, 118, 7)
    case "F16":
      return fillHalves(into, start, 10, 10)
    case "F32":
      return fillFloats(into, start, fp32Islands ? 0xffff : 0)
    case "U8":
      return name.endsWith("_scales") ? fillSmall(into, start, 1, 120, 7) : fillOctets(into, start)
    case "F8_E4M3":
    case "F8_E5M2":
      return fillOctets(into, start)
    case "I8":
    case "I32":
    case "I64":
      return fillSmall(into, start, width, 0, 0x3f)
    default:
      throw new FormatError("conformance/dtype", `the weight scheme has no ${dtype} values`, { tensor: name })
  }
}
