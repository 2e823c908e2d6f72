/** What an interrupted execution wrote is checked, and only what is missing or damaged is written again. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { execute } from "../../src/engine/internal/execute.ts"
import type { WindowRecord, WrittenWindow } from "../../src/engine/internal/ResumeRecord.ts"
import type { TargetFile } from "../../src/engine/internal/Target.ts"
import { joined, SUM_BLOCK, sumsOf } from "../../src/engine/internal/WindowSums.ts"
import { identity } from "../../src/tensor/Copy.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { MemoryDisk } from "./MemoryDisk.ts"

const LENGTH = 50_000
const BLOCK = 4096
const whole = { path: "/in", offset: 0, dtype: "U8" as const, shape: [LENGTH] }
const file: TargetFile = {
  name: "f",
  size: LENGTH + 14,
  segments: [
    { kind: "bytes", bytes: Buffer.from("ten bytes.") },
    { kind: "array", array: { id: "w", dtype: "U8", shape: [LENGTH], copies: () => [identity(whole, "w", [LENGTH])] }, crc: true },
    { kind: "seal", length: 4, bytes: (crc) => Buffer.from(Uint32Array.of(crc).buffer) }
  ]
}
const source = Uint8Array.from({ length: LENGTH }, (_, i) => i * 7 % 251)

const run = async (disk: MemoryDisk, records: ReadonlyMap<number, WindowRecord> = new Map()) => {
  const windows: Array<WrittenWindow> = []
  const earlier = { began: () => records.size > 0, find: (_: string, position: number) => records.get(position) }
  const report = await disk.run(execute([file], "/out", {
    sizes: { block: BLOCK, read: 2000, work: 8192 },
    earlier,
    onWindow: (_, window) => windows.push(window)
  }).pipe(Effect.orDie))
  return { report, windows: windows.sort((a, b) => a.position - b.position) }
}
const withSource = (): MemoryDisk => {
  const disk = new MemoryDisk()
  disk.files.set("/in", source)
  return disk
}

describe("windows", () => {
  it("are told with the checksum of their bytes, whole and in parts", async () => {
    const disk = withSource()
    const { windows } = await run(disk)
    const bytes = disk.files.get("/out/f")!
    for (const { crc32: crc, found, position, size, sums } of windows) {
      expect([crc, found]).toEqual([crc32(bytes.subarray(position, position + size)), false])
      for (const s of sums) expect(s.crc32).toBe(crc32(bytes.subarray(s.position, s.position + s.length)))
      expect(sums.reduce((at, s) => (expect(s.position).toBe(at), at + s.length), position)).toBe(position + size)
    }
    expect(joined(windows.flatMap((w) => w.sums))).toBe(crc32(bytes))
  })

  it.each([
    ["all intact", (bytes: Uint8Array) => bytes, 0],
    ["one damaged", (bytes: Uint8Array) => { bytes[9000]! ^= 1; return bytes }, 1],
    ["the end missing", (bytes: Uint8Array) => bytes.slice(0, 20_000), 9],
    ["all missing", () => undefined, 13]
  ] satisfies Array<[string, (bytes: Uint8Array) => Uint8Array | undefined, number]>)("%s: only the others are written", async (_, damage, missing) => {
    const first = withSource()
    const { windows } = await run(first)
    const whole = first.files.get("/out/f")!
    const disk = withSource()
    const left = damage(whole.slice())
    if (left) disk.files.set("/out/f", left)
    const again = await run(disk, new Map(windows.map((w) => [w.position, w])))
    expect(again.windows.filter((w) => !w.found)).toHaveLength(missing)
    expect(disk.calls.filter((c) => c.call === "write" && c.path === "/out/f")).toHaveLength(missing)
    // The seal needs the checksum of the whole array, found or not.
    expect(disk.files.get("/out/f")).toEqual(whole)
    expect(disk.open).toBe(0)
  })
})

it("sums are cut where blocks of the file end", () => {
  const bytes = new Uint8Array(SUM_BLOCK + 10)
  expect(sumsOf(bytes, SUM_BLOCK - 5).map((s) => [s.position, s.length])).toEqual([[SUM_BLOCK - 5, 5], [SUM_BLOCK, SUM_BLOCK], [2 * SUM_BLOCK, 5]])
  expect(joined(sumsOf(bytes, SUM_BLOCK - 5))).toBe(crc32(bytes))
  expect(joined([])).toBe(0)
})
