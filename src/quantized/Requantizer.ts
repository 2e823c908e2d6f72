/**
 * A quantised tensor whose values change, as codes and scales again. Blocks in which no value changes keep codes and scale. Of the others the
 * scale follows from the largest value, as {@link blockMultiplier} says; a scale that is stored in fewer bits is rounded first (an exponent:
 * the smallest with which no value is beyond the largest code), and the codes are those of that scale. It loses bits.
 */
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { valuesOf } from "../tensor/kernels/codes.ts"
import { LARGEST_E4M3, scaledE4m3 } from "../tensor/kernels/float8.ts"
import { bf16OfF32Bits, bitsOfF32, f16OfF32Bits, f32BitsOfF16, f32OfBits } from "../tensor/kernels/float.ts"
import { blockMultiplier, requireFinite } from "./BlockQuantizer.ts"
import type { QuantizedTensor } from "./QuantizedTensor.ts"

/** How a scale is stored. */
interface ScaleForm {
  readonly width: number
  readonly read: (bytes: DataView, at: number) => number
  /** Stores the scale that belongs to a largest value; returns what it is read as. */
  readonly write: (bytes: DataView, at: number, largest: number) => number
}

const float = (width: 2 | 4, widen: (bits: number) => number, narrow: (value: number) => number): ScaleForm => {
  const read: ScaleForm["read"] = (bytes, at) => f32OfBits(widen(width === 4 ? bytes.getUint32(at, true) : bytes.getUint16(at, true)))
  return {
    width,
    read,
    write: (bytes, at, largest) => {
      // None is 0, by which nothing can be divided.
      const bits = Math.max(1, narrow(Math.fround(1 / blockMultiplier(largest))))
      if (width === 4) bytes.setUint32(at, bits, true)
      else bytes.setUint16(at, bits, true)
      return read(bytes, at)
    }
  }
}

const BIAS = 127

const exponent: ScaleForm = {
  width: 1,
  read: (bytes, at) => 2 ** (bytes.getUint8(at) - BIAS),
  write: (bytes, at, largest) => {
    let power = largest > 0 ? Math.ceil(Math.log2(largest / LARGEST_E4M3)) : 0
    while (largest > LARGEST_E4M3 * 2 ** power) power++
    power = Math.max(-BIAS, power)
    bytes.setUint8(at, power + BIAS)
    return 2 ** power
  }
}

const FORMS: Partial<Record<DType, ScaleForm>> = {
  F32: float(4, (bits) => bits, bitsOfF32),
  BF16: float(2, (bits) => bits << 16, (value) => bf16OfF32Bits(bitsOfF32(value))),
  F16: float(2, f32BitsOfF16, (value) => f16OfF32Bits(bitsOfF32(value))),
  F8_E8M0: exponent,
  U8: exponent
}

const bf16 = (value: number): number => bf16OfF32Bits(bitsOfF32(value))

/** Why there is no way back to codes; undefined if there is one. `scales`: what they are stored as. */
export const whyNotRequantizable = ({ layout: { transform: { codes } } }: QuantizedTensor, scales: DType): string | undefined => {
  if (codes === "e4m3") return FORMS[scales] ? undefined : `no rule says how ${scales} scales are chosen`
  if (codes === "e5m2") return "no published checkpoint says how its scales are chosen"
  return "codes of 4 bits are chosen by calibration or by training with them; rounding to the nearest is another model"
}

export interface RequantizedSource {
  readonly quantized: QuantizedTensor
  readonly scales: { readonly dtype: DType; readonly bytes: Uint8Array }
}

/** Given all values before and after their change, it knows the scales; then it gives codes, element by element as they lie in the file. */
export class Requantizer {
  readonly #name: string
  readonly #shape: Shape
  readonly #blocks: ReadonlyArray<number>
  readonly #strides: ReadonlyArray<number>
  readonly #form: ScaleForm
  readonly #rounded: boolean
  readonly #scales: DataView
  readonly #before: Float32Array
  readonly #largest: Float32Array
  readonly #differs: Uint8Array
  /** 0 for a block that stays. */
  readonly #multipliers: Float32Array

