import { describe, expect, it } from "vitest"
import { seenSchema, StorageSums } from "../../src/checkpoint/StorageSums.ts"
import type { DiskCalls, DiskFile } from "../../src/io/Disk.ts"
import { crc32 } from "../../src/torch/Crc32.ts"

const bytes = Uint8Array.from({ length: 100 }, (_, i) => i)
/** A disk with one file of these bytes; `reads` counts. */
const diskOf = (content: Uint8Array) => {
  const counted = { reads: 0 }
  const file = {
    read: async (into: Uint8Array, position: number) => {
      counted.reads++
      into.set(content.subarray(position, position + into.length))
      return into.length
    },
    close: async () => {}
  } as unknown as DiskFile
  return { counted, disk: { open: async () => file } as unknown as DiskCalls }
}
const storage = (sum: number, end = 100) => ({ path: "a.distcp", key: "w", start: 0, end, crc32: sum })

describe("StorageSums", () => {
  it("reads what nobody read, and is content with the right sum", async () => {
    const { counted, disk } = diskOf(bytes)
    await new StorageSums([storage(crc32(bytes))]).finish(disk)
    expect(counted.reads).toBe(1)
  })

  it("checkpoint/crc: names the tensor and the byte", async () => {
    await expect(new StorageSums([storage(1)]).finish(diskOf(bytes).disk)).rejects.toMatchObject({
      path: "a.distcp",
      code: "checkpoint/crc",
      place: { tensor: "w", offset: 0 }
    })
  })

  it("takes the sum of what is read anyway, in any order and twice", async () => {
    const { counted, disk } = diskOf(bytes)
    const sums = new StorageSums([storage(crc32(bytes))])
    const file = await sums.watch(disk).open("a.distcp", "read")
    for (const [from, to] of [[50, 100], [40, 60], [0, 50]] as const) await file.read(new Uint8Array(to - from), from)
    await sums.finish(disk)
    expect(counted.reads).toBe(3)
  })

  it("100 000 small reads that do not meet, as columns are read, cost no more than their bytes", async () => {
    const [row, rows] = [320, 50_000]
    const content = new Uint8Array(row * rows).map((_, i) => i * 7 >> 2)
    const { counted, disk } = diskOf(content)
    const sums = new StorageSums([storage(crc32(content), content.length)])
    const file = await sums.watch(disk).open("a.distcp", "read")
    const started = performance.now()
    for (const column of [1, 0]) for (let r = 0; r < rows; r++) await file.read(new Uint8Array(row / 2), r * row + column * row / 2)
    // A list of all parts, copied at each read, took minutes.
    expect(performance.now() - started).toBeLessThan(20_000)
    await sums.finish(disk)
    expect(counted.reads).toBe(2 * rows)
  })

  it("does not read a terabyte of which a tensor is a small view", async () => {
    const { counted, disk } = diskOf(bytes)
    await new StorageSums([storage(1, 2 ** 40)]).finish(disk)
    expect(counted.reads).toBe(0)
  })

  it("puts together what several processes saw, and reads what is missing between them", async () => {
    const size = 5 * (1 << 20) + 123
    const content = Uint8Array.from({ length: size }, (_, i) => i * 31 >> 3)
    const storages = [
      { path: "a.distcp", key: "w", start: 17, end: 3_000_000, crc32: crc32(content.subarray(17, 3_000_000)) },
      { path: "a.distcp", key: "v", start: 3_000_100, end: size, crc32: crc32(content.subarray(3_000_100)) }
    ]
    const { counted, disk } = diskOf(content)
    const [all, ...others] = [0, 1, 2, 3].map(() => new StorageSums(storages))
    // Pages at the borders are read by both.
    const borders = [0, 1_200_000, 2_500_000, 4_100_000]
    for (const [i, sums] of others.entries()) {
      const file = await sums.watch(disk).open("a.distcp", "read")
      const [from, to] = [borders[i]! - borders[i]! % 4096, Math.ceil(borders[i + 1]! / 4096) * 4096]
      for (let at = from; at < to; at += 65_536) await file.read(new Uint8Array(Math.min(65_536, to - at)), at)
    }
    for (const sums of others) all!.absorb(seenSchema.parse(JSON.parse(JSON.stringify(sums.seen()))))
    counted.reads = 0
    await all!.finish(disk)
    // Two borders, and what is behind the last: in reads of at most a MiB.
    expect(counted.reads).toBeLessThanOrEqual(5)
    const damaged = new StorageSums([storages[0]!, { ...storages[1]!, crc32: 1 }])
    for (const sums of others) damaged.absorb(sums.seen())
    await expect(damaged.finish(disk)).rejects.toMatchObject({ code: "checkpoint/crc", place: { tensor: "v" } })
  })

  it("does not look at what has no sum", async () => {
    const { counted, disk } = diskOf(bytes)
    await new StorageSums([storage(0)]).finish(disk)
    expect(counted.reads).toBe(0)
  })
})
