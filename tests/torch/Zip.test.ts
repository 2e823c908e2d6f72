import { describe, expect, it } from "vitest"
import { parseBytes, fromReader } from "../../src/torch/Ranges.ts"
import { contentOffset, readDirectory, readRecord } from "../../src/torch/Zip.ts"
import { archiveOf } from "../../src/torch/ZipWriter.ts"
import { bytes, codeOf, fixture } from "./tools.ts"

/** One stored record `a/x` = "hi", by hand and without zip64: the smallest archive. */
const local = (over: { flags?: string; method?: string; name?: string; sizes?: string; crc?: string } = {}) =>
  bytes("PK\x03\x04\x00\x00", over.flags ?? "\x08\x08", over.method ?? "\x00\x00", "\x00\x00\x00\x00", over.crc ?? "\x00\x00\x00\x00",
    over.sizes ?? "\x00\x00\x00\x00\x00\x00\x00\x00", "\x03\x00\x00\x00", over.name ?? "a/x")
const central = (over: { flags?: string; method?: string; crc?: string; sizes?: string; extra?: string; disk?: string; at?: string; extraLength?: string } = {}) =>
  bytes("PK\x01\x02\x00\x00\x00\x00", over.flags ?? "\x08\x08", over.method ?? "\x00\x00", "\x00\x00\x00\x00", over.crc ?? "\x00\x00\x00\x00",
    over.sizes ?? "\x02\x00\x00\x00\x02\x00\x00\x00", "\x03\x00", over.extraLength ?? "\x00\x00", "\x00\x00", over.disk ?? "\x00\x00",
    "\x00\x00\x00\x00\x00\x00", over.at ?? "\x00\x00\x00\x00", "a/x", over.extra ?? "")
const end = (over: { disks?: string; counts?: string; size?: string; at?: string; comment?: string } = {}) =>
  bytes("PK\x05\x06", over.disks ?? "\x00\x00\x00\x00", over.counts ?? "\x01\x00\x01\x00", over.size ?? "\x31\x00\x00\x00",
    over.at ?? "\x23\x00\x00\x00", over.comment ?? "\x00\x00")
const zip = (...parts: ReadonlyArray<string | Uint8Array>) => bytes(...parts)
const plain = zip(local(), "hi", central(), end())

const directory = (archive: Uint8Array) => parseBytes(archive, readDirectory(archive.length))
const content = (archive: Uint8Array, name = "a/x") => parseBytes(archive, readRecord(directory(archive).get(name)!, 1000))
const refused = (...parts: ReadonlyArray<string | Uint8Array>) => codeOf(() => content(zip(...parts)))

describe("the directory", () => {
  it("finds a record by its name", () => {
    expect([...directory(plain).keys()]).toEqual(["a/x"])
    expect(Buffer.from(content(plain)).toString()).toBe("hi")
  })

  it("finds the records of torch, in order", () => {
    expect([...directory(fixture("t_bf16_2x3.pt"))].map(([name, { size }]) => [name, size])).toEqual([
      ["archive/data.pkl", 157], ["archive/.format_version", 1], ["archive/.storage_alignment", 2], ["archive/byteorder", 6],
      ["archive/data/0", 12], ["archive/version", 2], ["archive/.data/serialization_id", 40]
    ])
  })

  it("accepts an archive comment", () => {
    expect(content(zip(local(), "hi", central(), end({ comment: "\x02\x00ok" })))).toHaveLength(2)
  })

  it("accepts sizes and CRC in the local header", () => {
    const crc = "\xac\x2a\x93\xd8"
    const sizes = "\x02\x00\x00\x00\x02\x00\x00\x00"
    expect(content(zip(local({ flags: "\x00\x00", crc, sizes }), "hi", central({ crc }), end()))).toHaveLength(2)
  })

  it("accepts 64-bit sizes in the extra field", () => {
    const extra = "\x01\x00\x18\x00" + "\x02\x00\x00\x00\x00\x00\x00\x00".repeat(2) + "\x00".repeat(8)
    const entry = central({ sizes: "\xff".repeat(8), at: "\xff".repeat(4), extra, extraLength: "\x1c\x00" })
    expect(content(zip(local(), "hi", entry, end({ size: "\x4d\x00\x00\x00" })))).toHaveLength(2)
  })

  it("reads head and tail of a large item once each", async () => {
    const item = fixture("t_bf16_5d.pt")
    const padded = archiveOf([{ name: "archive/data.pkl", content: item }, { name: "archive/data/0", content: new Uint8Array(50_000) }])
    const reads: Array<ReadonlyArray<number>> = []
    const read = async (offset: number, length: number) => {
      reads.push([offset, length])
      return padded.subarray(offset, offset + length)
    }
    await fromReader(padded.length, read, readDirectory(padded.length))
    expect(reads).toEqual([[0, 4096], [padded.length - 4096, 4096]])
  })
})

