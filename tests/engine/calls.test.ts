/** What execution asks of the file system: few calls, none too large. */
import { describe, expect, it } from "vitest"
import { execute } from "../../src/engine/internal/execute.ts"
import type { EngineOptions } from "../../src/engine/internal/Settings.ts"
import type { SourceArray, TargetArray, TargetFile } from "../../src/engine/internal/Target.ts"
import { identity, volume } from "../../src/tensor/Copy.ts"
import { bytesOf } from "../../src/tensor/DType.ts"
import { floats } from "../tensor/kernels/sweeps.ts"
import { random } from "../tensor/random.ts"
import { diskWith } from "./MemoryDisk.ts"
import { randomWorld } from "./randomLayouts.ts"

const fileOf = (arrays: ReadonlyArray<TargetArray>): TargetFile => ({
  name: "f",
  segments: arrays.map((array) => ({ kind: "array", array, crc: false })),
  size: arrays.reduce((sum, array) => sum + volume(array.shape) * bytesOf(array.dtype), 0)
})

describe("calls", () => {
  it.each(["direct", "buffered"] as const)("a thousand small neighbours cost one %s read and one write", async (io) => {
    const arrays = Array.from({ length: 1000 }, (_, i): TargetArray => {
      const source: SourceArray = { path: "/in", offset: 8 + i * 1500, dtype: "BF16", shape: [750] }
      return { id: `${i}`, dtype: "BF16", shape: [750], copies: () => [identity(source, `${i}`, [750])] }
    })
    const disk = diskWith(new Map([["/in", new Uint8Array(1_500_008)]]))
    await disk.run(execute([fileOf(arrays)], "/out", { io }))
    const counts = disk.calls.filter((c) => c.call === "read" || c.call === "write").map((c) => c.call)
    expect(counts).toEqual(["read", "write"])
  })

  it("bytes that stay as they are are read straight into the block", async () => {
    const source: SourceArray = { path: "/in", offset: 8, dtype: "BF16", shape: [1 << 20] }
    const array: TargetArray = { id: "w", dtype: "BF16", shape: [1 << 20], copies: () => [identity(source, "w", [1 << 20])] }
    const disk = diskWith(new Map([["/in", new Uint8Array((2 << 20) + 8)]]))
    const report = await disk.run(execute([fileOf([array])], "/out", { io: "buffered" }))
    expect(report.bytesRead).toBe(2 << 20)
    expect(disk.calls.filter((c) => c.call === "read").map((c) => c.bytes)).toEqual([2 << 20])
  })

  it("no read is larger than asked for", async () => {
    const read = 700
    const options: EngineOptions = { io: "buffered", sizes: { block: 3000, wide: 9000, read, work: 512 }, gap: 100 }
    for (let seed = 1; seed <= 30; seed++) {
      const next = random(seed)
      const world = randomWorld(next, 4, floats, 9, seed % 2 === 0 ? "same" : "changed")
      const disk = diskWith(world.files)
      await disk.run(execute([fileOf(world.arrays)], "/out", options))
      expect(Math.max(0, ...disk.calls.filter((c) => c.call === "read").map((c) => c.bytes)), `seed ${seed}`).toBeLessThanOrEqual(read)
    }
  })
})
