import { describe, expect, it } from "vitest"
import { memoryOfProcess, sharesOf, withProcesses } from "../../src/convert/shares.ts"
import type { TargetFile } from "../../src/engine/index.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { parseComponent } from "../../src/parallel/ModuleParallelism.ts"
import type { ConversionReport } from "../../src/plan/Report.ts"

const GIB = 2 ** 30
/** A file of one array. */
const file = (name: string, size: number): TargetFile =>
  ({ name, size, segments: [{ kind: "array", array: { id: name, dtype: "U8", shape: [size], copies: () => [] }, crc: false }] })

describe("shares of a conversion", () => {
  const ranks = ["__0_0", "__1_0", "__0_1", "__3_0"].map((name, i) => file(`${name}.distcp`, (i + 1) * 1000))

  it("are the files of the layout's ranks where there are as many processes; a rank that the trainer has write nothing has none", () => {
    expect(sharesOf(ranks, 4, 4)).toEqual([
      { rank: 0, files: ["__0_0.distcp", "__0_1.distcp"], bytes: 4000 },
      { rank: 1, files: ["__1_0.distcp"], bytes: 2000 },
      { rank: 2, files: [], bytes: 0 },
      { rank: 3, files: ["__3_0.distcp"], bytes: 4000 }
    ])
  })

  it("are dealt by bytes to any other number, in parts of files where these are large", () => {
    for (const processes of [1, 2, 3, 7]) {
      const shares = sharesOf([file("a", 4 * GIB), file("b", GIB / 2), file("c", GIB)], processes, 4)
      expect(shares.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(5.5 * GIB)
      for (const { bytes } of shares) expect(bytes / (5.5 * GIB / processes)).toBeCloseTo(1, 0)
    }
    expect(sharesOf([file("a", 4 * GIB), file("b", GIB / 2), file("c", GIB)], 3).map((share) => share.files)).toEqual([["a"], ["a"], ["a", "b", "c"]])
  })

  it("are told in a plan: components, groups, files, bytes and memory of each", () => {
    const layout = resolveLayout(["language=tp=2", "images=tp=1"].map(parseComponent), ["language", "images"])
    const files = [0, 1, 2].map((rank) => file(`__${rank}_0.distcp`, 1000))
    const report = { sourceTensors: 10, targetTensors: 7 } as ConversionReport
    const engine = { threads: 0, maxMemory: 32 << 20 }
    const { each, memoryInAll, memoryOfEach } = withProcesses(report, files, { processes: 3, engine }, layout).processes!
    expect(each.map(({ bytes, components, files: names, groups }) => [components, names, bytes, groups?.tp, groups?.embd])).toEqual([
      [["language"], ["__0_0.distcp"], 1000, [[0, 2, 1]], [[0, 1, 1]]],
      [["language"], ["__1_0.distcp"], 1000, [[0, 2, 1]], [[1, 1, 1]]],
      [["images"], ["__2_0.distcp"], 1000, [[2, 1, 1]], [[2, 1, 1]]]
    ])
    expect([memoryOfEach, memoryInAll]).toEqual([memoryOfProcess(engine, 10), 3 * memoryOfProcess(engine, 10)])
    // Of any other number nobody stands for a rank.
    const two = withProcesses(report, files, { processes: 2, engine }, layout).processes!.each
    expect(two.map(({ components, groups }) => [components, groups])).toEqual([[["language"], undefined], [["language", "images"], undefined]])
    expect(withProcesses(report, files, { processes: 2, engine }).processes!.each.map(({ components }) => components)).toEqual([[], []])
  })

  it("cost memory by buffers, threads and tensors, not by bytes", () => {
    const lean = memoryOfProcess({ maxMemory: 32 << 20, threads: 0 }, 1000)
    expect(lean).toBeLessThan(175e6)
    expect(memoryOfProcess({ maxMemory: 64 << 20, threads: 0 }, 1000) - lean).toBe(32 << 20)
    expect(memoryOfProcess({ maxMemory: 32 << 20, threads: 4 }, 1000)).toBeGreaterThan(lean)
    expect(memoryOfProcess({ maxMemory: 32 << 20, threads: 0 }, 101_000) - lean).toBe(500e6)
  })
})
