/** Sliding windows: which layers have one, and how many keys a query then sees. By the fields of the trainer's configuration. */

/** Fields of a run configuration, as far as they are plain data. */
export interface Fields {
  readonly [field: string]: unknown
}

/** Keys that a query may see (itself, `left` before and `right` behind), or undefined where there is no window. */
export const windowOf = ({ window_size: size }: Fields): number | undefined => {
  if (typeof size === "number") return size
  if (!Array.isArray(size) || size.length !== 2) return undefined
  const [left, right] = size as [unknown, unknown]
  return typeof left === "number" && left >= 0 && typeof right === "number" ? left + right + 1 : undefined
}

/** Is layer `number` (from 1) windowed? By `window_attn_skip_freq`, or by a pattern of so many sliding, so many global layers. */
export const isWindowed = (fields: Fields, number: number): boolean => {
  const { interleaved_attn_pattern: pattern, window_attn_skip_freq: skip } = fields
  if (windowOf(fields) === undefined) return false
  if (typeof skip === "number") return number % skip !== 0
  if (Array.isArray(skip)) return Boolean(skip[(number - 1) % skip.length])
  if (Array.isArray(pattern) && pattern.length === 2) {
    const [sliding, global] = pattern as [number, number]
    return (number - 1) % (sliding + global) < sliding
  }
  return true
}

/**
 * Mean number of keys that a query of a causal sequence sees through a window of `window`. `length`: of the sequence; half of it
 * without a window (the trainer's convention: the diagonal counts half).
 */
export const causalContext = (length: number, window: number | undefined): number =>
  window === undefined || window >= length ? length / 2 : window - (window * (window - 1)) / (2 * length)
