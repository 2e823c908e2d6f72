import { describe, expect, it } from "vitest"
import { Arena, PAGE, type AddressRange, Ranges } from "../../src/engine/internal/Arena.ts"
import { random } from "../tensor/random.ts"

describe("ranges of memory", () => {
  it("are whole pages, from the lowest address that is free", async () => {
    const ranges = new Ranges(PAGE, 5 * PAGE)
    const first = await ranges.take(1)
    const second = await ranges.take(PAGE + 1)
    expect([first, second]).toEqual([{ start: PAGE, end: 2 * PAGE }, { start: 2 * PAGE, end: 4 * PAGE }])
    ranges.release(first)
    expect(await ranges.take(PAGE)).toEqual(first)
  })

  it("are given to whoever asked first, even if a later wish would fit", async () => {
    const ranges = new Ranges(0, 3 * PAGE)
    const held = await ranges.take(2 * PAGE)
    const order: Array<string> = []
    const large = ranges.take(2 * PAGE).then(() => order.push("large"))
    const small = ranges.take(PAGE).then(() => order.push("small"))
    await Promise.resolve()
    expect(order).toEqual([])
    ranges.release(held)
    await Promise.all([large, small])
    expect(order).toEqual(["large", "small"])
  })

  it("never overlap, and all come back", async () => {
    const next = random(1)
    const ranges = new Ranges(0, 16 * PAGE)
    const held = new Set<AddressRange>()
    let served = 0
    await Promise.all(Array.from({ length: 500 }, async () => {
      const range = await ranges.take(1 + next(8 * PAGE))
      for (const other of held) expect(range.end <= other.start || other.end <= range.start).toBe(true)
      held.add(range)
      await new Promise((resolve) => setTimeout(resolve, next(3)))
      held.delete(range)
      ranges.release(range)
      served++
    }))
    expect(served).toBe(500)
    expect(await ranges.take(16 * PAGE)).toEqual({ start: 0, end: 16 * PAGE })
  })

  it("larger than all there is are refused", () => {
    expect(() => new Ranges(0, PAGE).take(PAGE + 1)).toThrow("8192 bytes asked of 4096")
  })

  it("of an arena are its memory", async () => {
    const arena = new Arena(100_000)
    const { end, start } = await arena.take(70_000)
    expect(arena.memory.u8.subarray(start, end).byteLength).toBe(18 * PAGE)
  })
})
