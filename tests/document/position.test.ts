/** Where something stands in a document, found again by its name when an error is about to be told. */
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { atPath, decodeJson } from "../../src/document/decode.ts"
import { offsetInJson, offsetOfName, positioned } from "../../src/document/position.ts"
import { FormatError, InvalidFile } from "../../src/errors.ts"

const text = ' {"a": 1, "é": {"list": [0, {"x": true}]}, "c": NaN}'
const bytes = Buffer.from(text)
const at = (part: string): number => Buffer.from(text.slice(0, text.indexOf(part))).length

describe("a position", () => {
  it.each<readonly [path: ReadonlyArray<string | number>, part: string]>([
    [[], "{"],
    [["a"], "1"],
    [["é", "list"], "["],
    [["é", "list", 1, "x"], "true"],
    [["c"], "NaN"],
    // What is missing: the object in which it should be.
    [["é", "absent"], '{"list'],
    [["é", "list", 7], "["],
    [["a", "b"], "1"],
    [["absent"], "{"]
  ])("of %j", (path, part) => expect(offsetInJson(bytes, path)).toBe(at(part)))

  it("is as far as the document can be read", () => {
    expect(offsetInJson(Buffer.from('{"a": {"b": '), ["a", "b"])).toBe(12)
    expect(offsetInJson(Buffer.from("\ufeff{}"), ["a"])).toBe(0)
  })

  it("of a name is where it stands as a string, else where it stands at all", () => {
    expect(offsetOfName(Buffer.from('xa "a"'), "a")).toBe(3)
    expect(offsetOfName(Buffer.from("..key.."), "key")).toBe(2)
    expect(offsetOfName(Buffer.from("x"), "y")).toBe(undefined)
  })

  it("already known is kept, also that of a record", () => {
    expect(positioned({ tensor: "a", offset: 3 }, bytes)).toEqual({ tensor: "a", offset: 3 })
    expect(positioned({ record: "data.pkl" }, bytes)).toEqual({ record: "data.pkl" })
    expect(positioned({ field: "é.list[1].x" }, bytes)).toEqual({ field: "é.list[1].x", offset: at("true") })
  })

  it("is found in time that grows as the document does", () => {
    const index = (n: number) => Buffer.from(JSON.stringify(Object.fromEntries(Array.from({ length: n }, (_, i) => [`model.layers.${i}.weight`, { dtype: "BF16" }]))))
    const large = index(100_000)
    expect(offsetInJson(large, ["model.layers.99999.weight", "dtype"])).toBe(large.length - 8)
  })
})

describe("an error with a document", () => {
  const complaint = (run: () => unknown): string => {
    try {
      run()
    } catch (error) {
      if (error instanceof InvalidFile) return error.message
    }
    throw new Error("accepted")
  }

  it("of a schema says field and byte; of several, each its own", () => {
    const schema = z.object({ a: z.string(), é: z.object({ list: z.string() }) })
    expect(complaint(() => decodeJson(z.object({ a: z.string() }), "f", bytes, { allowNonFinite: true }))).toBe("f (field a, byte 7): 1 is not a string")
    expect(complaint(() => decodeJson(schema, "f", bytes, { allowNonFinite: true }))).toContain(`\n  a: 1 is not a string (byte 7)\n  é.list: a list is not a string (byte ${at("[")})`)
  })

  it("of a codec that knows a tensor or nothing", () => {
    expect(complaint(() => atPath("f", () => { throw new FormatError("x/y", "wrong", { tensor: "list" }) }, bytes))).toBe(`f (tensor list, byte ${at('"list"')}): wrong`)
    expect(complaint(() => atPath("f", () => { throw new FormatError("x/y", "wrong") }, bytes))).toBe("f (byte 0): wrong")
  })
})