  constructor({ quantized: { layout: { scales: { blocks, strides }, shape, transform }, name }, scales: { bytes, dtype } }: RequantizedSource) {
    const form = FORMS[dtype]
    if (!form || transform.codes !== "e4m3") throw new RangeError(`${name}: ${transform.codes} codes with ${dtype} scales`)
    const count = bytes.byteLength / form.width
    this.#name = name
    this.#shape = shape
    this.#blocks = blocks
    this.#strides = strides
    this.#form = form
    this.#rounded = transform.scale === "BF16"
    const own = new Uint8Array(bytes)
    this.#scales = new DataView(own.buffer)
    this.#before = Float32Array.from({ length: count }, (_, i) => this.#effective(form.read(this.#scales, i * form.width)))
    this.#largest = new Float32Array(count)
    this.#differs = new Uint8Array(count)
    this.#multipliers = new Float32Array(count)
  }

  /** BF16 values of codes that begin at element `first`. */
  values(codes: Uint8Array, first: number): Uint8Array<ArrayBuffer> {
    const table = valuesOf("e4m3")
    const out = new Uint16Array(codes.length)
    this.#eachRun(first, codes.length, (from, to, block) => {
      const scale = this.#before[block]!
      for (let i = from; i < to; i++) out[i] = bf16(table[codes[i]!]! * scale)
    })
    return new Uint8Array(out.buffer)
  }

  /** BF16 values that begin at element `first`, before and after. */
  observe(before: Uint8Array, after: Uint8Array, first: number): void {
    const [old, now] = [halvesOf(before), halvesOf(after)]
    this.#eachRun(first, now.length, (from, to, block) => {
      let [largest, differs] = [this.#largest[block]!, this.#differs[block]!]
      for (let i = from; i < to; i++) {
        const magnitude = now[i]! & 0x7fff
        const value = f32OfBits(magnitude << 16)
        if (!(value <= largest)) largest = value
        // A sum with nothing turns −0 into 0.
        if (now[i] !== old[i] && (magnitude | (old[i]! & 0x7fff)) !== 0) differs = 1
      }
      this.#largest[block] = largest
      this.#differs[block] = differs
    })
  }

  /** All values were observed. @throws FormatError `quantized/not-finite` */
  decide(): void {
    for (const [block, largest] of this.#largest.entries()) {
      if (!this.#differs[block]) continue
      requireFinite(largest, this.#name)
      const scale = this.#effective(this.#form.write(this.#scales, block * this.#form.width, largest))
      // The scale in all its bits is rounded once more on its way back, as published codes are.
      this.#multipliers[block] = this.#form.width === 4 && !this.#rounded ? blockMultiplier(largest) : Math.fround(1 / scale)
    }
  }

  /** As they are stored. */
  get scales(): Uint8Array {
    return new Uint8Array(this.#scales.buffer)
  }

  /** Replaces codes that begin at element `first` by those of BF16 values. */
  encode(after: Uint8Array, codes: Uint8Array, first: number): void {
    const bits = Uint32Array.from(halvesOf(after), (half) => half << 16)
    const values = new Float32Array(bits.buffer)
    this.#eachRun(first, codes.length, (from, to, block) => {
      const multiplier = this.#multipliers[block]!
      if (multiplier > 0) scaledE4m3(values, bits, multiplier, codes, from, to)
    })
  }

  #effective(scale: number): number {
    return this.#rounded ? f32OfBits(bf16(scale) << 16) : scale
  }

  /** Elements [from, to), counted from `first`, that share a row and a scale. */
  #eachRun(first: number, count: number, visit: (from: number, to: number, block: number) => void): void {
    const [columns, width, step] = [this.#shape.at(-1)!, this.#blocks.at(-1)!, this.#strides.at(-1)!]
    for (let done = 0; done < count;) {
      const column = (first + done) % columns
      const row = (first + done - column) / columns
      const end = done + Math.min(count - done, Math.min(columns, column - (column % width) + width) - column)
      visit(done, end, this.#blockOfRow(row) + Math.floor(column / width) * step)
      done = end
    }
  }

  #blockOfRow(row: number): number {
    let block = 0
    for (let axis = this.#shape.length - 2, rest = row; axis >= 0; axis--) {
      const extent = this.#shape[axis]!
      block += Math.floor((rest % extent) / this.#blocks[axis]!) * this.#strides[axis]!
      rest = Math.floor(rest / extent)
    }
    return block
  }
}

/** Little-endian halves at any alignment. */
const halvesOf = (bytes: Uint8Array): Uint16Array => new Uint16Array(new Uint8Array(bytes).buffer)

