import { describe, expect, it } from "vitest"
import { fillWeights, canBeGenerated, seedOf } from "../../src/conformance/WeightGenerator.ts"
import { bytesOf, type DType, dtypes } from "../../src/tensor/DType.ts"

const weights = (name: string, dtype: DType, first: number, count: number, fp32Islands = false): Uint8Array => {
  const bytes = new Uint8Array(count * bytesOf(dtype))
  fillWeights(bytes, name, dtype, first, { fp32Islands })
  return bytes
}

/** One element, most significant byte first. */
const hex = (name: string, dtype: DType, index: number, fp32Islands = false): string =>
  Buffer.from(weights(name, dtype, index, 1, fp32Islands).reverse()).toString("hex")

const GENERATED = dtypes.filter(canBeGenerated)

describe("test vectors of the scheme", () => {
  it.each([
    ["model.embed_tokens.weight", 0, 0x403ade76, "be2b", "be2b0000", "be2bf412", "c2ab", "ab", "ab", 43],
    ["model.layers.0.self_attn.q_proj.weight", 12345, 0x1af1383b, "bb2a", "bb2a0000", "bb2a0b37", "a8aa", "aa", "aa", 42],
    ["mlp.experts.gate_up_proj_scales", 63999, 0xd0543dc8, "bd8a", "bd8a0000", "bd8ae255", "bd0a", "8a", "7a", 10]
  ])("%s[%i]", (name, i, seed, bf16, f32, islands, f16, f8, u8, integer) => {
    expect(seedOf(name)).toBe(seed)
    expect(hex(name, "BF16", i)).toBe(bf16)
    expect(hex(name, "F32", i)).toBe(f32)
    expect(hex(name, "F32", i, true)).toBe(islands)
    expect(hex(name, "F16", i)).toBe(f16)
    expect(hex(name, "F8_E4M3", i)).toBe(f8)
    expect(hex(name, "F8_E5M2", i)).toBe(f8)
    expect(hex(name, "U8", i)).toBe(u8)
    expect(hex(name, "I8", i)).toBe(integer.toString(16).padStart(2, "0"))
    expect(hex(name, "I32", i)).toBe(integer.toString(16).padStart(8, "0"))
    expect(hex(name, "I64", i)).toBe(integer.toString(16).padStart(16, "0"))
  })

  it("takes the index modulo 2^32, however large it is", () => {
    expect(hex("a.b", "BF16", 2 ** 32 + 5)).toBe("3dc4")
    expect(hex("a.b", "BF16", 5)).toBe("3dc4")
    expect(hex("a.b", "BF16", 100_000_000_000)).toBe("3d84")
    expect(hex("a.b", "BF16", Number.MAX_SAFE_INTEGER)).toBe("3c86")
  })

  it("hashes the UTF-8 bytes of the name", () => {
    expect(seedOf("")).toBe(0x811c9dc5)
    expect(seedOf("a")).toBe(0xe40c292c)
    expect(seedOf("é")).not.toBe(seedOf("\u00c3\u00a9"))
  })
})

describe("fillWeights", () => {
  it.each(GENERATED)("%s: any range is that range of the whole tensor", (dtype) => {
    const whole = weights("x.weight", dtype, 0, 301, true)
    const width = bytesOf(dtype)
    for (const [first, count] of [[0, 1], [1, 1], [0, 2], [1, 2], [3, 298], [7, 0], [150, 151], [300, 1]] as const) {
      expect(weights("x.weight", dtype, first, count, true)).toEqual(whole.subarray(first * width, (first + count) * width))
    }
  })

  it.each(GENERATED)("%s: fills exactly the view it is given, wherever that lies in its buffer", (dtype) => {
    const width = bytesOf(dtype)
    const expected = weights("x.weight", dtype, 5, 9)
    for (let offset = 0; offset < 9; offset++) {
      const buffer = new Uint8Array(9 * width + 32).fill(0xee)
      fillWeights(buffer.subarray(offset, offset + 9 * width), "x.weight", dtype, 5, { fp32Islands: false })
      expect(buffer.subarray(offset, offset + 9 * width)).toEqual(expected)
      expect(buffer.subarray(0, offset).every((b) => b === 0xee)).toBe(true)
      expect(buffer.subarray(offset + 9 * width).every((b) => b === 0xee)).toBe(true)
    }
  })

  it("BF16 is the high half of F32", () => {
    const halves = new Uint16Array(weights("n", "F32", 0, 64).buffer)
    expect([...new Uint16Array(weights("n", "BF16", 0, 64).buffer)]).toEqual([...halves].filter((_, i) => i % 2 === 1))
  })

  it("never makes an infinity or a NaN", () => {
    const floats = new Float32Array(weights("n", "F32", 0, 4096, true).buffer)
    expect(floats.every((x) => Math.abs(x) >= 2 ** -9 && Math.abs(x) < 2 ** -1)).toBe(true)
    expect(weights("n", "F8_E4M3", 0, 4096).some((b) => (b & 0x7f) === 0x7f)).toBe(false)
  })

  it("refuses a dtype that the scheme does not define", () => {
    expect(() => weights("n", "F64", 0, 1)).toThrowError(
      expect.objectContaining({ code: "conformance/dtype", message: "the weight scheme has no F64 values", place: { tensor: "n" } })
    )
  })

  it("refuses half an element and an index that is none", () => {
    expect(() => fillWeights(new Uint8Array(3), "n", "BF16", 0, { fp32Islands: false })).toThrow(RangeError)
    expect(() => fillWeights(new Uint8Array(2), "n", "BF16", -1, { fp32Islands: false })).toThrow(RangeError)
    expect(() => fillWeights(new Uint8Array(2), "n", "BF16", 2 ** 53, { fp32Islands: false })).toThrow(RangeError)
  })
})
