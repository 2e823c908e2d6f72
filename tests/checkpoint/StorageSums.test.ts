import { describe, expect, it } from "vitest"
import { StorageSums } from "../../src/checkpoint/StorageSums.ts"
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

  it("does not read a terabyte of which a tensor is a small view", async () => {
    const { counted, disk } = diskOf(bytes)
    await new StorageSums([storage(1, 2 ** 40)]).finish(disk)
    expect(counted.reads).toBe(0)
  })

  it("does not look at what has no sum", async () => {
    const { counted, disk } = diskOf(bytes)
    await new StorageSums([storage(0)]).finish(disk)
    expect(counted.reads).toBe(0)
  })
})
