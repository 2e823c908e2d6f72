/** Patterns of carried tensors and of `--allow-unmapped`. */
import { expect, it } from "vitest"
import { compileAllowed, compileCarried } from "../../src/plan/match.ts"
import { cpuMs } from "../measure/cpu.ts"

it("a carried pattern: one star stands for digits, two for anything", () => {
  const rule = compileCarried([{ pattern: "layers.*.bias", why: "a test" }, { pattern: "talker.**", why: "a test" }])
  expect(rule("layers.12.bias")?.pattern).toBe("layers.*.bias")
  expect(rule("layers.x.bias")).toBeUndefined()
  expect(rule("talker.model.layers.0.norm.weight")?.pattern).toBe("talker.**")
  expect(rule("xtalker.model.weight")).toBeUndefined()
})

it("an allowed pattern: a star stands for anything", () => {
  const allowed = compileAllowed(["visual.*", "a+b.**"])
  expect(allowed("visual.blocks.0.weight")).toBe(true)
  expect(allowed("a+b.c")).toBe(true)
  expect(allowed("aab.c")).toBe(false)
})

it("no pattern takes longer than its length times that of the name", () => {
  expect(cpuMs(() => expect(compileAllowed(["a*".repeat(200) + "b"])("a".repeat(20_000))).toBe(false))).toBeLessThan(2000)
})
