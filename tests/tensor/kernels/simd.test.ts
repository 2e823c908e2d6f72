import { describe, expect, it } from "vitest"
import { type Memory, memoryOf, memoryWith, TABLES } from "../../../src/tensor/kernels/Memory.ts"
import { allocate, type Simd } from "../../../src/tensor/kernels/simd/Simd.ts"
import { type Random, random } from "../random.ts"
import { plain } from "./plain.ts"

const SIZE = 1 << 16
const SOURCE = 64
const TARGET = SIZE / 2

/** An address near another one, mostly not a multiple of anything. */
const near = (next: Random, at: number): number => at + next(20)

/** Random parameters of each loop, as its definition allows them. */
const PARAMETERS: { readonly [Name in keyof Simd]: (next: Random) => ReadonlyArray<number> } = {
  copyRuns: (next) => {
    const [count, length] = [next(20), 1 + next(next(3) === 0 ? 600 : 40)]
    return [count, near(next, SOURCE), length + next(9), near(next, TARGET), length + next(9), length]
  },
  ...elementsAndTransposes(),
  widen: (next) => [near(next, SOURCE), near(next, TARGET), 8 * next(30)],
  narrow: (next) => [near(next, SOURCE), near(next, TARGET), 8 * next(30)],
  lookUp: (next) => [near(next, SOURCE), 8192, near(next, TARGET), next(9), 1 + next(300)],
  unpack: (next) => [near(next, SOURCE), near(next, TARGET), 16 * next(20)],
  xor: (next) => [near(next, TARGET), near(next, SOURCE), next(next(3) === 0 ? 20 : 600)]
}

function elementsAndTransposes() {
  const elements = (width: number) => (next: Random) => {
    const [rows, columns] = [next(12), next(12)]
    const [across, along] = [width * (1 + next(3)), width * 40]
    return [rows, columns, near(next, SOURCE), along, across, near(next, TARGET), across, along]
  }
  const blocks = (width: number) => (next: Random) => {
    const n = 16 / width
    const [rows, columns] = [n * next(Math.ceil(160 / width / n)), n * next(Math.ceil(160 / width / n))]
    return [rows, columns, near(next, SOURCE), columns * width + next(9), near(next, TARGET), rows * width + next(9)]
  }
  return {
    copyElements1: elements(1), copyElements2: elements(2), copyElements4: elements(4), copyElements8: elements(8),
    transpose1: blocks(1), transpose2: blocks(2), transpose4: blocks(4), transpose8: blocks(8)
  }
}

const filled = (m: Memory, next: Random): void => {
  // No infinities and no NaN.
  for (let i = 0; i < SIZE; i++) m.u8[i] = next(256) & 0xbf
  // Addresses of tables.
  for (let i = 0; i < 16; i++) m.u32[8192 / 4 + i] = 16384 + 512 * next(8)
}

describe.each([false, true])("vector loops, in memory shared by threads: %s", (shared) => {
  const m = shared ? memoryOf(allocate(SIZE + TABLES, true), SIZE) : memoryWith(SIZE)

  it.each(Object.keys(PARAMETERS) as ReadonlyArray<keyof Simd>)("%s does what the plain loop does, and writes nothing else", (name) => {
    const next = random(name.length + 1)
    for (let i = 0; i < 60; i++) {
      filled(m, next)
      const expected = m.u8.slice(0, SIZE)
      const parameters = PARAMETERS[name](next)
      const returned = plain[name](expected, ...parameters)
      expect(m.simd[name](...parameters), `${parameters}`).toBe(returned)
      expect(Buffer.compare(m.u8.subarray(0, SIZE), expected), `${parameters}`).toBe(0)
    }
  })

  it("narrow declines infinities and NaN wherever they are", () => {
    for (let at = 0; at < 16; at++) {
      for (const special of [Infinity, -Infinity, NaN]) {
        m.f32.fill(1, 0, 16)
        m.f32[at] = special
        expect(m.simd.narrow(0, 1024, 16)).toBe(-1)
      }
    }
  })
})
