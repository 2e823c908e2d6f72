/**
 * What may happen to values on the way, as data: a copy that carries no transform moves bytes (or casts, where the dtypes of
 * its sides differ). Each transform names its inverse; `src/tensor/kernels` does the arithmetic.
 */

/**
 * `add`: `y = x + constant`, computed in the dtype of the source (as the reference does: norms stored as `w − 1`), then cast.
 * Not invertible bit for bit in general: see {@link restoring}.
 */
export interface Add {
  readonly kind: "add"
  readonly constant: number
}

/**
 * `restore`: the exporting half of a lossy step. The operand holds a candidate for the original value; where running `forward`
 * on the candidate gives the stored value, the candidate itself is written (bit-exact), elsewhere `backward` of the stored
 * value. `forward` absent: a cast.
 */
export interface Restore {
  readonly kind: "restore"
  readonly forward?: Add
  readonly backward?: Add
}

/**
 * `dequantize`: `y = value(code) · scale`, the source holding codes and operand 0 their scales; the product is rounded to F32,
 * then to BF16, then cast. `scale: "BF16"` rounds the scale to BF16 first. An operand of dtype U8 holds exponents `e` of scales
 * 2^(e − 127). The opposite is not arithmetic: an unchanged tensor takes its codes and scales from the original.
 */
export interface Dequantize {
  readonly kind: "dequantize"
  readonly codes: Codes
  readonly scale?: "BF16"
}

/** `fill`: `y = value`, whatever the source holds. It belongs on a copy that has no opposite direction. */
export interface Fill {
  readonly kind: "fill"
  readonly value: number
}

/**
 * `mean`: `y = Σ weight·x`, over the source and every operand, in order; products and sums are rounded to F32, the result to the target's
 * dtype, to nearest, ties to even. It belongs on a copy that has no opposite direction.
 */
export interface Mean {
  readonly kind: "mean"
  /** Of the source, then of each operand. */
  readonly weights: ReadonlyArray<number>
}

/** What codes mean: floats of 8 bits (OCP E4M3 without infinities, E5M2) or 4 bits (E2M1), integers of 4 bits less 8. */
export type Codes = "e4m3" | "e5m2" | "e2m1" | "int4"

export type Transform = Add | Restore | Dequantize | Fill | Mean

/** The transform of the opposite direction. */
export const inverse = (transform: Add): Add => ({ kind: "add", constant: -transform.constant })
