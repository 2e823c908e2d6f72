/** Bytes are compared at once: the runner's own way looks for further properties of arrays, and takes a second for some megabytes. */
import { expect } from "vitest"

/** A worker runs this before each of its files. */
const known = globalThis as { bytesCompareAtOnce?: true }

if (!known.bytesCompareAtOnce) {
  known.bytesCompareAtOnce = true
  expect.addEqualityTesters([
    (a: unknown, b: unknown): boolean | undefined =>
      a instanceof Uint8Array && b instanceof Uint8Array && a.constructor === b.constructor ? Buffer.compare(a, b) === 0 : undefined
  ])
}
