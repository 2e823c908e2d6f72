import { createHash } from "node:crypto"
import { describe, expect, it } from "vitest"
import type { DType } from "../../src/tensor/DType.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { parseBytes } from "../../src/torch/Ranges.ts"
import { fillsItsStorage, parseTensorItem, readTensorItem, storedItem, tensorItem } from "../../src/torch/TensorItem.ts"
import { tensorPickle } from "../../src/torch/TensorPickle.ts"
import { archiveOf } from "../../src/torch/ZipWriter.ts"
import { bytes, codeOf, fixture } from "./tools.ts"

const parse = (item: Uint8Array) => parseBytes(item, parseTensorItem(item.length))
const write = (dtype: DType, shape: ReadonlyArray<number>, data: Uint8Array) => {
  const item = tensorItem(dtype, shape)
  return Buffer.concat([item.prefix, data, item.suffix(crc32(data))])
}

describe("writing", () => {
  it.each([
    ["t_bf16_2x3.pt", "BF16", [2, 3]],
    ["t_bf16_1x2x3.pt", "BF16", [1, 2, 3]],
    ["t_bf16_1x1x2x3.pt", "BF16", [1, 1, 2, 3]],
    ["t_bf16_5d.pt", "BF16", [32, 3, 2, 4, 4]],
    ["t_e4m3.pt", "F8_E4M3", [2, 3]],
    ["t_i64_0d.pt", "I64", []]
  ] as ReadonlyArray<[string, DType, ReadonlyArray<number>]>)("%s is what torch 2.13 writes", (name, dtype, shape) => {
    const torch = fixture(name)
    const { dataLength, dataOffset } = parse(torch)
    const item = tensorItem(dtype, shape)
    expect(write(dtype, shape, torch.subarray(dataOffset, dataOffset + dataLength))).toEqual(torch)
    expect(item.length).toBe(torch.length)
    expect(item.prefix.length + item.dataLength + item.suffixLength).toBe(item.length)
  })

  it("every dtype and many shapes are what torch 2.13 writes", () => {
    const cases = JSON.parse(fixture("items.json").toString()) as ReadonlyArray<[DType, ReadonlyArray<number>, number, string]>
    expect(cases).toHaveLength(266)
    for (const [dtype, shape, length, sha256] of cases) {
      const data = Uint8Array.from({ length: tensorItem(dtype, shape).dataLength }, (_, i) => dtype === "BOOL" ? i * 7 % 251 % 2 : i * 7 % 251)
      const item = write(dtype, shape, data)
      expect([dtype, shape, item.length, createHash("sha256").update(item).digest("hex")]).toEqual([dtype, shape, length, sha256])
    }
  })

  it("the zip64 forms around 4 GiB are what torch 2.13 writes", () => {
    const cases = JSON.parse(fixture("zip64.json").toString()) as Record<string, { prefix: string; suffix: string; length: number }>
    for (const [size, torch] of Object.entries(cases)) {
      const item = tensorItem("U8", [Number(size)])
      const suffix = Buffer.from(torch.suffix, "hex")
      expect(Buffer.from(item.prefix).toString("hex")).toBe(torch.prefix)
      expect(Buffer.from(item.suffix(suffix.readUInt32LE(4))).toString("hex")).toBe(torch.suffix)
      expect(item.length).toBe(torch.length)
    }
  })

  it("gives the same item for the same dtype and shape", () => {
    expect(tensorItem("BF16", [7, 9])).toBe(tensorItem("BF16", [7, 9]))
  })

  it("refuses dtypes that torch does not have, and impossible shapes", () => {
    expect(codeOf(() => tensorItem("F4", [2]))).toBe("torch/dtype")
    expect(codeOf(() => tensorItem("BF16", [-1]))).toBe("torch/shape")
    expect(codeOf(() => tensorItem("BF16", [2 ** 40, 2 ** 40]))).toBe("torch/shape")
    expect(codeOf(() => tensorItem("BF16", Array.from({ length: 65 }, () => 1)))).toBe("torch/shape")
  })
})

