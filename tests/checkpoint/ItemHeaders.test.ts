import { describe, expect, it } from "vitest"
import { type ChunkSource, itemOf, readItemHeaders } from "../../src/checkpoint/ItemHeaders.ts"
import type { DiskFile } from "../../src/io/Disk.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { saveArchive } from "../../src/torch/SaveArchive.ts"
import { PyTensor } from "../../src/torch/PyValue.ts"
import { tensorItem } from "../../src/torch/TensorItem.ts"

/** An item of `elements` bytes, all of them `value`. */
const itemOfBytes = (elements: number, value: number): Uint8Array => {
  const data = new Uint8Array(elements).fill(value)
  const { prefix, suffix } = tensorItem("U8", [elements])
  return Buffer.concat([prefix, data, suffix(crc32(data))])
}

/** A file of these items one behind the other, and their chunks. */
const fileOf = (items: ReadonlyArray<Uint8Array>, elements: number) => {
  const content = Buffer.concat(items)
  const reads: Array<number> = []
  const file = {
    path: "/c/__0_0.distcp",
    read: async (into: Uint8Array, position: number) => {
      reads.push(into.length)
      into.set(content.subarray(position, position + into.length))
      return into.length
    }
  } as unknown as DiskFile
  let offset = 0
  const sources = items.map((item, i): ChunkSource => {
    const chunk = { file: "__0_0.distcp", offset, length: item.length, offsets: [i * elements], sizes: [elements] }
    offset += item.length
    return { key: "w", chunk, dtype: "U8", header: undefined }
  })
  return { file, reads, sources }
}

describe("readItemHeaders", () => {
  it("small items: a thousand in a few reads", async () => {
    const items = Array.from({ length: 1000 }, (_, i) => itemOfBytes(100, i))
    const { file, reads, sources } = fileOf(items, 100)
    await readItemHeaders(file, sources)
    expect(reads.length).toBeLessThan(15)
    expect(Math.max(...reads)).toBeLessThanOrEqual(256 << 10)
    expect(sources.map((s) => s.header)).toEqual(Array.from({ length: 1000 }, (_, i) => crc32(new Uint8Array(100).fill(i))))
  })

  it("large items: the end of one and the beginning of the next in one read, and no data", async () => {
    const elements = 1 << 20
    const { file, reads, sources } = fileOf([1, 2, 3].map((value) => itemOfBytes(elements, value)), elements)
    await readItemHeaders(file, sources)
    expect(reads).toHaveLength(4)
    expect(reads.reduce((sum, n) => sum + n)).toBe(3 * (tensorItem("U8", [elements]).length - elements))
    expect(itemOf(sources[1]!)).toMatchObject({ dtype: "U8", shape: [elements], dataLength: elements, crc32: sources[1]!.header })
  })

  it("an item that is not as we write it is parsed, between others that are", async () => {
    const data = new Uint8Array(100).fill(9)
    const other = saveArchive("another_root", new PyTensor("U8", [100], data))
    const damaged = itemOfBytes(100, 4)
    damaged[1] = 0
    const { file, sources } = fileOf([itemOfBytes(100, 1), other, itemOfBytes(100, 2)], 100)
    await readItemHeaders(file, sources)
    expect(sources.map((s) => typeof s.header)).toEqual(["number", "object", "number"])
    expect(itemOf(sources[1]!)).toMatchObject({ dtype: "U8", shape: [100], crc32: crc32(data) })
    const bad = fileOf([itemOfBytes(100, 1), damaged], 100)
    await expect(readItemHeaders(bad.file, bad.sources)).rejects.toMatchObject({
      path: "/c/__0_0.distcp", code: "zip/not-zip", place: { tensor: "w", offset: bad.sources[1]!.chunk.offset }
    })
  })

  it("checkpoint/dtype and checkpoint/chunk-shape: .metadata says something else", async () => {
    const { file, sources } = fileOf([itemOfBytes(100, 1)], 100)
    const [{ chunk }] = sources as [ChunkSource]
    await expect(readItemHeaders(file, [{ key: "w", chunk, dtype: "I8", header: undefined }])).rejects.toMatchObject({ code: "checkpoint/dtype" })
    await expect(readItemHeaders(file, [{ key: "w", chunk: { ...chunk, sizes: [10, 10] }, dtype: "U8", header: undefined }]))
      .rejects.toMatchObject({ code: "checkpoint/chunk-shape", place: { tensor: "w", offset: 0 } })
  })
})
