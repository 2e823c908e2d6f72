/** Threads that compute in shared memory, held against this thread alone. */
import { expect, it } from "vitest"
import type { Weights } from "../../src/arithmetic/Arithmetic.ts"
import { sumsWithin } from "../../src/arithmetic/matrixSums.ts"
import { Arena } from "../../src/engine/internal/Arena.ts"
import { Workers } from "../../src/engine/internal/Workers.ts"
import type { Placing } from "../../src/engine/internal/placeCopy.ts"
import { weights } from "../arithmetic/drivers.ts"
import { random } from "../tensor/random.ts"

const ALWAYS = { from: 0, after: 0 }
const SIDE = 64
const HALF = 1 << 19
/** Bytes from {@link HALF} on that {@link placings} fill. */
const FILLED = 20 * SIDE * SIDE * 4

/** Transposes and casts whose places do not overlap, from the first half of the memory to the second. */
const placings = (seed: number): ReadonlyArray<Placing> => {
  const next = random(seed)
  return Array.from({ length: 20 }, (_, i): Placing => {
    const at = i * SIDE * SIDE * 4
    return next(2) === 0
      ? {
        shape: [SIDE, SIDE],
        step: "move",
        from: [{ at, strides: [1, SIDE], width: 2 }],
        to: { at: HALF + at, strides: [SIDE, 1], width: 2 }
      }
      : {
        shape: [SIDE, SIDE],
        step: { source: "F32", target: "BF16", operands: [] },
        from: [{ at, strides: [SIDE, 1], width: 4 }],
        to: { at: HALF + at, strides: [SIDE, 1], width: 2 }
      }
  })
}

const filled = (workers: number): { readonly arena: Arena; readonly workers: Workers } => {
  const arena = new Arena(2 * HALF, workers * Workers.room)
  const next = random(7)
  // Finite floats whose lower half a cast to BF16 loses.
  for (let i = 0; i < HALF / 4; i++) arena.memory.u32[i] = 0x3f800000 | next(1 << 20)
  return { arena, workers: new Workers(arena, workers, ALWAYS) }
}

const room = (arena: Arena) => ({ work: arena.end - (1 << 17), workEnd: arena.end })

it("what threads put in place, and its checksums, are what this thread would make", async () => {
  const alone = filled(0)
  const shared = filled(2)
  try {
    expect(await shared.workers.start()).toBe(2)
    const all = placings(1)
    const orders = [0, 5, 10, 15].map((first) => all.slice(first, first + 5))
    const expected = await Promise.all(orders.map((order) => alone.workers.place(order, room(alone.arena))))
    const found = await Promise.all(orders.map((order) => shared.workers.place(order, room(shared.arena))))
    expect(found).toEqual(expected)
    expect(found.flat().some((changed) => changed > 0)).toBe(true)
    const whole = [{ at: HALF, length: FILLED, position: 3 << 19 }]
    expect(await shared.workers.sum(whole)).toEqual(await alone.workers.sum(whole))
    const bytes = ({ arena }: typeof alone) => arena.memory.u8.slice(HALF, HALF + FILLED)
    expect(Buffer.compare(bytes(shared), bytes(alone))).toBe(0)
  } finally {
    await shared.workers.close()
  }
})

it("products that threads add to rows are those that this thread would add", async () => {
  const alone = filled(0)
  const shared = filled(2)
  const [rows, columns, rank] = [40, 300, 9]
  // Two parts of one matrix; the factors lie in memory of their own that threads share.
  const factor = (rows: number, columns: number, seed: number): Weights => {
    const { bytes, ...own } = weights("BF16", rows, columns, seed)
    const copy = new Uint8Array(new SharedArrayBuffer(bytes.byteLength))
    copy.set(bytes)
    return { ...own, bytes: copy }
  }
  const matrices = [{ elements: rows * columns, sum: { columns, dtype: "F32", steps: "once", addends: [{ scale: 0.25, left: factor(rows, rank, 1), right: factor(rank, columns, 2) }] } }] as const
  const half = (rows * columns) / 2
  const orders = [0, half].map((first) => sumsWithin(matrices, HALF + 4 * first, first, half))
  try {
    await shared.workers.start()
    for (const { arena, workers } of [alone, shared]) {
      arena.memory.u8.copyWithin(HALF, 0, 4 * rows * columns)
      await Promise.all(orders.map((order) => workers.add(order, room(arena))))
    }
    const bytes = ({ arena }: typeof alone) => arena.memory.u8.slice(HALF, HALF + 4 * rows * columns)
    expect(Buffer.compare(bytes(shared), bytes(alone))).toBe(0)
    expect(Buffer.compare(bytes(shared), shared.arena.memory.u8.slice(0, 4 * rows * columns))).not.toBe(0)
  } finally {
    await shared.workers.close()
  }
})

it("what a thread cannot do is an error here", async () => {
  const { arena, workers } = filled(1)
  try {
    await workers.start()
    const impossible: Placing = { ...placings(1)[0]!, step: { source: "I64", target: "BOOL", operands: [] } }
    await expect(workers.place([impossible], room(arena))).rejects.toThrow("no kernel")
    expect(await workers.place(placings(2), room(arena))).toHaveLength(20)
  } finally {
    await workers.close()
  }
})

it("without threads, memory is not shared", () => {
  expect(filled(0).arena.memory.u8.buffer).toBeInstanceOf(ArrayBuffer)
  expect(filled(1).arena.memory.u8.buffer).toBeInstanceOf(SharedArrayBuffer)
})
