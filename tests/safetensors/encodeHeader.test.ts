import { describe, expect, it } from "vitest"
import { encodeHeader, inLibraryOrder } from "../../src/safetensors/encodeHeader.ts"
import { parseHeader } from "../../src/safetensors/Header.ts"
import type { TensorSpec } from "../../src/safetensors/Tensor.ts"
import { bitsOf, dtypes } from "../../src/tensor/DType.ts"
import { refusal, seeded } from "./literal.ts"

const json = (...args: Parameters<typeof encodeHeader>) => Buffer.from(encodeHeader(...args).headerBytes.subarray(8)).toString()

describe("an encoded header", () => {
  it("is compact JSON in the given order, metadata first, padded to a multiple of eight", () => {
    const tensors: ReadonlyArray<TensorSpec> = [
      { name: "w", dtype: "BF16", shape: [2, 3] },
      { name: "b", dtype: "F32", shape: [] }
    ]
    const text =
      `{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}`
    expect(json(tensors, new Map([["format", "pt"]]))).toBe(text.padEnd(144))
    expect(encodeHeader(tensors, new Map([["format", "pt"]]))).toMatchObject({
      dataStart: 152,
      fileSize: 168,
      tensors: [{ name: "w", begin: 152, end: 164 }, { name: "b", begin: 164, end: 168 }]
    })
  })

  it("begins with its length", () => {
    expect([...encodeHeader([]).headerBytes]).toEqual([8, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d, 32, 32, 32, 32, 32, 32])
  })

  it("tells empty metadata from none", () => {
    expect(json([])).toBe("{}      ")
    expect(json([], new Map())).toBe(`{"__metadata__":{}}     `)
  })

  it("escapes only what JSON must escape", () => {
    expect(json([{ name: "ü😀\u2028\u007f\n\u0001\"\\/", dtype: "U8", shape: [0] }]))
      .toContain(`{"ü😀\u2028\u007f\\n\\u0001\\"\\\\/":{`)
  })

  it("reads back as what was written", () => {
    const random = seeded(1)
    for (let round = 0; round < 200; round++) {
      const tensors = Array.from({ length: random(20) }, (_, i): TensorSpec => ({
        name: `${String.fromCodePoint(random(0xd800))}.${i}`,
        dtype: dtypes[random(dtypes.length)]!,
        shape: [...Array.from({ length: random(4) }, () => random(5)), 8]
      }))
      const metadata = random(2) ? new Map([["format", "pt"], [String.fromCodePoint(random(0xd800)), "\0"]]) : undefined
      const written = encodeHeader(tensors, metadata)
      const read = parseHeader(written.headerBytes, written.fileSize)
      expect(read.metadata).toEqual(metadata)
      expect(new Map(read.tensors.map((tensor) => [tensor.name, tensor]))).toEqual(
        new Map(written.tensors.map((tensor) => [tensor.name, tensor]))
      )
      expect(written.dataStart % 8).toBe(0)
      expect(written.fileSize - written.dataStart)
        .toBe(tensors.reduce((sum, { dtype, shape }) => sum + bitsOf(dtype) * shape.reduce((a, b) => a * b, 1) / 8, 0))
    }
  })
})

it("library order is wide dtypes first, then names by code point", () => {
  const tensors = [["BOOL", "a"], ["F32", "\u{1f600}"], ["F32", "\uff5e"], ["F32", "b"], ["I64", "z"], ["C64", "z"], ["U64", "y"], ["BF16", "a"], ["F16", "a"]] as const
  expect(inLibraryOrder(tensors.map(([dtype, name]) => ({ dtype, name, shape: [] }))).map(({ dtype, name }) => `${dtype} ${name}`))
    .toEqual(["U64 y", "I64 z", "C64 z", "F32 b", "F32 \uff5e", "F32 \u{1f600}", "BF16 a", "F16 a", "BOOL a"])
})

describe("a header is not written for", () => {
  const spec = (more: Partial<TensorSpec>): TensorSpec => ({ name: "a", dtype: "U8", shape: [1], ...more })

  it.each<[string, ReadonlyArray<TensorSpec>, string]>([
    ["two tensors of one name", [spec({}), spec({})], "name-taken"],
    ["a tensor named __metadata__", [spec({ name: "__metadata__" })], "name-taken"],
    ["a name with half of a surrogate pair", [spec({ name: "\ud800" })], "name-not-unicode"],
    ["a negative dimension", [spec({ shape: [-1] })], "not-unsigned"],
    ["a fractional dimension", [spec({ shape: [1.5] })], "not-unsigned"],
    ["a tensor of 2^54 bytes", [spec({ shape: [2 ** 27, 2 ** 27] })], "size-overflow"],
    ["tensors of 2^53 bytes together", [spec({ shape: [2 ** 52] }), spec({ name: "b", shape: [2 ** 52] })], "size-overflow"],
    ["half a byte", [spec({ dtype: "F4" })], "sub-byte"],
    ["more names than a reader accepts", [spec({ name: "x".repeat(100_000_000) })], "header-too-large"]
  ])("%s", (_, tensors, code) => expect(refusal(() => encodeHeader(tensors)).code).toBe(`safetensors/${code}`))
})
