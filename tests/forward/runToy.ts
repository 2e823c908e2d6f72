/** All logits of a decoder for some tokens, [tokens, vocabulary]. */
import { Effect } from "effect"
import { families } from "../../routes/index.ts"
import type { Arithmetic } from "../../src/arithmetic/Arithmetic.ts"
import { makeSimd } from "../../src/arithmetic/simd.ts"
import { forward } from "../../src/forward/forward.ts"
import { type OpenedDecoder, openHfDecoder } from "../../src/forward/openDecoder.ts"
import { Disk } from "../../src/io/Disk.ts"

/** Puts parts of the vocabulary beside each other. */
export const collecting = (tokens: number, vocabulary: number) => {
  const all = new Float32Array(tokens * vocabulary)
  const onLogits = (logits: Float32Array, width: number, first: number) => {
    for (let i = 0; i < tokens; i++) all.set(logits.subarray(i * width, (i + 1) * width), i * vocabulary + first)
  }
  return { all, onLogits }
}

export const logitsOf = (decoder: OpenedDecoder, tokens: ReadonlyArray<number>, arithmetic: Arithmetic = makeSimd()) => {
  const { all, onLogits } = collecting(tokens.length, decoder.plan.vocabulary)
  return forward(decoder, tokens, { arithmetic, top: 1, onLogits }).pipe(Effect.map(() => all))
}

export const hfLogits = (directory: string, tokens: ReadonlyArray<number>, arithmetic?: Arithmetic): Promise<Float32Array> =>
  Effect.runPromise(openHfDecoder(families, directory).pipe(Effect.flatMap((decoder) => logitsOf(decoder, tokens, arithmetic)), Effect.provide(Disk.layer)))

/** Largest difference, as a part of the largest of `theirs`. */
export const distance = (ours: Float32Array, theirs: Float32Array): number => {
  if (ours.length !== theirs.length) return Infinity
  const scale = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  return ours.reduce((most, value, i) => Math.max(most, Math.abs(value - theirs[i]!)), 0) / scale
}
