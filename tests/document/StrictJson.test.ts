import { describe, expect, it } from "vitest"
import { type JsonLimits, type JsonMap, parseJson, parseJsonTree } from "../../src/document/StrictJson.ts"
import { FormatError } from "../../src/errors.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const parse = (text: string, limits?: JsonLimits) => parseJson(bytes(text), limits)

/** `code @ offset` of the refusal. */
const refusal = (document: string | Uint8Array, limits?: JsonLimits): string => {
  try {
    parseJson(typeof document === "string" ? bytes(document) : document, limits)
  } catch (error) {
    if (error instanceof FormatError) return `${error.code} @ ${error.place.offset}`
    throw error
  }
  return "accepted"
}

describe("a sound document", () => {
  it("reads as JSON.parse reads it", () => {
    const text = ` {"a": [1, -2.5e-3, true, false, null, {}], "b": {"c": "x\\u00e9\\ud83d\\ude00\\n\\/"}, "": [], "é": "😀"}\r\n\t`
    expect(parse(text)).toEqual(JSON.parse(text))
  })

  it("may be a scalar", () => {
    expect(parse("0")).toBe(0)
    expect(parse("\"x\"")).toBe("x")
    expect(parse("null")).toBe(null)
  })

  it("keeps integers that a double would round", () => {
    expect(parse("[9007199254740991, 9007199254740992, 9007199254740993, -9007199254740993, 18446744073709551616]")).toEqual(
      [9007199254740991, 9007199254740992n, 9007199254740993n, -9007199254740993n, 18446744073709551616n]
    )
  })

  it("has records without a prototype, so that no key means anything", () => {
    const record = parse(`{"constructor": 1, "toString": 2, "hasOwnProperty": 3}`) as object
    expect(Object.getPrototypeOf(record)).toBe(null)
    expect(Object.entries(record)).toEqual([["constructor", 1], ["toString", 2], ["hasOwnProperty", 3]])
  })

  it("reads into maps with any key, in the order of the file", () => {
    const tree = parseJsonTree(bytes(`{"b": 1, "__proto__": 2, "10": 3, "9": {"x": 4}}`)) as JsonMap
    expect([...tree.keys()]).toEqual(["b", "__proto__", "10", "9"])
    expect(tree.get("9")).toEqual(new Map([["x", 4]]))
  })

  it("may hold NaN and Infinity only where Python's dialect is expected", () => {
    expect(parse("[NaN, Infinity, -Infinity, -1]", { allowNonFinite: true })).toEqual([NaN, Infinity, -Infinity, -1])
  })

  it("may be a view of a larger buffer", () => {
    expect(parseJson(bytes("xx[1]yy").subarray(2, 5))).toEqual([1])
  })
})

