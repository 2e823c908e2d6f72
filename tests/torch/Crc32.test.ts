import { describe, expect, it } from "vitest"
import { crc32, crc32Combine } from "../../src/torch/Crc32.ts"
import { random } from "./tools.ts"

describe("crc32Combine", () => {
  it("is the CRC of the two pieces together", () => {
    const { below } = random(7)
    for (let round = 0; round < 200; round++) {
      const data = Uint8Array.from({ length: below(400) }, () => below(256))
      const cut = below(data.length + 1)
      const [a, b] = [data.subarray(0, cut), data.subarray(cut)]
      expect(crc32Combine(crc32(a), crc32(b), b.length)).toBe(crc32(data))
    }
  })

  it("knows lengths beyond 4 GiB: a period of 2^32-1 zero bytes changes nothing", () => {
    const crc = crc32("abc")
    const zeros = (length: number) => crc32Combine(0, 0, length)
    expect(zeros(0xffffffff)).toBe(0)
    expect(crc32Combine(crc, 0, 0xffffffff * 3)).toBe(crc)
    expect(crc32Combine(crc, 0, 0xffffffff + 1)).toBe(crc32Combine(crc, 0, 1))
    expect(crc32Combine(crc, 0, 2 ** 53 - 1)).not.toBe(crc)
  })

  it("leaves the CRC alone when nothing follows", () => {
    expect(crc32Combine(123, 0, 0)).toBe(123)
  })
})
