/** An execution that finds windows of an earlier one writes only what is missing, and the same bytes. */
import { describe, expect, it } from "vitest"
import type { WindowRecord } from "../../src/engine/Earlier.ts"
import { execute, type ExecuteOptions } from "../../src/engine/execute.ts"
import type { SourceArray, TargetArray, TargetFile } from "../../src/engine/Target.ts"
import { viewOf } from "../../src/tensor/Copy.ts"
import { random } from "../tensor/random.ts"
import { diskWith } from "./MemoryDisk.ts"
import { randomBytes } from "./randomLayouts.ts"

/** Ten transposed matrices, which are cut at matrices and not at pages. */
const ROWS = 64
const COLUMNS = 61
const shape = [10, COLUMNS, ROWS]
const source: SourceArray = { path: "/in", offset: 8, dtype: "BF16", shape: [10, ROWS, COLUMNS] }
const array: TargetArray = {
  id: "w",
  dtype: "BF16",
  shape,
  copies: [{ shape, source: { tensor: "a", offset: 0, strides: [ROWS * COLUMNS, 1, COLUMNS] }, target: viewOf("w", shape) }]
}
const length = 10 * ROWS * COLUMNS * 2
const file: TargetFile = {
  name: "f",
  size: length + 104,
  segments: [
    { kind: "bytes", bytes: new Uint8Array(100).fill(7) },
    { kind: "array", array, crc: true },
    { kind: "seal", length: 4, bytes: (crc) => new Uint8Array(Uint32Array.of(crc).buffer) }
  ]
}
const sources = new Map([["a", source]])
const bytes = randomBytes(random(1), length + 8)

const run = async (options: ExecuteOptions, existing?: Uint8Array) => {
  const disk = diskWith(new Map([["/in", bytes], ...(existing ? [["/out/f", existing] as const] : [])]))
  const records: Array<WindowRecord> = []
  const report = await disk.run(execute([file], sources, "/out", {
    io: "direct",
    sizes: { block: 4096, wide: 16384, read: 8192, work: 4096 },
    gap: 100_000,
    ...options,
    onWindow: (_, window) => records.push(window)
  }))
  return { report, content: disk.files.get("/out/f")!, records, writes: disk.calls.filter((c) => c.call === "write").length }
}

const earlier = (records: ReadonlyArray<WindowRecord>): ExecuteOptions => ({
  earlier: { began: () => true, find: (_, position) => records.find((r) => r.position === position) }
})

describe("windows that end within a page", () => {
  it("are of whole matrices", async () => {
    const { records } = await run({})
    const matrix = ROWS * COLUMNS * 2
    expect(records.map((r) => r.position).sort((a, b) => a - b).slice(1, 4)).toEqual([1, 2, 3].map((n) => 100 + n * matrix))
  })

  it("are found whole, and not written again", async () => {
    const first = await run({})
    const second = await run(earlier(first.records), first.content.slice())
    expect(second.writes).toBe(0)
    expect(Buffer.compare(second.content, first.content)).toBe(0)
  })

  it("are written again where any byte differs, also one that a neighbour writes", async () => {
    const first = await run({})
    for (let seed = 1; seed <= 60; seed++) {
      const next = random(seed)
      const damaged = first.content.slice()
      for (let n = 1 + next(3); n > 0; n--) damaged[next(damaged.byteLength)]! ^= 1 + next(255)
      const known = first.records.filter(() => next(3) > 0)
      const second = await run(earlier(known), next(4) === 0 ? damaged.slice(0, next(damaged.byteLength)) : damaged)
      expect(Buffer.compare(second.content, first.content), `seed ${seed}`).toBe(0)
    }
  })
})