describe("refusals", () => {
  it.each([
    ["zip/no-end", "empty", [""]],
    ["zip/not-zip", "a bare pickle", ["\x80\x02}q\x00.", "\x00".repeat(40)]],
    ["zip/not-zip", "leading garbage", ["x", plain]],
    ["zip/no-end", "trailing garbage", [plain, "x"]],
    ["zip/no-end", "cut short", [plain.subarray(0, -1)]],
    ["zip/no-end", "a comment longer than the file", [local(), "hi", central(), end({ comment: "\x05\x00ok" })]],
    ["zip/disks", "several disks", [local(), "hi", central(), end({ disks: "\x01\x00\x00\x00" })]],
    ["zip/disks", "a record on another disk", [local(), "hi", central({ disk: "\x01\x00" }), end()]],
    ["zip/directory", "no records", [local(), "hi", end({ counts: "\x00\x00\x00\x00", size: "\x00\x00\x00\x00" })]],
    ["zip/directory", "a directory elsewhere", [local(), "hi", central(), end({ at: "\x22\x00\x00\x00" })]],
    ["zip/directory", "more records than fit", [local(), "hi", central(), end({ counts: "\x02\x00\x02\x00" })]],
    ["zip/directory", "bytes left over", [local(), "hi", central(), "\x00", end({ size: "\x32\x00\x00\x00" })]],
    ["zip/directory", "an entry longer than the directory", [local(), "hi", central({ extraLength: "\xff\x00" }), end()]],
    ["zip/compressed", "deflate", [local(), "hi", central({ method: "\x08\x00" }), end()]],
    ["zip/compressed", "deflate in the local header", [local({ method: "\x08\x00" }), "hi", central(), end()]],
    ["zip/encrypted", "encrypted", [local(), "hi", central({ flags: "\x09\x08" }), end()]],
    ["zip/encrypted", "encrypted in the local header", [local({ flags: "\x09\x08" }), "hi", central(), end()]],
    ["zip/size", "two sizes", [local(), "hi", central({ sizes: "\x02\x00\x00\x00\x03\x00\x00\x00" }), end()]],
    ["zip/bounds", "content beyond the directory", [local(), "hi", central({ sizes: "\x03\x00\x00\x00\x03\x00\x00\x00" }), end()]],
    ["zip/bounds", "a header beyond the archive", [local(), "hi", central({ at: "\xfe\xff\xff\xff" }), end()]],
    ["zip/bounds", "a first record after the start", [local(), "hi", central({ at: "\x01\x00\x00\x00", sizes: "\x00".repeat(8) }), end()]],
    ["zip/zip64", "64-bit sizes that are missing", [local(), "hi", central({ sizes: "\xff".repeat(8) }), end()]],
    ["zip/local-header", "another name", [local({ name: "a/y" }), "hi", central(), end()]],
    ["zip/local-header", "another size", [local({ sizes: "\x01\x00\x00\x00\x01\x00\x00\x00" }), "hi", central(), end()]],
    ["zip/local-header", "no size and no promise of one", [local({ flags: "\x00\x00" }), "hi", central(), end()]],
    ["zip/local-header", "another CRC", [local({ crc: "\x01\x00\x00\x00" }), "hi", central({ crc: "\x02\x00\x00\x00" }), end()]],
    ["zip/crc", "wrong content", [local(), "hi", central({ crc: "\x02\x00\x00\x00" }), end()]]
  ] as ReadonlyArray<[string, string, ReadonlyArray<string | Uint8Array>]>)("%s: %s", (code, _what, parts) => {
    expect(refused(...parts)).toBe(code)
  })

  it("zip/duplicate: two records of one name", () => {
    const twice = archiveOf([{ name: "a/x", content: bytes("1") }, { name: "a/x", content: bytes("2") }])
    expect(codeOf(() => directory(twice))).toBe("zip/duplicate")
  })

  it("zip/bounds: records that share bytes", () => {
    const two = Buffer.from(archiveOf([{ name: "a/x", content: bytes("1") }, { name: "a/y", content: bytes("2") }]))
    const second = two.lastIndexOf("PK\x01\x02")
    two.writeUInt32LE(0, second + 42)
    expect(codeOf(() => directory(two))).toBe("zip/bounds")
  })

  it("zip/local-header: a header that is none, or that hides its content", () => {
    const shifted = Buffer.from(plain)
    shifted[28] = 1
    expect(codeOf(() => content(shifted))).toBe("zip/local-header")
    const two = Buffer.from(archiveOf([{ name: "a/x", content: bytes("1") }, { name: "a/y", content: bytes("2") }]))
    two[two.indexOf("PK\x03\x04", 1)] = 0x51
    expect(codeOf(() => content(two, "a/y"))).toBe("zip/local-header")
  })

  it("zip/zip64: end records that disagree, or a locator that lies", () => {
    const good = fixture("extra_state_none.pt")
    const change = (at: number, value: number) => {
      const bad = Buffer.from(good)
      bad[good.length - at] = value
      return codeOf(() => directory(bad))
    }
    expect(change(22 + 20 - 8, 0)).toBe("zip/zip64")
    expect(change(22 + 20 + 56 - 40, 1)).toBe("zip/zip64")
    expect(change(22 + 20 + 56, 0)).toBe("zip/zip64")
    expect(change(22 - 8, 5)).toBe("zip/disks")
  })

  it("zip/limit: more records, or a larger record, than is sensible", () => {
    const forged = Buffer.from(fixture("extra_state_none.pt"))
    const end64 = forged.length - 98
    forged.writeBigUInt64LE(10n ** 6n, end64 + 24)
    forged.writeBigUInt64LE(10n ** 6n, end64 + 32)
    forged.fill(0xff, forged.length - 14, forged.length - 10)
    expect(codeOf(() => directory(forged))).toBe("zip/limit")
    expect(codeOf(() => parseBytes(plain, readRecord(directory(plain).get("a/x")!, 1)))).toBe("zip/limit")
  })

  it("zip/short-read: a file that ends early", async () => {
    const read = async () => new Uint8Array(3)
    await expect(fromReader(plain.length, read, readDirectory(plain.length))).rejects.toMatchObject({ code: "zip/short-read" })
    expect(codeOf(() => parseBytes(plain, readDirectory(plain.length + 10)))).toBe("zip/short-read")
  })

  it("names the record", () => {
    expect(() => parseBytes(plain, contentOffset({ ...directory(plain).get("a/x")!, name: "a/z" }))).toThrow(
      expect.objectContaining({ place: { offset: 0, record: "a/z" } })
    )
  })
})
