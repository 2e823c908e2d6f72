import { describe, expect, it } from "vitest"
import { byCodePoint } from "../../src/document/byCodePoint.ts"
import { pythonJson } from "../../src/document/PythonJson.ts"
import { type JsonTree, parseJsonTree } from "../../src/document/StrictJson.ts"

describe("json.dumps(value, indent=2) of Python 3", () => {
  it("indents by two, and keeps empty containers on one line", () => {
    const tree = new Map<string, JsonTree>([["b", [1, [], new Map()]], ["a", new Map<string, JsonTree>([["x", null]])], ["c", true]])
    expect(pythonJson(tree)).toBe(
      `{\n  "b": [\n    1,\n    [],\n    {}\n  ],\n  "a": {\n    "x": null\n  },\n  "c": true\n}`
    )
  })

  it("sorts keys at every level by code point", () => {
    const tree = new Map<string, JsonTree>([["\u{1f600}", 1], ["\uff5e", new Map([["b", 1], ["B", 2], ["", 3]])], ["10", 0], ["9", 0]])
    expect(pythonJson(tree, { sortKeys: true })).toBe(
      `{\n  "10": 0,\n  "9": 0,\n  "\\uff5e": {\n    "": 3,\n    "B": 2,\n    "b": 1\n  },\n  "\\ud83d\\ude00": 1\n}`
    )
  })

  it("is ASCII only", () => {
    expect(pythonJson("é\u007f\u2028😀\u0000\b\f\n\r\t\"\\/")).toBe(
      `"\\u00e9\\u007f\\u2028\\ud83d\\ude00\\u0000\\b\\f\\n\\r\\t\\"\\\\/"`
    )
  })

  it("writes floats like repr", () => {
    expect([1e-6, 1.5e-5, 0.0001, 0.02, 123456.789, 1.5e16, 1e300, 1.7976931348623157e308, -2.5e-7].map((x) => pythonJson(x)))
      .toEqual(["1e-06", "1.5e-05", "0.0001", "0.02", "123456.789", "1.5e+16", "1e+300", "1.7976931348623157e+308", "-2.5e-07"])
    expect([Number.NaN, Infinity, -Infinity, 10000, 2n ** 64n].map((x) => pythonJson(x)))
      .toEqual(["NaN", "Infinity", "-Infinity", "10000", "18446744073709551616"])
  })

  it("reads back as the same tree", () => {
    const text = `{\n  "a": [\n    1,\n    -0.5,\n    "\\u00fc"\n  ]\n}`
    expect(pythonJson(parseJsonTree(new TextEncoder().encode(text)))).toBe(text)
  })
})

it("code point order puts what lies beyond U+FFFF last", () => {
  expect(["\u{1f600}", "b", "\uff5e", "", "ab", "a", "\u{1f600}a", "\u{10000}"].sort(byCodePoint))
    .toEqual(["", "a", "ab", "b", "\uff5e", "\u{10000}", "\u{1f600}", "\u{1f600}a"])
})

it("a whole float stays a float if the parser was asked to keep it", () => {
  const bytes = Buffer.from('{\n  "rope_theta": 500000.0,\n  "eps": 1e-06,\n  "n": 1\n}')
  expect(pythonJson(parseJsonTree(bytes, { keepFloats: true }))).toBe(bytes.toString())
  expect(pythonJson(parseJsonTree(bytes))).toContain('"rope_theta": 500000,')
})