describe("reading", () => {
  it("finds dtype, shape and data of torch's items", () => {
    expect(parse(fixture("t_e4m3.pt"))).toEqual({
      dtype: "F8_E4M3", shape: [2, 3], strides: [3, 1], storageOffset: 0, key: "0", storageLength: 6,
      dataOffset: 768, dataLength: 6, crc32: expect.any(Number)
    })
  })

  it.each([
    ["view_transposed.pt", [6, 4], [1, 6], 0, 96],
    ["view_window.pt", [2, 3], [6, 1], 8, 96],
    ["view_expanded.pt", [5, 3], [0, 1], 0, 12]
  ])("%s is a view of its storage", (name, shape, strides, storageOffset, dataLength) => {
    const item = parse(fixture(name))
    expect(item).toMatchObject({ shape, strides, storageOffset, dataLength })
    expect(fillsItsStorage(item)).toBe(false)
  })

  it("reads a parameter as its tensor, and CRC 0 as not computed", () => {
    expect(fillsItsStorage(parse(fixture("parameter.pt")))).toBe(true)
    expect(parse(fixture("crc_not_computed.pt"))).toMatchObject({ shape: [4, 6], crc32: 0 })
  })

  it("reads the layout of older torch: fewer records, another root", () => {
    const content = Uint8Array.of(1, 2, 3)
    const item = archiveOf([
      { name: "other/data.pkl", content: tensorPickle("U8", [3]) },
      { name: "other/data/0", content },
      { name: "other/version", content: bytes("3\n") }
    ])
    expect(parse(item)).toMatchObject({ shape: [3], crc32: crc32(content) })
  })

  it("finds 4 GiB records", async () => {
    const item = tensorItem("U8", [0x100000001])
    const suffix = item.suffix(5)
    const dataEnd = item.prefix.length + item.dataLength
    const read = async (offset: number, length: number) =>
      offset === 0
        ? Buffer.concat([item.prefix, new Uint8Array(length - item.prefix.length)])
        : Buffer.concat([new Uint8Array(dataEnd - offset), suffix]).subarray(0, length)
    expect(await readTensorItem(item.length, read)).toMatchObject({ shape: [0x100000001], dataOffset: 704, crc32: 5 })
  })

  it("an item as we write it is recognised by what stands around its data", () => {
    const torch = fixture("t_bf16_2x3.pt")
    const item = tensorItem("BF16", [2, 3])
    expect(torch.subarray(0, item.prefix.length).equals(item.prefix)).toBe(true)
    const suffix = torch.subarray(torch.length - item.suffixLength)
    expect(storedItem(item, item.crcIn(suffix)!)).toEqual(parse(torch))
    expect(tensorItem("BF16", [3, 2]).prefix).not.toEqual(item.prefix)
    const empty = write("BF16", [0], new Uint8Array(0))
    const none = tensorItem("BF16", [0])
    expect(storedItem(none, none.crcIn(empty.subarray(none.prefix.length))!)).toEqual(parse(empty))
  })

  it("a suffix with any byte changed, but for the id that nothing reads, or of another length is none", () => {
    const item = tensorItem("BF16", [2, 3])
    const suffix = Buffer.from(item.suffix(0x12345678))
    expect(item.crcIn(suffix)).toBe(0x12345678)
    const accepted = [...suffix.keys()].filter((at) => {
      const changed = Buffer.from(suffix)
      changed[at]! ^= 1
      return item.crcIn(changed) !== undefined
    })
    const id = suffix.indexOf(/\d{40}/.exec(suffix.toString("latin1"))![0])
    // The 40 digits, and their CRC-32 behind them and in the directory.
    expect(accepted.filter((at) => at >= id && at < id + 48)).toHaveLength(48)
    expect(accepted).toHaveLength(52)
    expect(item.crcIn(suffix.subarray(1))).toBeUndefined()
    expect(item.crcIn(new Uint8Array(0))).toBeUndefined()
  })
})

