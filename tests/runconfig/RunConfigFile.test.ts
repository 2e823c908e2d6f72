/** A run configuration is data, however hostile the file. */
import { describe, expect, it } from "vitest"
import { toYaml } from "../../src/runconfig/toYaml.ts"
import { FormatError } from "../../src/errors.ts"
import { LARGEST_RUN_CONFIG, parseRunConfig, sectionAt, textAt } from "../../src/runconfig/RunConfigFile.ts"

const parse = (text: string) => parseRunConfig(Buffer.from(text))
const codeOf = (text: string | Uint8Array): string => {
  try {
    parseRunConfig(typeof text === "string" ? Buffer.from(text) : text)
  } catch (error) {
    if (error instanceof FormatError) return error.code
    throw error
  }
  return "accepted"
}

describe("values", () => {
  it("integers are numbers, floats stay floats, classes are names", () => {
    const config = parse("model:\n  _target_: megatron.bridge.Model\n  num_layers: 8\n  eps: 1.0e-06\n  scale: 1.0\n  tied: true\n  none: null\n  list:\n  - 1\n  - a\n")
    expect(config["model"]).toEqual({ _target_: "megatron.bridge.Model", num_layers: 8, eps: { $float: 1e-6 }, scale: { $float: 1 }, tied: true, none: null, list: [1, "a"] })
    expect(textAt(sectionAt(config, "model"), "_target_")).toBe("megatron.bridge.Model")
  })

  it("what is read is written again as it was", () => {
    const text = "_target_: a.B\nmodel:\n  eps: 1.0e-06\n  freq:\n  - 1\n  - 0\n  half: 0.5\n  on: null\n"
    expect(toYaml(parse(text))).toBe(text.replace("  on: null", "  \"on\": null"))
  })

  it("tags make nothing happen", () => {
    expect(parse("a: !!python/object/apply:os.system ['echo']\n")["a"]).toEqual(["echo"])
    expect(parse("a: !!binary aGVsbG8=\n")["a"]).toBe("aGVsbG8=")
  })

  it("an alias is what it stands for", () => {
    expect(parse("a: &x [1, 2]\nb: *x\n")).toMatchObject({ a: [1, 2], b: [1, 2] })
  })
})

describe("limits", () => {
  const laughs = `a: &a0 [x, x]\n${Array.from({ length: 30 }, (_, i) => `b${i}: &a${i + 1} [*a${i}, *a${i}]`).join("\n")}\n`

  it.each([
    ["too large", Buffer.alloc(LARGEST_RUN_CONFIG + 1, 0x20), "run-config/too-large"],
    ["flow brackets", `a: ${"[".repeat(100_000)}`, "run-config/depth"],
    ["compact lists", `${"- ".repeat(5000)}x`, "run-config/depth"],
    ["compact keys", `${"? ".repeat(5000)}x`, "run-config/depth"],
    ["indentation", Array.from({ length: 300 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"), "run-config/depth"],
    ["a billion laughs", laughs, "run-config/too-many-values"],
    ["an alias inside itself", "a: &a [*a]\n", "run-config/depth"],
    ["many aliases", `a: &a x\nb: [${"*a, ".repeat(1500)}]\n`, "run-config/aliases"],
    ["not YAML", "a: [1\nb: }\n", "run-config/syntax"],
    ["not UTF-8", Uint8Array.of(0x61, 0x3a, 0x20, 0xff), "run-config/syntax"],
    ["the same key twice", "a: 1\na: 2\n", "run-config/duplicate-key"],
    ["a reserved key", "__proto__: 1\n", "run-config/key"],
    ["a key that is a list", "[a]: 1\n", "run-config/key"],
    ["an integer beyond 2^53", "a: 9007199254740993\n", "run-config/integer"],
    ["a list", "- 1\n", "run-config/not-a-mapping"],
    ["nothing", "", "run-config/not-a-mapping"]
  ])("%s is refused", (_, text, code) => {
    expect(codeOf(text)).toBe(code)
  })

  it("nesting of real files is no problem", () => {
    expect(codeOf(Array.from({ length: 20 }, (_, i) => `${"  ".repeat(i)}a:`).join("\n"))).toBe("accepted")
  })
})
