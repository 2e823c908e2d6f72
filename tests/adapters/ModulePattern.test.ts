/** Patterns of modules, held against RegExp where that can be trusted; hostile ones take no time. */
import { describe, expect, it } from "vitest"
import { modulePattern } from "../../src/adapters/ModulePattern.ts"

const PATHS = ["model.layers.0.self_attn.q_proj", "model.layers.10.mlp.down_proj", "model.layers.1.mlp.experts.gate_up_proj", "q_proj", "model.visual.blocks.3.attn.qkv"]

/** What `peft` asks. */
const reference = (pattern: string) => (path: string): boolean => new RegExp(`^(?:.*\\.)?(?:${pattern})$`).test(path)

describe("a pattern of modules", () => {
  it.each([
    "q_proj", "self_attn.q_proj", "layers\\.\\d+\\.self_attn.q_proj", "model\\.layers\\.(0|10)\\..*", "^q_proj", "^model.*proj$", ".*\\.(q|k|v)_proj", "layers.[0-3].*", "[^.]+_proj",
    "(?:gate_up|down)_proj", "\\w{1,3}", "layers\\.\\d{2}\\..*", "mlp\\..*?proj", "(layers\\.\\d+\\.)?mlp.down_proj", "", "qk?v?", "[\\d_a-z]+"
  ])("%s matches what re.match does", (pattern) => {
    expect(PATHS.filter(modulePattern(pattern))).toEqual(PATHS.filter(reference(pattern)))
  })

  it.each(["(?=q)q_proj", "(?i)Q_PROJ", "(q)\\1", "q_proj(", "q)", "[a-", "*q", "(a|b)*q", "(x*)*", "(ab){2}", "a**", "q{200}", "\\bq", "a+".repeat(600), `${"(".repeat(60)}${")".repeat(60)}`])("%.20s is not understood", (pattern) => {
    expect(() => modulePattern(pattern)).toThrow(expect.objectContaining({ code: "adapter/pattern" }))
  })

  it("one that would keep a backtracking matcher busy for years takes no time", () => {
    const path = `model.${"a+".repeat(600)}`
    const start = performance.now()
    for (const pattern of ["(a|a)".repeat(100) + "x", "a*".repeat(200) + "x", "(.*)(.*)(.*)(.*)(.*)x", "((a?)?a{0,100})?".repeat(20) + "x"]) expect(modulePattern(pattern)(path)).toBe(false)
    expect(performance.now() - start).toBeLessThan(5000)
  })
})