describe("refusals", () => {
  const pickled = (pickle: Uint8Array, data = Uint8Array.of(1, 2, 3), more: ReadonlyArray<{ name: string; content: Uint8Array }> = []) =>
    archiveOf([
      { name: "a/data.pkl", content: pickle },
      { name: "a/data/0", content: data },
      { name: "a/version", content: bytes("3\n") },
      ...more
    ])
  const refused = (item: Uint8Array) => codeOf(() => parse(item))
  /** `_rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict(), extra)` with these opcodes. */
  const tensor = (over: { kind?: string; key?: string; offset?: string; size?: string; stride?: string; extra?: string } = {}) =>
    bytes("\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n", over.kind ?? "ByteStorage", "\n",
      over.key ?? "X\x01\x00\x00\x000", "X\x03\x00\x00\x00cpuK\x03tQ", over.offset ?? "K\x00", over.size ?? "K\x03\x85",
      over.stride ?? "K\x01\x85", "\x89ccollections\nOrderedDict\n)R", over.extra ?? "", "tR.")

  it("takes the pickle the refusals below vary", () => {
    expect(parse(pickled(tensor()))).toMatchObject({ dtype: "U8", shape: [3] })
    expect(parse(pickled(tensor({ extra: "N" })))).toMatchObject({ dtype: "U8", shape: [3] })
  })

  it.each([
    ["torch/tensor", "a list", bytes("\x80\x02].")],
    ["torch/tensor", "a key that is a path", tensor({ key: "X\x04\x00\x00\x00../0" })],
    ["torch/tensor", "a negative size", tensor({ size: "J\xff\xff\xff\xff\x85" })],
    ["torch/tensor", "a size that is no integer", tensor({ size: "N\x85" })],
    ["torch/tensor", "a size beyond 2^53", tensor({ size: "\x8a\x08\x00\x00\x00\x00\x00\x00\x20\x00\x85" })],
    ["torch/tensor", "fewer strides than sizes", tensor({ stride: ")" })],
    ["torch/tensor", "too many elements", tensor({ size: "\x8a\x06\x00\x00\x00\x00\x00\x01".repeat(2) + "\x86", stride: "K\x00K\x00\x86" })],
    ["torch/tensor", "a conjugate view", tensor({ extra: "}X\x04\x00\x00\x00conj\x88s" })],
    ["torch/dtype", "complex128", tensor({ kind: "ComplexDoubleStorage" })],
    ["torch/bounds", "a shape larger than the storage", tensor({ size: "K\x04\x85" })],
    ["torch/bounds", "an offset out of the storage", tensor({ offset: "K\x01" })],
    ["torch/bounds", "a stride out of the storage", tensor({ stride: "K\x02\x85" })],
    ["torch/no-data", "another storage", tensor({ key: "X\x01\x00\x00\x001" })],
    ["pickle/global", "a class of another kind", tensor({ kind: "load" })]
  ])("%s: %s", (code, _what, pickle) => {
    expect(refused(pickled(pickle))).toBe(code)
  })

  it("torch/data-size: data shorter or longer than the tensor's storage", () => {
    expect(refused(pickled(tensor(), Uint8Array.of(1, 2)))).toBe("torch/data-size")
    expect(refused(pickled(tensor(), Uint8Array.of(1, 2, 3, 4)))).toBe("torch/data-size")
  })

  it("torch/byte-order: big-endian data", () => {
    expect(refused(pickled(tensor(), undefined, [{ name: "a/byteorder", content: bytes("big") }]))).toBe("torch/byte-order")
  })

  it("torch/version: no version, or one torch does not know", () => {
    const item = (version: ReadonlyArray<{ name: string; content: Uint8Array }>) =>
      refused(archiveOf([{ name: "a/data.pkl", content: tensor() }, { name: "a/data/0", content: bytes("abc") }, ...version]))
    expect(item([])).toBe("torch/version")
    expect(item([{ name: "a/version", content: bytes("11\n") }])).toBe("torch/version")
  })

  it("torch/no-pickle and torch/several-pickles", () => {
    expect(refused(archiveOf([{ name: "data.pkl", content: tensor() }]))).toBe("torch/no-pickle")
    expect(refused(pickled(tensor(), undefined, [{ name: "b/data.pkl", content: tensor() }]))).toBe("torch/several-pickles")
  })

  it("names the record in which a pickle is wrong, and the byte of the archive", () => {
    expect(() => parse(pickled(bytes("\x80\x02cos\nsystem\n.")))).toThrow(
      expect.objectContaining({ code: "pickle/global", place: { offset: 66, record: "a/data.pkl" } })
    )
  })
})
