/**
 * Values to FP8 codes and scales, as published block-wise checkpoints store them: `x` F8_E4M3, and `x_scale_inv` F32 with one scale for each
 * block of 128×128. The arithmetic is that of transformers' `Fp8Quantize`, bit for bit: per block s = (1 / max|x|)·448, each step
 * rounded to F32 (1 where all are 0), codes = E4M3(x·s), stored scale = 1 / s. It loses bits; the way back is {@link forms}' `float8`.
 */
import { FormatError } from "../errors.ts"
import type { Shape } from "../tensor/Copy.ts"
import { volume } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { LARGEST_E4M3, scaledE4m3 } from "../tensor/kernels/float8.ts"
import { f32BitsOfF16, f32OfBits } from "../tensor/kernels/float.ts"
import { type BlockSize, DEFAULT_BLOCK } from "./QuantizationConfig.ts"

/** A tensor of floats, and the blocks that it is cut into. */
export interface BlockwiseSource {
  readonly name: string
  readonly dtype: DType
  /** Two axes or more; blocks lie along the last two. */
  readonly shape: Shape
  /** 128×128 by default. */
  readonly blockSize?: BlockSize
}

/** One of the two tensors that a block-wise quantised one is stored as. */
export interface BlockwisePart {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
}

/** A block of values below 10⁻³⁶ would need a larger scale. */
const LARGEST_F32 = (2 - 2 ** -23) * 2 ** 127

const WIDTHS: Partial<Record<DType, number>> = { BF16: 2, F16: 2, F32: 4 }

/** Can these values become codes of blocks? */
export const blockwise = ({ dtype, shape }: Pick<BlockwiseSource, "dtype" | "shape">): boolean => WIDTHS[dtype] !== undefined && shape.length >= 2 && volume(shape) > 0

/** Codes and scales of a tensor by name, dtype and shape. A block at an edge may be smaller. */
export const blockwiseParts = ({ blockSize: [rows, columns] = DEFAULT_BLOCK, name, shape }: BlockwiseSource): { readonly codes: BlockwisePart; readonly scales: BlockwisePart } => ({
  codes: { name, dtype: "F8_E4M3", shape },
  scales: { name: `${name}_scale_inv`, dtype: "F32", shape: [...shape.slice(0, -2), Math.ceil(shape.at(-2)! / rows), Math.ceil(shape.at(-1)! / columns)] }
})

/** What the values of a block are multiplied by, the largest of which is so large. */
export const blockMultiplier = (largest: number): number => (largest > 0 ? Math.min(LARGEST_F32, Math.fround(Math.fround(1 / largest) * LARGEST_E4M3)) : 1)

/** FormatError `quantized/not-finite` */
export const requireFinite = (largest: number, tensor: string): void => {
  if (!Number.isFinite(largest)) throw new FormatError("quantized/not-finite", "has a value that is not finite: a block with it has no scale", { tensor })
}

/** The first `count` floats, widened to F32. */
const widen = (dtype: DType, { buffer }: Uint8Array, count: number, values: Float32Array, bits: Uint32Array): void => {
  if (dtype === "F32") return values.set(new Float32Array(buffer, 0, count))
  const halves = new Uint16Array(buffer, 0, count)
  if (dtype === "BF16") for (let i = 0; i < count; i++) bits[i] = halves[i]! << 16
  else for (let i = 0; i < count; i++) values[i] = f32OfBits(f32BitsOfF16(halves[i]!))
}

/** Takes the bytes of one tensor in order and gives codes; memory is that of one row of blocks. */
export class BlockQuantizer {
  readonly #source: BlockwiseSource
  readonly #blockSize: BlockSize
  /** Bytes of a row of blocks that is not complete yet. */
  readonly #pending: Uint8Array
  #filled = 0
  /** Rows that were coded, over all leading axes. */
  #row = 0
  readonly #values: Float32Array
  readonly #bits: Uint32Array
  readonly #scales: Float32Array
  #scale = 0

  /** @throws FormatError `quantized/not-blockwise` for a tensor that has no blocks of floats. */
  constructor(source: BlockwiseSource) {
    if (!blockwise(source)) throw new FormatError("quantized/not-blockwise", `${source.dtype} [${source.shape}] has no blocks of floats that could become FP8 codes`, { tensor: source.name })
    const { blockSize = DEFAULT_BLOCK, dtype, shape } = source
    this.#source = source
    this.#blockSize = blockSize
    const most = Math.min(blockSize[0], shape.at(-2)!) * shape.at(-1)!
    this.#pending = new Uint8Array(most * WIDTHS[dtype]!)
    this.#values = new Float32Array(most)
    this.#bits = new Uint32Array(this.#values.buffer)
    this.#scales = new Float32Array(volume(blockwiseParts(source).scales.shape))
  }

  /** The codes that the next bytes complete. @throws FormatError `quantized/not-finite` */
  push(bytes: Uint8Array): Uint8Array {
    const parts: Array<Uint8Array> = []
    for (let at = 0; at < bytes.byteLength;) {
      const band = this.#bandBytes()
      const taken = Math.min(bytes.byteLength - at, band - this.#filled)
      this.#pending.set(bytes.subarray(at, at + taken), this.#filled)
      this.#filled += taken
      at += taken
      if (this.#filled === band) parts.push(this.#code(band))
    }
    return parts.length === 1 ? parts[0]! : new Uint8Array(Buffer.concat(parts))
  }

  /** The scales, F32 little-endian, when all bytes were given. */
  scales(): Uint8Array {
    if (this.#filled > 0 || this.#scale < this.#scales.length) throw new RangeError(`${this.#source.name}: its bytes are not all there`)
    return new Uint8Array(this.#scales.buffer)
  }

  #bandBytes(): number {
    const { dtype, shape } = this.#source
    const rows = shape.at(-2)!
    return Math.min(this.#blockSize[0], rows - (this.#row % rows)) * shape.at(-1)! * WIDTHS[dtype]!
  }

  /** One row of blocks. */
  #code(size: number): Uint8Array {
    const { dtype, name, shape } = this.#source
    const columns = shape.at(-1)!
    const values = this.#values
    const count = size / WIDTHS[dtype]!
    widen(dtype, this.#pending, count, values, this.#bits)
    const width = this.#blockSize[1]
    const codes = new Uint8Array(count)
    for (let first = 0; first < columns; first += width) {
      const end = Math.min(columns, first + width)
      let most = 0
      for (let row = 0; row < count; row += columns) {
        for (let i = row + first; i < row + end; i++) {
          const magnitude = Math.abs(values[i]!)
          if (magnitude > most) most = magnitude
          else if (magnitude !== magnitude) most = NaN
        }
      }
      requireFinite(most, name)
      const scale = blockMultiplier(most)
      for (let row = 0; row < count; row += columns) {
        scaledE4m3(values, this.#bits, scale, codes, row + first, row + end)
      }
      this.#scales[this.#scale++] = Math.fround(1 / scale)
    }
    this.#row += count / columns
    this.#filled = 0
    return codes
  }
}
