/**
 * The change that an adapter makes of one stored matrix, `scale · b · a`, as its rows and columns lie in the file: for a matrix `[in, out]`
 * that is the transpose of `B·A`, whose sums are the same numbers in the same order. Pure.
 */
import { bytesOf, type DType } from "../../tensor/DType.ts"
import type { Shape } from "../../tensor/Copy.ts"
import { isWeightDType, type WeightDType } from "../../arithmetic/Arithmetic.ts"
import type { HfMatrix } from "../factors.ts"
import type { FactorView, PeftPair } from "../peftPair.ts"

/** A tensor in memory. */
export interface Value {
  readonly dtype: DType
  readonly shape: Shape
  readonly bytes: Uint8Array
}

/** A matrix in memory, row-major. */
export interface Matrix {
  readonly dtype: WeightDType
  readonly rows: number
  readonly columns: number
  readonly bytes: Uint8Array
}

export interface MergeTerm {
  readonly scale: number
  /** [rows, rank] */
  readonly b: Matrix
  /** [rank, columns] */
  readonly a: Matrix
  /** Row lengths of DoRA. */
  readonly magnitude?: Matrix
}

/** Bytes that threads need no copy of. */
export const sharedBytes = (length: number): Uint8Array => new Uint8Array(new SharedArrayBuffer(length))

/** The elements (i, j) at `offset + i·rowStep + j·step` of a tensor as a matrix. */
const matrixOf = (values: ReadonlyMap<string, Value>, tensor: string, [rows, columns]: readonly [number, number], offset: number, rowStep: number, step: number): Matrix => {
  const { bytes, dtype } = values.get(tensor)!
  if (!isWeightDType(dtype)) throw new RangeError(`${tensor}: no arithmetic with ${dtype}`)
  const width = bytesOf(dtype)
  if (step === 1 && rowStep === columns) return { dtype, rows, columns, bytes: bytes.subarray(offset * width, (offset + rows * columns) * width) }
  const out = sharedBytes(rows * columns * width)
  for (let i = 0, at = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++, at += width) {
      const from = (offset + i * rowStep + j * step) * width
      for (let byte = 0; byte < width; byte++) out[at + byte] = bytes[from + byte]!
    }
  }
  return { dtype, rows, columns, bytes: out }
}

const ranksFirst = (values: ReadonlyMap<string, Value>, { offset, rankStride, stride, tensor }: FactorView, rank: number, others: number): Matrix =>
  matrixOf(values, tensor, [rank, others], offset, rankStride, stride)

const ranksLast = (values: ReadonlyMap<string, Value>, { offset, rankStride, stride, tensor }: FactorView, rank: number, others: number): Matrix =>
  matrixOf(values, tensor, [others, rank], offset, stride, rankStride)

/** The change of `matrix`, whose adapter of rank `rank` is `pair`. */
export const termOf = (values: ReadonlyMap<string, Value>, { columns, rows, transposed }: HfMatrix, pair: PeftPair, rank: number, scale: number): MergeTerm => {
  const [right, across, left, down] = transposed ? [pair.output, rows, pair.input, columns] : [pair.input, columns, pair.output, rows]
  const magnitude = pair.magnitude && values.get(pair.magnitude.tensor)
  return {
    scale,
    a: ranksFirst(values, right, rank, across),
    b: ranksLast(values, left, rank, down),
    ...(magnitude ? { magnitude: matrixOf(values, pair.magnitude!.tensor, [rows, 1], 0, 1, 1) } : {})
  }
}
