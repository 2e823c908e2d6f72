import { describe, expect, it } from "vitest"
import { z } from "zod"
import { decodeJson, decodeWith } from "../../src/document/decode.ts"
import { parseJson } from "../../src/document/StrictJson.ts"
import { InvalidFile } from "../../src/errors.ts"

const Config = z.looseObject({
  model_type: z.string(),
  rope_theta: z.number().default(10000),
  vision_config: z.looseObject({ depth: z.int().positive(), sizes: z.array(z.int()) }).optional()
})

const bytes = (text: string) => new TextEncoder().encode(text)

const failure = (run: () => unknown): InvalidFile => {
  try {
    run()
  } catch (error) {
    if (error instanceof InvalidFile) return error
    throw error
  }
  throw new Error("accepted")
}

describe("a config document", () => {
  it("comes out with defaults and with the fields nobody asked for", () => {
    expect(decodeJson(Config, "config.json", bytes(`{"model_type":"llama","constructor":{"x":1}}`)))
      .toEqual({ model_type: "llama", rope_theta: 10000, constructor: { x: 1 } })
  })

  it("cannot reach a prototype, nor lose a key on the way", () => {
    const error = failure(() => decodeJson(Config, "config.json", bytes(`{"model_type":"llama","__proto__":{"polluted":1}}`)))
    expect(error.code).toBe("json/reserved-key")
    expect(({} as { polluted?: number }).polluted).toBe(undefined)
  })

  it("names every field that is wrong", () => {
    const error = failure(() =>
      decodeJson(Config, "m/config.json", bytes(`{"model_type":3,"vision_config":{"depth":0,"sizes":[1,2.5]}}`))
    )
    expect(error.code).toBe("document/shape")
    expect(error.message).toMatchInlineSnapshot(`
      "m/config.json (byte 14): is not what was expected:
        model_type: 3 is not a string (byte 14)
        vision_config.depth: 0 is not greater than 0 (byte 41)
        vision_config.sizes[1]: 2.5 is not a whole number (byte 54)"
    `)
  })

  it("says of an integer that no double holds that it is too large", () => {
    expect(failure(() => decodeWith(Config, "c", parseJson(bytes(`{"model_type":"m","rope_theta":9007199254740993}`)))).message)
      .toBe("c (field rope_theta): 9007199254740993 is too large")
  })

  it("shows ten problems and counts the rest", () => {
    const error = failure(() => decodeWith(z.array(z.string()), "names.json", Array.from({ length: 25 }, (_, i) => i)))
    expect(error.message.split("\n")).toHaveLength(12)
    expect(error.message).toContain("… (25 problems in all)")
  })

  it("is judged by the nearest branch of a union", () => {
    const Rope = z.object({ rope: z.union([z.object({ type: z.literal("yarn"), factor: z.number() }), z.object({ type: z.literal("none") })]) })
    expect(failure(() => decodeWith(Rope, "c", { rope: { type: "yarn", factor: "4" } })).message)
      .toBe("c (field rope.factor): \"4\" is not a number")
  })

  it("is named when the whole of it is wrong", () => {
    expect(failure(() => decodeWith(Config, "c", [])).message).toBe("c: a list is not an object")
  })

  it("carries the offset of bad JSON", () => {
    expect(failure(() => decodeJson(Config, "config.json", bytes("{]"))).message)
      .toBe("config.json (byte 1): expected a string, found ']'")
  })
})
