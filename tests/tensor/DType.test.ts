import { describe, expect, it } from "vitest"
import { bitsOf, bytesOf, dtypes, isDType, isFloat, torchName } from "../../src/tensor/DType.ts"

describe("dtypes", () => {
  it("are the 22 of safetensors", () => {
    expect(dtypes.length).toBe(22)
    expect(isDType("BF16")).toBe(true)
    expect(isDType("constructor")).toBe(false)
  })

  it("have a size in bits; those below a byte have no address", () => {
    expect(dtypes.map((d) => [d, bitsOf(d)])).toContainEqual(["F6_E2M3", 6])
    expect(bytesOf("C64")).toBe(8)
    expect(() => bytesOf("F4")).toThrow("F4 elements have no byte address")
  })

  it("have torch's names, each one of its own", () => {
    expect(torchName("F8_E4M3")).toBe("float8_e4m3fn")
    const names = dtypes.flatMap((dtype) => torchName(dtype) ?? [])
    expect(new Set(names).size).toBe(names.length)
  })

  it("four of them are what a cast is for", () => {
    expect(dtypes.filter(isFloat)).toEqual(["F16", "BF16", "F32", "F64"])
  })
})
