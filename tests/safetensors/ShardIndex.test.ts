import { describe, expect, it } from "vitest"
import { checkIndex, encodeIndex, parseIndex, shardsOf, totalSize } from "../../src/safetensors/ShardIndex.ts"
import { refusal } from "./literal.ts"

const bytes = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value))
const mapping = (weight_map: Record<string, string>) => parseIndex(bytes({ weight_map }))

describe("an index", () => {
  it("maps tensors to shards in the order of the file", () => {
    const index = parseIndex(bytes(`{"metadata":{"total_size":12},"weight_map":{"b":"2.safetensors","10":"1.safetensors","__proto__":"2.safetensors"}}`))
    expect([...index.weightMap]).toEqual([["b", "2.safetensors"], ["10", "1.safetensors"], ["__proto__", "2.safetensors"]])
    expect(shardsOf(index)).toEqual(["1.safetensors", "2.safetensors"])
    expect(totalSize(index)).toBe(12)
  })

  it("needs no metadata", () => {
    expect(totalSize(mapping({ a: "0.safetensors" }))).toBe(undefined)
    expect(totalSize(parseIndex(bytes(`{"metadata":{"total_size":"big"},"weight_map":{"a":"0.safetensors"}}`)))).toBe(undefined)
  })

  it("may place shards in folders below", () => {
    expect(shardsOf(mapping({ a: "parts/0.safetensors" }))).toEqual(["parts/0.safetensors"])
  })

  it("is written as transformers does: sorted, ASCII, newline at the end", () => {
    const weightMap = new Map([["b.ü", "2.safetensors"], ["a", "1.safetensors"]])
    const metadata = new Map([["total_size", 32], ["total_parameters", 8]])
    expect(Buffer.from(encodeIndex({ weightMap, metadata })).toString()).toBe(`{
  "metadata": {
    "total_parameters": 8,
    "total_size": 32
  },
  "weight_map": {
    "a": "1.safetensors",
    "b.\\u00fc": "2.safetensors"
  }
}
`)
    expect(parseIndex(encodeIndex({ weightMap, metadata }, "huggingface_hub"))).toEqual({ weightMap, metadata })
  })
})

describe("an index is refused for", () => {
  it.each<[string, string, string, string?]>([
    ["an array", "[]", "not-object"],
    ["no weight_map", "{}", "weight-map"],
    ["a weight_map that is an array", `{"weight_map":[]}`, "weight-map"],
    ["a shard that is a number", `{"weight_map":{"t":1}}`, "weight-map", "t"],
    ["a weight_map without a tensor", `{"weight_map":{}}`, "weight-map"],
    ["metadata that is an array", `{"metadata":[],"weight_map":{"t":"1.safetensors"}}`, "metadata"],
    ["a tensor listed twice", `{"weight_map":{"t":"1.safetensors","t":"2.safetensors"}}`, "duplicate-key"],
    ["broken JSON", `{"weight_map":`, "syntax"]
  ])("%s", (_, text, code, tensor) => {
    const error = refusal(() => parseIndex(bytes(text)))
    expect([error.code, error.place.tensor]).toEqual([`safetensors/index-${code}`, tensor])
  })

  it.each([
    "", "model.bin", ".safetensors/", "/etc/x.safetensors", "../x.safetensors", "a/../../x.safetensors", "./x.safetensors",
    "a//x.safetensors", "..\\x.safetensors", "C:x.safetensors", "C:\\x.safetensors", "\\\\host\\x.safetensors",
    "//host/x.safetensors", "a\0.safetensors", "a\n.safetensors", `${"x".repeat(256)}.safetensors`
  ])("the shard name %j", (name) => {
    const error = refusal(() => mapping({ "lm_head.weight": name }))
    expect([error.code, error.place.tensor]).toEqual(["safetensors/index-shard-name", "lm_head.weight"])
  })
})

describe("index and headers", () => {
  const shard = (file: string, ...names: ReadonlyArray<string>) => ({ file, tensors: names.map((name) => ({ name })) })

  it("agree", () => {
    checkIndex(mapping({ a: "1.safetensors", b: "2.safetensors" }), [shard("1.safetensors", "a"), shard("2.safetensors", "b")])
  })

  it.each<[string, Record<string, string>, string, string, string]>([
    ["a listed tensor that no shard has", { a: "1.safetensors", b: "2.safetensors", c: "1.safetensors" }, "missing-tensor", "c",
      "the index places it in 1.safetensors, which does not hold it"],
    ["a tensor in another shard than listed", { a: "2.safetensors", b: "2.safetensors" }, "missing-tensor", "a",
      "the index places it in 2.safetensors, which does not hold it; 1.safetensors does"],
    ["a tensor that is not listed", { a: "1.safetensors" }, "unlisted-tensor", "b",
      "2.safetensors holds tensors that the index does not list: b"]
  ])("contradict each other: %s", (_, map, code, tensor, problem) => {
    const error = refusal(() => checkIndex(mapping(map), [shard("1.safetensors", "a"), shard("2.safetensors", "b")]))
    expect([error.code, error.place.tensor, error.message]).toEqual([`safetensors/index-${code}`, tensor, problem])
  })

  it("the index says which of several copies counts", () => {
    expect(checkIndex(mapping({ a: "1.safetensors", b: "2.safetensors" }), [shard("1.safetensors", "a"), shard("2.safetensors", "a", "b")]))
      .toEqual([{ name: "a", file: "2.safetensors" }])
  })
})
