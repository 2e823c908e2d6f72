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

export type Transform = Add | Restore

/** The transform of the opposite direction. */
export const inverse = (transform: Add): Add => ({ kind: "add", constant: -transform.constant })
