import { describe, expect, it } from "vitest"
import { unpickle } from "../../src/torch/Pickle.ts"
import { PickleWriter } from "../../src/torch/PickleWriter.ts"
import type { PickleObject } from "../../src/torch/PickleValue.ts"
import { bytes, codeOf } from "./tools.ts"

const written = (write: (pickle: PickleWriter) => unknown) => {
  const pickle = new PickleWriter()
  write(pickle)
  return Buffer.from(pickle.stop())
}

describe("PickleWriter", () => {
  it.each([
    [0, "K\x00"], [255, "K\xff"], [256, "M\x00\x01"], [65535, "M\xff\xff"], [65536, "J\x00\x00\x01\x00"],
    [-1, "J\xff\xff\xff\xff"], [0x7fffffff, "J\xff\xff\xff\x7f"], [0x80000000, "\x8a\x05\x00\x00\x00\x80\x00"],
    [-0x80000001, "\x8a\x05\xff\xff\xff\x7f\xff"], [2n ** 63n, "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00"]
  ])("writes the integer %s in its shortest form", (value, form) => {
    expect(written((p) => p.int(value))).toEqual(bytes("\x80\x02", form, "."))
  })

  it("remembers strings apart from everything else", () => {
    const pickle = written((p) => p.sharedGlobal("m C").sharedText("global m C").sharedText("global m C").tupleOf(3))
    expect(pickle).toEqual(bytes("\x80\x02cm\nC\nq\x00X\x0a\x00\x00\x00global m Cq\x01h\x01\x87."))
  })

  it("uses long memo opcodes from entry 256 on", () => {
    const pickle = written((p) => {
      for (let i = 0; i <= 256; i++) p.emptyTuple().memoise(i)
      p.recall(256)
    })
    expect(pickle.subarray(-14)).toEqual(bytes("q\xff)r\x00\x01\x00\x00j\x00\x01\x00\x00."))
  })

  it("survives growth at every length", () => {
    for (let length = 960; length < 1030; length++) {
      const pickle = written((p) => p.text("x".repeat(length)).global("m C").emptyTuple().reduce().tupleOf(2))
      const [text, call] = unpickle(pickle, { globals: new Set(["m C"]) }) as [string, PickleObject]
      expect([text.length, call.global.id]).toEqual([length, "m C"])
    }
  })

  it("refuses what has no exact form", () => {
    expect(codeOf(() => new PickleWriter().int(2 ** 53))).toBe("pickle/integer")
    expect(codeOf(() => new PickleWriter().int(0.5))).toBe("pickle/integer")
    expect(codeOf(() => new PickleWriter().text("\ud800"))).toBe("pickle/text")
  })
})
