import { expect, it } from "vitest"
import { Workers } from "../../src/engine/internal/Workers.ts"
import { settingsOf } from "../../src/engine/internal/Settings.ts"

it("whatever is asked for, memory is less than WebAssembly has, and room for every block", () => {
  for (const maxMemory of [1, 1 << 20, 2 ** 33, 2 ** 50]) {
    for (const many of [0, 1, 1e9]) {
      const { concurrency, memory, sizes, threads } = settingsOf({ maxMemory, concurrency: many, threads: many }, 2)
      expect(memory + threads * Workers.room).toBeLessThan(2 ** 32 - 2 ** 20)
      expect(concurrency * sizes.block * 2).toBeLessThan(memory)
    }
  }
})
