import { readFileSync } from "node:fs"
import { FormatError } from "../../src/errors.ts"

export const fixture = (name: string): Buffer => readFileSync(new URL(`../fixtures/torch/${name}`, import.meta.url))

/** The code of the FormatError that `run` throws; anything else is a failure of the test. */
export const codeOf = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    if (error instanceof FormatError) return error.code
    throw error
  }
  return "nothing was thrown"
}

/** Strings as latin1, numbers as bytes. */
export const bytes = (...parts: ReadonlyArray<string | number | Uint8Array>): Buffer =>
  Buffer.concat(parts.map((p) => typeof p === "number" ? Uint8Array.of(p) : typeof p === "string" ? Buffer.from(p, "latin1") : p))

/** A small deterministic generator: xorshift32. `below(n)` is in 0 … n-1. */
export const random = (seed: number) => {
  let state = seed | 0 || 1
  const next = () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
  return { below: (n: number) => next() % n }
}