describe("a document is refused", () => {
  it.each<[string, string, string]>([
    ["an empty document", "", "json/syntax @ 0"],
    ["two documents", "{} {}", "json/trailing @ 3"],
    ["NUL after the end", "{}\0", "json/trailing @ 2"],
    ["a byte order mark", "\ufeff{}", "json/bom @ 0"],
    ["equal keys", `{"a":1,"b":2,"a":1}`, "json/duplicate-key @ 13"],
    ["keys equal after unescaping", `{"a":1,"\\u0061":2}`, "json/duplicate-key @ 7"],
    ["__proto__ as a key", `{"a":{"__proto__":{}}}`, "json/reserved-key @ 6"],
    ["__proto__ written with an escape", `{"__pr\\u006fto__":{}}`, "json/reserved-key @ 1"],
    ["a high surrogate alone", `["\\ud800"]`, "json/lone-surrogate @ 2"],
    ["a low surrogate alone", `["\\udc00"]`, "json/lone-surrogate @ 2"],
    ["two high surrogates", `["\\ud800\\ud800"]`, "json/lone-surrogate @ 2"],
    ["a high surrogate before text", `["\\ud800udc00"]`, "json/lone-surrogate @ 2"],
    ["a raw newline in a string", `["a\nb"]`, "json/control-character @ 3"],
    ["an unknown escape", `["\\x41"]`, "json/syntax @ 2"],
    ["a short \\u escape", `["\\u12"]`, "json/syntax @ 2"],
    ["a string without end", `["abc`, "json/syntax @ 1"],
    ["a string that ends in a backslash", `"abc\\`, "json/syntax @ 0"],
    ["NaN", "[NaN]", "json/non-finite @ 1"],
    ["Infinity", "[Infinity]", "json/non-finite @ 1"],
    ["-Infinity", "[-Infinity]", "json/non-finite @ 1"],
    ["a float beyond the range of doubles", "[1e999]", "json/number-range @ 1"],
    ["a number of 2000 digits", `[${"1".repeat(2000)}]`, "json/number-range @ 1"],
    ["a leading zero", "[01]", "json/syntax @ 1"],
    ["a point without digits", "[1.]", "json/syntax @ 3"],
    ["an exponent without digits", "[1e+]", "json/syntax @ 4"],
    ["a plus sign", "[+1]", "json/syntax @ 1"],
    ["a lone minus", "[-]", "json/syntax @ 2"],
    ["a comma before the end", "[1,]", "json/syntax @ 3"],
    ["a comma before the end of an object", `{"a":1,}`, "json/syntax @ 7"],
    ["a missing comma", "[1 2]", "json/syntax @ 3"],
    ["a key that is no string", "{1:2}", "json/syntax @ 1"],
    ["a missing colon", `{"a" 1}`, "json/syntax @ 5"],
    ["single quotes", "['a']", "json/syntax @ 1"],
    ["a comment", "[1/**/]", "json/syntax @ 2"],
    ["half a word", "[tru]", "json/syntax @ 1"],
    ["an array without end", "[1,", "json/syntax @ 3"],
    ["65 levels", "[".repeat(65) + "]".repeat(65), "json/depth @ 64"]
  ])("%s", (_, text, expected) => expect(refusal(text)).toBe(expected))

  it.each<[string, ReadonlyArray<number>, number]>([
    ["an overlong form", [0x22, 0xc0, 0x80, 0x22], 1],
    ["an encoded surrogate", [0x22, 0x61, 0xed, 0xa0, 0x80, 0x22], 2],
    ["a stray continuation byte", [0x22, 0x61, 0x62, 0x80, 0x22], 3],
    ["a sequence cut by the end", [0x22, 0xc3, 0xa9, 0xf0, 0x9f, 0x98], 3],
    ["a byte that is never UTF-8", [0xff], 0]
  ])("not UTF-8: %s", (_, raw, offset) => expect(refusal(Uint8Array.from(raw))).toBe(`json/utf8 @ ${offset}`))

  it("when it passes a limit", () => {
    expect(refusal("[1,2]", { maxBytes: 4 })).toBe("json/too-large @ 4")
    expect(refusal("[1,2]", { maxValues: 2 })).toBe("json/too-many-values @ 3")
    expect(refusal("[[1]]", { maxDepth: 1 })).toBe("json/depth @ 1")
    expect(refusal("[".repeat(1_000_000))).toBe("json/depth @ 64")
  })

  it("with the key in the message's place", () => {
    expect(() => parse(`{"a":1,"a":2}`)).toThrowError(
      expect.objectContaining({ message: "the same key stands twice in one object", place: { field: "a", offset: 7 } })
    )
  })

  it("with what stands where something else was expected", () => {
    expect(() => parse("[1;2]")).toThrowError("expected ',' or ']', found ';'")
    expect(() => parse("[\u0001]")).toThrowError("expected a value, found byte 0x01")
    expect(() => parse("[1")).toThrowError("ends where ',' or ']' was expected")
  })
})

it("agrees with JSON.parse on any document without its looseness", () => {
  let state = 12345
  const random = (below: number) => (state = (state * 1103515245 + 12345) & 0x7fffffff) % below
  const text = () => Array.from({ length: random(6) }, () => ["a", "\"", "\\", "\n", "é", "😀", "\u2028", "\u0000"][random(8)]).join("")
  const value = (depth: number): unknown => {
    switch (random(depth > 4 ? 5 : 7)) {
      case 0: return null
      case 1: return random(2) === 1
      case 2: return random(1_000_000) - 500_000
      case 3: return random(1_000_000) / 977 * 10 ** (random(40) - 20)
      case 4: return text()
      case 5: return Array.from({ length: random(5) }, () => value(depth + 1))
      default: return Object.fromEntries(Array.from({ length: random(5) }, () => [text(), value(depth + 1)]))
    }
  }
  for (let i = 0; i < 500; i++) {
    const document = JSON.stringify(value(0), null, i % 3)
    expect(parse(document)).toEqual(JSON.parse(document))
  }
})
