import { describe, expect, it } from "vitest"
import { LARGEST_HEADER, parseHeader, readHeaderLength } from "../../src/safetensors/Header.ts"
import { dtypes } from "../../src/tensor/DType.ts"
import { cpuMs } from "../measure/cpu.ts"
import { file, lengthField, refusal } from "./literal.ts"

const A = `"a":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}`
/** The entry of `a` with one part replaced. */
const entry = ({ dtype = "\"I32\"", more = "", offsets = "[0,16]", shape = "[2,2]" }) =>
  `{"a":{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}${more}}}`

const names = (bytes: Uint8Array) => parseHeader(bytes).tensors.map(({ name }) => name)

describe("a header", () => {
  it("places tensors in the file", () => {
    const whole = Buffer.from(
      `\x3b\0\0\0\0\0\0\0{"test":{"dtype":"U8","shape":[1,2],"data_offsets":[0,2]}} \x07\x08`,
      "latin1"
    )
    expect(parseHeader(whole)).toEqual({
      headerBytes: Uint8Array.from(whole.subarray(0, 67)),
      dataStart: 67,
      fileSize: 69,
      metadata: undefined,
      tensors: [{ name: "test", dtype: "U8", shape: [1, 2], begin: 67, end: 69 }]
    })
  })

  it("is enough: the data need not be at hand", () => {
    const whole = file(`{${A}}`, 16)
    expect(parseHeader(whole.subarray(0, whole.length - 16), whole.length)).toEqual(parseHeader(whole))
  })

  it("may name tensors in another order than their data", () => {
    const json = `{"b":{"dtype":"U8","shape":[1],"data_offsets":[16,17]},${A}}`
    expect(names(file(json, 17))).toEqual(["a", "b"])
  })

  it("may hold nothing, or metadata only", () => {
    expect(parseHeader(file("{}"))).toMatchObject({ metadata: undefined, tensors: [] })
    expect(parseHeader(file(`{"__metadata__":{}}`))).toMatchObject({ metadata: new Map(), tensors: [] })
    expect(parseHeader(file(`{"__metadata__":{"format":"pt","ü":"\\n"}}`)).metadata).toEqual(new Map([["format", "pt"], ["ü", "\n"]]))
  })

  it("may be surrounded by white space", () => {
    expect(names(file(` \t\r\n{${A}}\r\n\t `, 16))).toEqual(["a"])
  })

  it("may hold fields nobody knows", () => {
    expect(names(file(entry({ more: `,"later":{"x":[1,null,{"y":2.5}]}` }), 16))).toEqual(["a"])
  })

  it("may hold scalars, and empty tensors at any boundary", () => {
    const empty = (name: string, at: number) => `"${name}":{"dtype":"F32","shape":[0,7],"data_offsets":[${at},${at}]}`
    const json = `{"s":{"dtype":"F64","shape":[],"data_offsets":[16,24]},${empty("x", 0)},${empty("y", 16)},${A},${empty("z", 24)}}`
    expect(names(file(json, 24))).toEqual(["x", "a", "y", "s", "z"])
  })

  it.each(["", "__proto__", "constructor", "../../etc/passwd", "\u001b[31m", "\u202e", "x".repeat(40_000), "é", "e\u0301", "\0"])(
    "may name a tensor %j",
    (name) => expect(names(file(`{${JSON.stringify(name)}:{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1))).toEqual([name])
  )

  it.each(dtypes)("knows %s", (dtype) => {
    const bits = dtype === "F4" ? 4 : dtype.startsWith("F6_") ? 6 : dtype === "BOOL" || /8/.test(dtype) ? 8 : Number(/\d+/.exec(dtype)![0])
    const json = entry({ dtype: `"${dtype}"`, shape: "[3,8]", offsets: `[0,${3 * bits}]` })
    expect(parseHeader(file(json, 3 * bits)).tensors).toMatchObject([{ dtype, shape: [3, 8] }])
  })

  it("may have exactly the largest length", () => {
    expect(readHeaderLength(lengthField(BigInt(LARGEST_HEADER)), 2 ** 40)).toBe(LARGEST_HEADER)
  })
})

/** Every way a header can be wrong: file, code, byte offset of the complaint and tensor. */
const wrongs: ReadonlyArray<readonly [string, Uint8Array, string, number, string?]> = [
  ["an empty file", new Uint8Array(0), "file-too-short", 0],
  ["seven bytes", new Uint8Array(7), "file-too-short", 0],
  ["a header of no bytes", file(""), "header-empty", 0],
  ["one byte above the limit", lengthField(100_000_001n), "header-too-large", 0],
  ["a length with a bit in the high word", lengthField(1n << 32n), "header-too-large", 0],
  ["a negative length", lengthField(1n << 63n), "header-too-large", 0],
  ["the largest length", lengthField((1n << 64n) - 1n), "header-too-large", 0],
  ["a header longer than the file", Uint8Array.from([...lengthField(3n), 0x7b, 0x7d]), "header-truncated", 0],

  ["bytes that are not UTF-8", file(Uint8Array.from([0x7b, 0x22, 0xff, 0x22])), "header-utf8", 10],
  ["a byte order mark", file("\ufeff{}"), "header-bom", 8],
  ["an array", file("[]"), "header-not-object", 8],
  ["a leading NUL", file("\0{}"), "header-not-object", 8],
  ["a missing brace", file(`{${A}`, 16), "header-syntax", 8 + A.length + 1],
  ["a comma before the end", file(`{${A},}`, 16), "header-syntax", 8 + A.length + 2],
  ["padding of NULs", file("{}\0\0"), "header-trailing", 10],
  ["two documents", file("{}{}"), "header-trailing", 10],
  ["a raw control character", file(`{"a\u0001":1}`), "header-control-character", 11],
  ["half a surrogate pair", file(`{"\\ud800":1}`), "header-lone-surrogate", 10],
  ["a tensor twice", file(`{${A},${A}}`, 16), "header-duplicate-key", 10 + A.length, "a"],
  ["a tensor twice, once escaped", file(`{${A},"\\u0061":{}}`, 16), "header-duplicate-key", 10 + A.length, "a"],
  ["metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`), "header-duplicate-key", 27, "__metadata__"],
  ["a metadata key twice", file(`{"__metadata__":{"k":"v","k":"v"}}`), "header-duplicate-key", 33],
  ["a field twice", file(entry({ more: `,"dtype":"I32"` }), 16), "header-duplicate-key", 64, "a"],
  ["an unknown field twice", file(entry({ more: `,"x":1,"x":1` }), 16), "header-duplicate-key", 70, "a"],
  ["NaN in an unknown field", file(entry({ more: `,"x":NaN` }), 16), "header-non-finite", 68, "a"],
  ["an unknown number beyond doubles", file(entry({ more: `,"x":1e999` }), 16), "header-number-range", 68, "a"],
  ["a bottomless unknown field", file(entry({ more: `,"x":${"[".repeat(200)}` }), 16), "header-depth", 68 + 126, "a"],
  ["an unknown field of three million values", file(entry({ more: `,"x":[${"0,".repeat(3_000_000)}0]` }), 16), "header-too-many-values", 4_000_067, "a"],

  ["metadata that is null", file(`{"__metadata__":null}`), "metadata", 24],
  ["metadata that is no string", file(`{"__metadata__":{"a":1}}`), "metadata", 29],
  ["nested metadata", file(`{"__metadata__":{"a":{}}}`), "metadata", 29],

  ["an entry as an array", file(`{"a":["I32",[2,2],[0,16]]}`, 16), "entry-not-object", 13, "a"],
  ["no dtype", file(`{"a":{"shape":[],"data_offsets":[0,1]}}`, 1), "missing-field", 13, "a"],
  ["no shape", file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "missing-field", 13, "a"],
  ["no data_offsets", file(`{"a":{"dtype":"U8","shape":[]}}`), "missing-field", 13, "a"],
  ["an unknown dtype", file(entry({ dtype: "\"f32\"" }), 16), "dtype", 22, "a"],
  ["a dtype that is a number", file(entry({ dtype: "32" }), 16), "dtype", 22, "a"],
  ["a shape that is a number", file(entry({ shape: "4" }), 16), "not-an-array", 36, "a"],
  ["offsets that are null", file(entry({ offsets: "null" }), 16), "not-an-array", 57, "a"],
  ...["2.0", "2e0", "-0", "-2", "\"2\"", "true", "null", "[2]"].map((two) =>
    [`the dimension ${two}`, file(entry({ shape: `[2,${two}]` }), 16), "not-unsigned", 39, "a"] as const
  ),
  ["an offset with a point", file(entry({ offsets: "[0,16.0]" }), 16), "not-unsigned", 60, "a"],
  ["the dimension 2^53", file(entry({ shape: "[0,9007199254740992]", offsets: "[0,0]" })), "integer-too-large", 39, "a"],
  ["the dimension 2^64", file(entry({ shape: "[18446744073709551616]" }), 16), "integer-too-large", 37, "a"],
  ["one offset", file(entry({ offsets: "[16]" }), 16), "offset-count", 13, "a"],
  ["three offsets", file(entry({ offsets: "[0,16,0]" }), 16), "offset-count", 13, "a"],
  ["offsets that run backwards", file(entry({ offsets: "[16,0]" }), 16), "offsets-reversed", 13, "a"],
  ["a shape that wraps around", file(entry({ shape: "[4294967296,4294967296]", offsets: "[0,0]" })), "size-overflow", 13, "a"],
  ["a shape that overflows before its zero", file(entry({ shape: "[4294967296,4294967296,0]", offsets: "[0,0]" })), "size-overflow", 13, "a"],
  ["a shape that overflows after its zero", file(entry({ shape: "[0,4294967296,4294967296]", offsets: "[0,0]" })), "size-overflow", 13, "a"],
  ["three halves of a byte", file(entry({ dtype: "\"F4\"", shape: "[3]", offsets: "[0,2]" }), 2), "sub-byte", 13, "a"],
  ["fewer bytes than the shape needs", file(entry({ offsets: "[0,15]" }), 15), "size-mismatch", 13, "a"],
  ["a scalar of no bytes", file(entry({ shape: "[]", offsets: "[0,0]" })), "size-mismatch", 13, "a"],
  ["data cut short", file(`{${A}}`, 15), "data-truncated", 13, "a"],

  ["two tensors in one place", file(`{${A},"b":${A.slice(4)}}`, 16), "overlap", 121, "b"],
  ["an empty tensor inside another", file(`{${A},"z":{"dtype":"U8","shape":[0],"data_offsets":[8,8]}}`, 16), "overlap", 125, "z"],
  ["bytes before the first tensor", file(entry({ offsets: "[4,20]" }), 20), "hole", 65, "a"],
  ["bytes between tensors", file(`{${A},"b":{"dtype":"U8","shape":[],"data_offsets":[20,21]}}`, 21), "hole", 134, "b"],
  ["bytes after the last tensor", file(`{${A}}`, 17), "trailing-data", 81],
  ["bytes after no tensor", file("{}", 1), "trailing-data", 10]
]

describe("a header is refused for", () => {
  it.each(wrongs.map((wrong) => [wrong[0], wrong] as const))("%s", (_, [, bytes, code, offset, tensor]) => {
    const error = refusal(() => parseHeader(bytes))
    expect({ code: error.code, offset: error.place.offset, tensor: error.place.tensor })
      .toEqual({ code: `safetensors/${code}`, offset, tensor })
  })

  it("a reason that can be read", () => {
    const problem = (bytes: Uint8Array) => refusal(() => parseHeader(bytes)).message
    expect(problem(file(entry({ offsets: "[0,15]" }), 15))).toBe("I32 [2,2] needs 16 bytes, data_offsets has 15")
    expect(problem(file(`{${A}}`, 15))).toBe("its data should end at byte 16 after the header, but the file has only 15 there: it is cut short")
    expect(problem(file(`{${A},"b":${A.slice(4)}}`, 16))).toBe("begins at byte 121, inside tensor a")
    expect(problem(lengthField(1n << 63n))).toBe("the header claims 9223372036854775808 bytes, the format allows 100000000")
  })
})

it("more tensors or longer names than any model has are not read", () => {
  const many = Array.from({ length: 400_002 }, (_, i) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`)
  expect(() => parseHeader(file(`{${many.join(",")}}`))).toThrow("more than 400000 tensors")
  const long = "n".repeat(65_537)
  expect(() => parseHeader(file(`{"${long}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`))).toThrow("a name of 65537 characters; at most 65536 are read")
})

it("a hundred thousand tensors take no longer than reading them takes", () => {
  const entries = Array.from({ length: 100_000 }, (_, i) =>
    `"model.language_model.layers.${i % 100}.mlp.experts.${i}.gate_proj.weight":{"dtype":"BF16","shape":[64,1024],"data_offsets":[${i * 131072},${(i + 1) * 131072}]}`)
  const header = file(`{${entries.join(",")}}`)
  // Half a second is usual.
  expect(cpuMs(() => expect(parseHeader(header, header.length + 100_000 * 131072).tensors).toHaveLength(100_000))).toBeLessThan(5000)
})
