/**
 * What one optimizer step, or one microbatch, goes through: sums over its sequences, images and audio clips, from which every FLOP
 * count follows. Attention costs grow with squares, so lengths enter by their sum and by the sum of their squares.
 */

export interface Workload {
  /** Tokens of the language model, padding included. */
  readonly tokens: number
  /** Sum of squared sequence lengths, in tokens²; of a packed sequence, of the sequences inside. */
  readonly squares: number
  /** Patches of all images. */
  readonly patches: number
  /** Sum of squared patches per attention: per image, of a video per frame. */
  readonly patchSquares: number
  /** Tokens that the towers hand to the language model. */
  readonly merged: number
  /** Frames of audio in the encoder, and their squares. */
  readonly frames: number
  readonly frameSquares: number
}

export const EMPTY: Workload = { tokens: 0, squares: 0, patches: 0, patchSquares: 0, merged: 0, frames: 0, frameSquares: 0 }

/** `lengths` in tokens, one per sequence (per sequence inside a pack). */
export const sequences = (lengths: ReadonlyArray<number>): Workload => ({
  ...EMPTY,
  tokens: lengths.reduce((sum, n) => sum + n, 0),
  squares: lengths.reduce((sum, n) => sum + n * n, 0)
})

/** An image, or a video: its grid in patches, after resizing. */
export interface PatchGrid {
  readonly frames: number
  readonly height: number
  readonly width: number
}

/** `merge`: patches per side that become one token. Every frame attends to itself alone. */
export const images = (grids: ReadonlyArray<PatchGrid>, merge: number): Workload => {
  const patches = grids.reduce((sum, g) => sum + g.frames * g.height * g.width, 0)
  return {
    ...EMPTY,
    patches,
    patchSquares: grids.reduce((sum, g) => sum + g.frames * (g.height * g.width) ** 2, 0),
    merged: patches / (merge * merge)
  }
}

/** `lengths` in encoder frames, one per clip. */
export const audio = (lengths: ReadonlyArray<number>): Workload => ({
  ...EMPTY,
  frames: lengths.reduce((sum, n) => sum + n, 0),
  frameSquares: lengths.reduce((sum, n) => sum + n * n, 0),
  merged: lengths.reduce((sum, n) => sum + n, 0)
})

/** Several workloads as one: a sequence and its images. */
export const together = (...parts: ReadonlyArray<Workload>): Workload =>
  parts.reduce((a, b) => Object.fromEntries(Object.keys(EMPTY).map((k) => [k, a[k as keyof Workload] + b[k as keyof Workload]])) as unknown as Workload, EMPTY)

export const times = (w: Workload, n: number): Workload =>
  Object.fromEntries(Object.entries(w).map(([key, value]) => [key, (value as number) * n])) as unknown as Workload

/** Tokens that one token attends to if nothing hides it: the mean sequence length, weighed by tokens. */
export const meanContext = ({ squares, tokens }: Workload): number => (tokens === 0 ? 0 : squares / tokens)
